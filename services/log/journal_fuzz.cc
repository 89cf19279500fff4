// Recovery of a journal whose files were damaged, or are any bytes: it replays the groups that were
// written, from the first on and unchanged, or says DATA_LOSS.
#include <fstream>
#include <iterator>

#include "common/base/check.h"
#include "common/base/coding.h"
#include "services/log/journal.h"
#include "tests/support/fuzz.h"

namespace sluice::testing {
namespace {

using log::Journal;

// Nine groups in three files, the last of which is sealed or not.
const std::vector<std::string> kGroups = {"first",
                                          "second group",
                                          std::string(300, 'c'),
                                          "4",
                                          std::string(2000, 'e'),
                                          std::string(3000, 'f'),
                                          "seventh",
                                          "eighth",
                                          "ninth"};

std::vector<std::pair<std::string, std::string>> ReadFolder(const std::filesystem::path& folder) {
  std::vector<std::pair<std::string, std::string>> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream in(entry.path(), std::ios::binary);
    files.emplace_back(entry.path().filename(),
                       std::string(std::istreambuf_iterator<char>(in), {}));
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::pair<std::string, std::string>> WrittenFiles(bool sealed) {
  const std::filesystem::path folder = FuzzFolder() / "written";
  std::filesystem::remove_all(folder);
  auto journal = Journal::Open({.folder = folder, .file_bytes = 4096}, JournalPosition(0),
                               [](JournalPosition, std::string_view) { return absl::OkStatus(); });
  SLUICE_CHECK(journal.ok());
  for (const std::string& group : kGroups) {
    const std::string_view parts[] = {group};
    SLUICE_CHECK((*journal)->Append(parts).ok());
  }
  if (sealed) SLUICE_CHECK((*journal)->Seal().ok());
  journal->reset();
  return ReadFolder(folder);
}

}  // namespace

// The input: which journal, how much of it was applied, which file is damaged, and how (fuzz.h); or
// 0xff and the bytes of a journal's only file.
void FuzzOne(std::string_view input) {
  static const auto unsealed = WrittenFiles(false);
  static const auto sealed = WrittenFiles(true);
  Decoder in(input);
  const auto which = in.Fixed<uint8_t>();
  auto files = which & 1 ? sealed : unsealed;
  uint64_t applied = 0;
  if (which == 0xff) {
    files = {{files.front().first, std::string(in.rest())}};
  } else {
    applied = in.Fixed<uint8_t>() % (kGroups.size() + 1);
    std::string& damaged = files[in.Fixed<uint8_t>() % files.size()].second;
    damaged = Damaged(std::move(damaged), in.rest());
  }

  const std::filesystem::path folder = FuzzFolder() / "damaged";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  for (const auto& [name, bytes] : files) {
    std::ofstream(folder / name, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  uint64_t last = applied;
  const auto journal =
      Journal::Open({.folder = folder, .file_bytes = 4096}, JournalPosition(applied),
                    [&](JournalPosition position, std::string_view group) {
                      SLUICE_CHECK(position.value == ++last);
                      SLUICE_CHECK(position.value <= kGroups.size());
                      SLUICE_CHECK(group == kGroups[position.value - 1]);
                      return absl::OkStatus();
                    });
  SLUICE_CHECK(journal.ok() || absl::IsDataLoss(journal.status()));
}

std::vector<std::string> FuzzSeeds() {
  std::vector<std::string> seeds;
  for (char which = 0; which < 2; ++which) {
    for (char file = 0; file < 3; ++file) {
      for (char what = 0; what < 6; ++what) seeds.push_back({which, 0, file, 100, 0, what, 7});
      seeds.push_back({which, 9, file});
    }
  }
  for (const auto& [name, bytes] : WrittenFiles(false)) seeds.push_back('\xff' + bytes);
  return seeds;
}

}  // namespace sluice::testing

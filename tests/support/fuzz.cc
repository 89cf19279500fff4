#include "tests/support/fuzz.h"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>

#include "common/base/check.h"
#include "common/base/coding.h"
#include "common/base/ids.h"

namespace sluice::testing {
namespace {

std::filesystem::path NewPath() {
  const std::filesystem::path memory = "/dev/shm";
  const auto& base =
      ::access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path();
  return base / ("sluice-fuzz-" + Uuid::Random().ToString());
}

}  // namespace

std::string Damaged(std::string valid, std::string_view edits) {
  constexpr size_t kMostInserted = 64;
  for (Decoder in(edits); in.rest().size() >= 4;) {
    const auto place = in.Fixed<uint16_t>();
    const auto what = in.Fixed<uint8_t>();
    const auto value = in.Fixed<uint8_t>();
    if (valid.empty()) break;
    const size_t at = place % valid.size();
    switch (what % 6) {
      case 0:
        valid[at] = static_cast<char>(value);
        break;
      case 1:
        valid[at] = static_cast<char>(valid[at] ^ (1 << (value % 8)));
        break;
      case 2:
        valid.resize(at);
        break;
      case 3:
        valid.insert(at, value % kMostInserted, static_cast<char>(value));
        break;
      case 4:
        valid.erase(at, value);
        break;
      case 5:
        for (size_t i = at; i < at + 4 && i < valid.size(); ++i)
          valid[i] = static_cast<char>(i < at + 3 ? 0xff : value);
        break;
    }
  }
  return valid;
}

FuzzFile::FuzzFile() : path_(NewPath()) {}

FuzzFile::~FuzzFile() {
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
}

void FuzzFile::Write(std::string_view bytes) const {
  std::ofstream out(path_, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  SLUICE_CHECK(out.good());
}

std::filesystem::path FuzzFolder() {
  struct Folder {
    Folder() { std::filesystem::create_directories(path); }
    ~Folder() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
    const std::filesystem::path path = NewPath();
  };
  static const Folder folder;
  return folder.path;
}

}  // namespace sluice::testing

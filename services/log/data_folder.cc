#include "services/log/data_folder.h"

#include <algorithm>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/errors/errors.h"

namespace sluice::log {
namespace {

constexpr int kFormat = 1;
constexpr char kFormatPrefix[] = "sluice-log ";
constexpr char kFormatFile[] = "FORMAT";
constexpr char kRestoringFile[] = "RESTORING";
constexpr char kLockFile[] = "LOCK";

bool Has(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string Unfinished(const std::string& name) { return name + ".new"; }

// Makes the file whole, or not at all.
absl::Status WriteMark(const std::filesystem::path& folder, const std::string& name,
                       FileSystem& files) {
  {
    SLUICE_ASSIGN_OR_RETURN(const auto file, files.Open(folder / Unfinished(name), 0));
    const std::string line = absl::StrCat(kFormatPrefix, kFormat, "\n");
    const std::string_view parts[] = {line};
    SLUICE_RETURN_IF_ERROR(file->Write(0, parts));
    SLUICE_RETURN_IF_ERROR(file->Sync());
  }
  SLUICE_RETURN_IF_ERROR(files.Rename(folder / Unfinished(name), folder / name));
  return files.SyncFolder(folder);
}

}  // namespace

absl::StatusOr<bool> CheckFormat(const std::filesystem::path& folder, FileSystem& files) {
  const std::filesystem::path path = folder / kFormatFile;
  const auto text = files.Read(path);
  if (absl::IsNotFound(text.status())) {
    const auto names = files.List(folder);
    if (!names.ok()) return false;
    if (Has(*names, kRestoringFile)) {
      return absl::FailedPreconditionError(
          absl::StrCat("a restore into ", folder.string(), " was not finished: run it again"));
    }
    if (Has(*names, "journal") || Has(*names, "store")) {
      return absl::FailedPreconditionError(
          absl::StrCat(folder.string(), " holds a journal or a store but no FORMAT file"));
    }
    return false;
  }
  SLUICE_RETURN_IF_ERROR(text.status());
  absl::string_view version = *text;
  int number = 0;
  if (!absl::ConsumePrefix(&version, kFormatPrefix) || !absl::SimpleAtoi(version, &number)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path.string(), " does not say that this is a data folder of sluice-log"));
  }
  if (number > kFormat) {
    return absl::FailedPreconditionError(absl::StrCat(folder.string(), " is of format ", number,
                                                      "; this program reads up to ", kFormat,
                                                      ": use a newer one"));
  }
  return true;
}

absl::Status MarkFormat(const std::filesystem::path& folder, FileSystem& files) {
  return WriteMark(folder, kFormatFile, files);
}

std::string JournalFolder(const pb::ShardState& shard) {
  if (!shard.restored()) return "journal";
  return absl::StrCat("journal-", absl::Hex(shard.incarnation(), absl::kZeroPad16));
}

absl::Status BeginRestoring(const std::filesystem::path& folder, FileSystem& files) {
  SLUICE_RETURN_IF_ERROR(files.MakeFolder(folder));
  SLUICE_ASSIGN_OR_RETURN(std::vector<std::string> names, files.List(folder));
  if (Has(names, kRestoringFile) && !Has(names, kFormatFile)) return absl::OkStatus();
  // What a file system leaves in a new folder, and a restore that had just begun.
  std::erase_if(names, [](const std::string& name) {
    return name == "lost+found" || name == kLockFile || name == Unfinished(kRestoringFile);
  });
  if (!names.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(folder.string(), " is not empty: a log is restored into a folder of its own"));
  }
  return WriteMark(folder, kRestoringFile, files);
}

absl::Status FinishRestoring(const std::filesystem::path& folder, FileSystem& files) {
  SLUICE_RETURN_IF_ERROR(files.Rename(folder / kRestoringFile, folder / kFormatFile));
  return files.SyncFolder(folder);
}

}  // namespace sluice::log

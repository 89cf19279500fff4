// Reads a journal's files as they are: which of them hold the groups after a position, and the
// groups in order. What recovery and verification have in common; README.md has the rules.
//
// Plain functions, which change nothing. Of what is damaged, `on_damage` is told, and says whether
// to go on behind it (OK), or with which error to end. Other errors: UNAVAILABLE (I/O).
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "services/log/file.h"

namespace sluice::log {

struct JournalFile {
  uint64_t number = 0;
  // Of its first group; that all groups before it were synced is what it says.
  uint64_t first_position = 0;
  uint64_t bytes = 0;
};

struct JournalDamage {
  // DATA_LOSS, naming file and position.
  absl::Status error;
  std::filesystem::path file;
  // The groups that are lost; nil: not known which.
  JournalPosition first;
  JournalPosition last;
};
using OnJournalDamage = absl::FunctionRef<absl::Status(const JournalDamage&)>;

struct JournalListing {
  // Oldest first: from the one that holds the first group after `applied` on.
  std::deque<JournalFile> files;
  // Files before those, which are not needed any more; and those kept to be used again.
  std::vector<std::filesystem::path> older;
  std::vector<std::filesystem::path> spares;
};
absl::StatusOr<JournalListing> ListJournal(FileSystem& files, const std::filesystem::path& folder,
                                           JournalPosition applied, OnJournalDamage on_damage);

// How far groups are read, and which of them are known to have been synced: others at the end of
// the newest file may be torn.
struct JournalRange {
  JournalPosition synced;
  JournalPosition last = JournalPosition(UINT64_MAX);
};
// Calls `on_group` for each group of the files, seals (empty ones) included. The position of the
// last one; that before the first file's if there is none.
absl::StatusOr<JournalPosition> ReadJournal(
    FileSystem& files, const std::filesystem::path& folder, const std::deque<JournalFile>& listed,
    JournalRange range,
    absl::FunctionRef<absl::Status(JournalPosition, std::string_view group)> on_group,
    OnJournalDamage on_damage);

}  // namespace sluice::log

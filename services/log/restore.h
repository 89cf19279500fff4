// A log from a backup: offline, into a folder of its own. What comes out is a new incarnation: its
// SeqIds go on from the backup's position and may repeat those that the old log gave out since.
//
// A restore that is interrupted leaves a folder that no log opens, and into which a restore can be
// run again. It takes part in no other log's life: neither the backup nor the log that it is of is
// changed. README.md says for how long their objects have to be kept.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "services/log/backup_folder.h"

namespace sluice::log {

struct RestoreOptions {
  // Where the backups are, and which; 0: the newest.
  std::filesystem::path backups;
  uint32_t backup_id = 0;
  // Where the new log is to be (its setting log.data): empty, or not there yet.
  std::filesystem::path data;
  uint64_t journal_file_bytes = 64 << 20;
  // For tests: called after each step.
  std::function<void(std::string_view step)> reached;
};

struct Restored {
  uint32_t backup_id = 0;
  uint64_t bytes = 0;
  Incarnation before;
  Incarnation now;
};

// `work` counts what is written, and may end it. FAILED_PRECONDITION if the folder is in use or not
// empty; BACKUP_BUSY, BACKUP_NOT_FOUND, BACKUP_DAMAGED; UNAVAILABLE (I/O).
absl::StatusOr<Restored> Restore(const RestoreOptions& options, BackupWork* work);

}  // namespace sluice::log

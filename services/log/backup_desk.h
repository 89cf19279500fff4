// Backups of a running log: the steps, in the order that makes a crash safe. A pin is begun before
// the snapshot is taken, sealed once the backup was verified, and ended only when the backup's
// files are gone. So whatever a crash leaves, every backup that is whole has its pin; and a pin
// without a backup is listed, and can be deleted.
//
// Thread-safe; calls wait for files and for the journal. One at a time works on the folder: the
// others are told BACKUP_BUSY.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/log/backup_folder.h"
#include "services/log/shard.h"
#include "sluice/v1/admin.pb.h"

namespace sluice::log {

class BackupDesk {
 public:
  // An empty folder: backups are off. `shard` must outlive this.
  BackupDesk(Shard& shard, std::filesystem::path folder)
      : shard_(shard), folder_(std::move(folder)) {}

  // `progress` is called a few times a second, on a thread of its own, until this returns.
  absl::StatusOr<v1::BackupInfo> Create(
      const std::stop_token& stop,
      const std::function<void(const v1::CreateBackupProgress&)>& progress);
  absl::StatusOr<std::vector<v1::BackupInfo>> List();
  absl::StatusOr<v1::VerifyBackupResponse> Verify(const std::stop_token& stop, uint32_t backup_id);
  absl::Status Delete(uint32_t backup_id);
  absl::Status DeletePin(uint64_t pin);

  // For tests: called after each step of Create and Delete.
  std::function<void(std::string_view step)> reached;

 private:
  // BACKUPS_OFF, and what BackupFolder::Open gives.
  absl::StatusOr<std::unique_ptr<BackupFolder>> OpenFolder(BackupWork* work) const;
  absl::StatusOr<BackupFiles> CreateUnder(uint64_t pin, BackupFolder& folder, BackupWork& work,
                                          const std::stop_token& stop);
  absl::Status DeleteFiles(BackupFolder& folder, const BackupFiles& files);
  // Until nothing is held by it any more; OK if there is none.
  absl::Status EndPin(uint64_t pin);
  absl::StatusOr<std::vector<v1::BackupInfo>> ListIn(const BackupFolder* folder) const;
  void Reached(std::string_view step) const;

  Shard& shard_;
  const std::filesystem::path folder_;
};

}  // namespace sluice::log

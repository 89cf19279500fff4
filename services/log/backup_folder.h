// A folder of backups: what RocksDB's BackupEngine keeps of stores, each with a label that says of
// which log, and under which pin. README.md has the order of steps that makes a crash safe.
//
// One at a time holds a folder, in whatever process (its file LOCK). One thread, except where said.
// Errors: BACKUP_BUSY, BACKUP_NOT_FOUND, BACKUP_DAMAGED, BACKUP_FAILED.
#pragma once

#include <rocksdb/utilities/backup_engine.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/log/command.pb.h"
#include "services/log/store.h"

namespace sluice::log {

struct BackupFiles {
  uint32_t id = 0;
  uint64_t bytes = 0;
  pb::BackupLabel label;
};

// What is in a backup, by its rows.
struct BackupContents {
  pb::ShardState shard;
  // Those deleted not counted.
  uint64_t collections = 0;
};

// How far an operation is, and whether it shall end. Thread-safe.
struct BackupWork {
  // Of a backup's or a restored store's files; and how much there is to write, where that is known.
  std::atomic<uint64_t> written_bytes = 0;
  std::atomic<uint64_t> total_bytes = 0;
  // Of a backup's files, since the verification began.
  std::atomic<uint64_t> verified_bytes = 0;
  std::atomic<bool> verifying = false;
  // Reads and writes fail from then on.
  std::atomic<bool> stopped = false;
};

class BackupFolder {
 public:
  // Makes the folder. `work` must outlive this.
  static absl::StatusOr<std::unique_ptr<BackupFolder>> Open(const std::filesystem::path& folder,
                                                            BackupWork* work);
  // The same, changing nothing, and making no folder: for restores. Where nothing can be written,
  // the folder is not held.
  static absl::StatusOr<std::unique_ptr<BackupFolder>> OpenToRead(
      const std::filesystem::path& folder, BackupWork* work);

  // In order of id. Those whose list of files does not fit the files.
  std::vector<BackupFiles> List() const;
  std::vector<uint32_t> Damaged() const;
  absl::StatusOr<BackupFiles> Find(uint32_t id) const;

  // Flushes the store, and copies its files; those that an earlier backup has are shared with it.
  // Writes may go on. After an error, no new backup is in the list.
  absl::StatusOr<BackupFiles> Create(Store& store, const pb::BackupLabel& label);
  // Compares the checksums of all files, opens the backup as a database, and reads the rows of the
  // shard, the logs and their segments.
  absl::StatusOr<BackupContents> Verify(uint32_t id) const;
  absl::Status Delete(uint32_t id);
  // Copies a backup's files to where a store is to be. Checksums are compared.
  absl::Status CopyTo(uint32_t id, const std::filesystem::path& store) const;

 private:
  explicit BackupFolder(BackupWork* work) : work_(work) {}
  absl::StatusOr<BackupContents> Read(uint32_t id) const;

  BackupWork* const work_;
  std::shared_ptr<void> lock_;
  // Before the engines, which use it.
  std::unique_ptr<rocksdb::Env> env_;
  // Null if opened to read.
  std::unique_ptr<rocksdb::BackupEngine> engine_;
  std::unique_ptr<rocksdb::BackupEngineReadOnly> reader_;
  // The one of the two that is there.
  rocksdb::BackupEngineReadOnlyBase* base_ = nullptr;
};

}  // namespace sluice::log

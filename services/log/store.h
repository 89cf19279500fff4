// The rows of a shard: one RocksDB with one column family and no write-ahead log of its own (the
// journal is it). README.md says how it is tuned.
//
// Written by the shard's applier alone; readable from any thread through Snapshots. What is
// persisted is always a prefix of what was applied: persisted() tells how far, and is what the
// journal may be cut to. Errors: UNAVAILABLE (I/O), DATA_LOSS (RocksDB found corruption), naming
// the folder.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/file_system.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/system_clock.h>
#include <rocksdb/table.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "services/log/space_collector.h"

namespace sluice::log {

struct StoreOptions {
  std::filesystem::path folder;
  // One memtable; up to three are in memory.
  uint64_t memtable_bytes = 32 << 20;
  uint64_t block_cache_bytes = 32 << 20;
  // Null: the machine's own.
  std::shared_ptr<rocksdb::FileSystem> files;
  std::shared_ptr<rocksdb::SystemClock> clock;
};

class Store;
class StoreEnv;

// The rows as they were after some group. Holds what it sees in place, so keep it no longer than a
// reply takes. Thread-safe.
class Snapshot {
 public:
  // Whether what is read comes into the block cache.
  enum class Cache { kFill, kLeave };
  explicit Snapshot(const Store& store, Cache cache = Cache::kFill);
  ~Snapshot();
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  // nullopt: no such row.
  absl::StatusOr<std::optional<std::string>> Get(std::string_view key) const;
  // The row as it is now.
  absl::StatusOr<std::optional<std::string>> GetLatest(std::string_view key) const;
  // Over the keys in [begin, end), in order. `end` is copied. Must not outlive the snapshot; one
  // thread.
  class Iterator;
  Iterator Scan(std::string_view begin, std::string end) const;

 private:
  rocksdb::DB* db_;
  const rocksdb::Snapshot* snapshot_;
  const Cache cache_;
};

class Snapshot::Iterator {
 public:
  bool Valid() const { return it_->Valid(); }
  void Next() { it_->Next(); }
  void Seek(std::string_view key) { it_->Seek(rocksdb::Slice(key.data(), key.size())); }
  // Valid until the iterator moves.
  std::string_view key() const { return it_->key().ToStringView(); }
  std::string_view value() const { return it_->value().ToStringView(); }
  // Not OK if the iterator ended for another reason than the end of its range.
  absl::Status status() const;

 private:
  friend class Snapshot;
  Iterator() = default;
  std::unique_ptr<std::string> end_;
  std::unique_ptr<rocksdb::Slice> end_slice_;
  std::unique_ptr<rocksdb::Iterator> it_;
};

// How a row is stored.
struct StoredRow {
  std::string key;
  // The blob file, within the folder, that has the value; "": the table itself.
  std::string blob_file;
};

// A file of tables, within the folder.
struct TableFile {
  std::string name;
  uint64_t bytes = 0;
};

// How the store's tables are written; what caches blocks is left to whoever reads them.
rocksdb::BlockBasedTableOptions TableOptions();
std::shared_ptr<const rocksdb::SliceTransform> BloomPrefix();

class Store {
 public:
  // Creates the folder if need be. Called on threads of RocksDB's: `on_persisted` after each flush,
  // `on_failed` when a flush has failed: from then on nothing is persisted until Recover succeeds.
  static absl::StatusOr<std::unique_ptr<Store>> Open(
      const StoreOptions& options, std::function<void(JournalPosition)> on_persisted,
      std::function<void(const absl::Status&)> on_failed = [](const absl::Status&) {});
  // What a folder holds that no other process uses, to be read alone: nothing is written, not even
  // into the folder.
  static absl::StatusOr<std::unique_ptr<Store>> OpenToRead(const StoreOptions& options);
  ~Store();

  // The applied position as of the last flush; 0 if it was opened to read.
  JournalPosition persisted() const {
    return JournalPosition(persisted_.load(std::memory_order_acquire));
  }

  // Applier only. After an error nothing of the batch is visible; writing goes on once Recover
  // succeeds.
  absl::Status Write(rocksdb::WriteBatch* batch);
  // Tries to leave the state that a failed flush or compaction put RocksDB into, and to persist
  // what was written. OK: it could. Ends the process if RocksDB does not return in two minutes: a
  // start reads the journal, and knows nothing of what RocksDB waits for.
  absl::Status Recover();

  // Whether writes are slowed down or stopped until a flush or a compaction has caught up.
  bool slow() const { return slow_.load(std::memory_order_relaxed); }

  // Persists everything written so far.
  absl::Status Flush();
  // The same, without waiting for it.
  absl::Status BeginFlush();
  // So many bytes of appends were trimmed by what was written: their space is to come back.
  void Trimmed(uint64_t bytes) { space_.Trimmed(bytes); }
  // Persists what was written, and rewrites all files, so that none holds what was trimmed before.
  // `done` is told whether that succeeded, on another thread; not if the store is closed before.
  void Erase(absl::AnyInvocable<void(bool)> done) { space_.Erase(std::move(done)); }
  // Merges all files, which gives back the space of what was trimmed.
  absl::Status Compact();

  // The first row in [begin, last], as it is now, without reading its value; nullopt: there is
  // none.
  absl::StatusOr<std::optional<StoredRow>> FindStored(std::string_view begin,
                                                      std::string_view last) const;
  // Those in use.
  std::vector<TableFile> Tables() const;

  // For metrics: bytes of live files; bytes of memtables.
  uint64_t DiskBytes() const;
  uint64_t MemtableBytes() const;

  rocksdb::DB* db() const { return db_.get(); }

 private:
  class Listener;
  class TrimFilterFactory;
  Store() = default;
  // For a store in this folder; of those for its threads, what calls back is added by Open.
  rocksdb::Options MakeOptions(const StoreOptions& options);
  static absl::StatusOr<uint64_t> ReadPersisted(rocksdb::DB* db);

  std::filesystem::path folder_;
  std::function<void(JournalPosition)> on_persisted_;
  std::function<void(const absl::Status&)> on_failed_;
  std::atomic<uint64_t> persisted_{0};
  std::atomic<bool> slow_{false};
  // Woken by threads of db_'s, which therefore goes first.
  SpaceCollector space_;
  // Before the database, so that it goes after it.
  std::unique_ptr<StoreEnv> env_;
  std::unique_ptr<rocksdb::DB> db_;
};

}  // namespace sluice::log

#include "services/log/space_collector.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "services/log/keys.h"
#include "services/log/store_env.h"

namespace sluice::log {
namespace {

using Properties = rocksdb::DB::Properties;

// A trim that no flush of its own accord persists in this time is flushed for.
constexpr std::chrono::seconds kAwaitFlush{1};

bool BlobsAreWorthwhile(rocksdb::DB* db) {
  uint64_t bytes = 0;
  uint64_t garbage = 0;
  return db->GetIntProperty(Properties::kLiveBlobFileSize, &bytes) &&
         db->GetIntProperty(Properties::kLiveBlobFileGarbageSize, &garbage) && 3 * garbage > bytes;
}

bool IsOfAppends(const rocksdb::Slice& key) {
  return RowTypeOf(key.ToStringView()) == RowType::kAppend;
}

// Appends come before all other rows.
bool HasAppends(const rocksdb::SstFileMetaData& table) { return IsOfAppends(table.smallestkey); }

class ApartPartitioner : public rocksdb::SstPartitioner {
 public:
  const char* Name() const override { return "sluice.AppendsApart"; }
  rocksdb::PartitionerResult ShouldPartition(const rocksdb::PartitionerRequest& request) override {
    return IsOfAppends(*request.prev_user_key) == IsOfAppends(*request.current_user_key)
               ? rocksdb::kNotRequired
               : rocksdb::kRequired;
  }
  bool CanDoTrivialMove(const rocksdb::Slice& smallest, const rocksdb::Slice& largest) override {
    return IsOfAppends(smallest) == IsOfAppends(largest);
  }
};

class ApartFactory : public rocksdb::SstPartitionerFactory {
 public:
  const char* Name() const override { return "sluice.AppendsApartFactory"; }
  std::unique_ptr<rocksdb::SstPartitioner> CreatePartitioner(
      const rocksdb::SstPartitioner::Context&) const override {
    return std::make_unique<ApartPartitioner>();
  }
};

}  // namespace

std::shared_ptr<rocksdb::SstPartitionerFactory> AppendsApart() {
  return std::make_shared<ApartFactory>();
}

void SpaceCollector::Start(rocksdb::DB* db, StoreEnv* env, uint64_t least_trimmed) {
  db_ = db;
  env_ = env;
  least_trimmed_ = least_trimmed;
  thread_ = std::thread([this] { Run(); });
}

void SpaceCollector::Stop() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    canceled_.store(true);
    wakes_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void SpaceCollector::Trimmed(uint64_t bytes, JournalPosition by) {
  const MutexLock lock(mutex_);
  Trims& trims = first_.bytes == 0 ? first_ : rest_;
  trims.bytes += bytes;
  trims.by = by;
  if (first_.bytes + rest_.bytes >= least_trimmed_) Wake();
}

void SpaceCollector::Flushed(JournalPosition persisted) {
  const MutexLock lock(mutex_);
  while (first_.bytes > 0 && first_.by <= persisted) {
    droppable_ += first_.bytes;
    first_ = std::exchange(rest_, {});
    Wake();
  }
}

void SpaceCollector::Compacted() {
  const MutexLock lock(mutex_);
  Wake();
}

void SpaceCollector::Erase(absl::AnyInvocable<void(bool)> done) {
  const MutexLock lock(mutex_);
  erased_ = std::move(done);
  Wake();
}

void SpaceCollector::Wake() {
  woken_ = true;
  wakes_.notify_one();
}

bool SpaceCollector::Compact(bool blobs) {
  rocksdb::CompactRangeOptions options;
  // Flushes and the small compactions behind them go on meanwhile.
  options.exclusive_manual_compaction = false;
  options.allow_write_stall = true;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
  options.blob_garbage_collection_policy = blobs ? rocksdb::BlobGarbageCollectionPolicy::kForce
                                                 : rocksdb::BlobGarbageCollectionPolicy::kDisable;
  options.blob_garbage_collection_age_cutoff = 1;
  options.canceled = &canceled_;
  return db_->CompactRange(options, nullptr, nullptr).ok();
}

// What flushes wrote becomes a run of its own, next to the youngest that has a level; then the
// tables of appends are rewritten where they are.
bool SpaceCollector::DropTrimmed() {
  rocksdb::ColumnFamilyMetaData tables;
  db_->GetColumnFamilyMetaData(&tables);
  std::vector<std::string> flushed;
  for (const rocksdb::SstFileMetaData& table : tables.levels[0].files) {
    flushed.push_back(table.name);
  }
  if (!flushed.empty()) {
    const auto youngest =
        std::find_if(tables.levels.begin() + 1, tables.levels.end(),
                     [](const rocksdb::LevelMetaData& level) { return !level.files.empty(); });
    const int level = youngest == tables.levels.end() ? tables.levels.back().level
                                                      : std::max(1, youngest->level - 1);
    if (!CompactFiles(flushed, level)) return false;
  }
  for (const rocksdb::LevelMetaData& level : tables.levels) {
    if (level.level == 0) continue;
    for (const rocksdb::SstFileMetaData& table : level.files) {
      if (HasAppends(table) && !CompactFiles({table.name}, level.level)) return false;
    }
  }
  return true;
}

uint64_t SpaceCollector::EnoughTrimmed() const {
  rocksdb::ColumnFamilyMetaData tables;
  db_->GetColumnFamilyMetaData(&tables);
  uint64_t bytes = 0;
  for (const rocksdb::LevelMetaData& level : tables.levels) {
    for (const rocksdb::SstFileMetaData& table : level.files) {
      if (HasAppends(table)) bytes += table.size;
    }
  }
  return std::max(least_trimmed_, bytes / 2);
}

bool SpaceCollector::CompactFiles(const std::vector<std::string>& names, int level) {
  if (canceled_.load()) return false;
  rocksdb::CompactionOptions options;
  // As the level's are.
  options.compression = rocksdb::kDisableCompressionOption;
  rocksdb::Status compacted;
  env_->RunCompaction([&] { compacted = db_->CompactFiles(options, names, level); });
  return compacted.ok();
}

void SpaceCollector::Run() {
  for (;;) {
    bool flush = false;
    uint64_t droppable = 0;
    absl::AnyInvocable<void(bool)> erased;
    {
      const MutexLock lock(mutex_);
      wakes_.wait(mutex_, [this]() REQUIRES(mutex_) { return woken_ || stopping_; });
      woken_ = false;
      if (first_.bytes + rest_.bytes >= least_trimmed_ && !stopping_) {
        const JournalPosition by = first_.by;
        flush = !wakes_.wait_for(mutex_, kAwaitFlush, [this, by]() REQUIRES(mutex_) {
          return first_.bytes == 0 || first_.by != by || stopping_;
        });
      }
      if (stopping_) return;
      canceled_.store(false);
      droppable = droppable_;
      erased = std::exchange(erased_, nullptr);
    }
    if (erased) {
      erased(db_->Flush(rocksdb::FlushOptions()).ok() && Compact(/*blobs=*/true));
      continue;
    }
    if (flush) {
      // Its end is told to Flushed.
      rocksdb::FlushOptions options;
      options.wait = false;
      options.allow_write_stall = true;
      (void)db_->Flush(options);
    }
    if (droppable >= EnoughTrimmed()) {
      const bool dropped = DropTrimmed();
      const MutexLock lock(mutex_);
      if (dropped) droppable_ -= droppable;
    }
    if (BlobsAreWorthwhile(db_)) (void)Compact(/*blobs=*/true);
  }
}

}  // namespace sluice::log

#include "services/log/space_collector.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace sluice::log {
namespace {

using Properties = rocksdb::DB::Properties;

// Less is not worth a compaction.
constexpr uint64_t kLeastTrimmed = 64 << 20;
// A trim that no flush of its own accord persists in this time is flushed for.
constexpr std::chrono::seconds kAwaitFlush{1};

bool BlobsAreWorthwhile(rocksdb::DB* db) {
  uint64_t bytes = 0;
  uint64_t garbage = 0;
  return db->GetIntProperty(Properties::kLiveBlobFileSize, &bytes) &&
         db->GetIntProperty(Properties::kLiveBlobFileGarbageSize, &garbage) && 3 * garbage > bytes;
}

uint64_t EnoughTrimmed(rocksdb::DB* db) {
  uint64_t tables = 0;
  db->GetIntProperty(Properties::kLiveSstFilesSize, &tables);
  return std::max(kLeastTrimmed, tables / 2);
}

bool Compact(rocksdb::DB* db, bool blobs, std::atomic<bool>* canceled) {
  rocksdb::CompactRangeOptions options;
  // Flushes and the small compactions behind them go on meanwhile.
  options.exclusive_manual_compaction = false;
  options.allow_write_stall = true;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
  options.blob_garbage_collection_policy = blobs ? rocksdb::BlobGarbageCollectionPolicy::kForce
                                                 : rocksdb::BlobGarbageCollectionPolicy::kDisable;
  options.blob_garbage_collection_age_cutoff = 1;
  options.canceled = canceled;
  return db->CompactRange(options, nullptr, nullptr).ok();
}

}  // namespace

void SpaceCollector::Start(rocksdb::DB* db) {
  thread_ = std::thread([this, db] { Run(db); });
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

void SpaceCollector::Trimmed(uint64_t bytes) {
  const MutexLock lock(mutex_);
  trimmed_ += bytes;
  if (trimmed_ >= kLeastTrimmed) Wake();
}

void SpaceCollector::Flushed() {
  const MutexLock lock(mutex_);
  droppable_ += std::exchange(trimmed_, 0);
  if (droppable_ >= kLeastTrimmed) Wake();
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

void SpaceCollector::Run(rocksdb::DB* db) {
  for (;;) {
    bool flush = false;
    uint64_t droppable = 0;
    absl::AnyInvocable<void(bool)> erased;
    {
      const MutexLock lock(mutex_);
      wakes_.wait(mutex_, [this]() REQUIRES(mutex_) { return woken_ || stopping_; });
      woken_ = false;
      if (trimmed_ >= kLeastTrimmed && !stopping_) {
        flush = !wakes_.wait_for(mutex_, kAwaitFlush, [this]() REQUIRES(mutex_) {
          return trimmed_ < kLeastTrimmed || stopping_;
        });
      }
      if (stopping_) return;
      canceled_.store(false);
      droppable = droppable_;
      erased = std::exchange(erased_, nullptr);
    }
    if (erased) {
      erased(db->Flush(rocksdb::FlushOptions()).ok() && Compact(db, /*blobs=*/true, &canceled_));
      continue;
    }
    if (flush) {
      // Its end is told to Flushed.
      rocksdb::FlushOptions options;
      options.wait = false;
      options.allow_write_stall = true;
      (void)db->Flush(options);
    }
    if (droppable >= EnoughTrimmed(db)) {
      const bool dropped = Compact(db, /*blobs=*/false, &canceled_);
      const MutexLock lock(mutex_);
      if (dropped) droppable_ -= droppable;
    }
    if (BlobsAreWorthwhile(db)) (void)Compact(db, /*blobs=*/true, &canceled_);
  }
}

}  // namespace sluice::log

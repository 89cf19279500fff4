#include "services/log/blob_collector.h"

namespace sluice::log {

namespace {

bool Worthwhile(rocksdb::DB* db) {
  uint64_t bytes = 0;
  uint64_t garbage = 0;
  return db->GetIntProperty(rocksdb::DB::Properties::kLiveBlobFileSize, &bytes) &&
         db->GetIntProperty(rocksdb::DB::Properties::kLiveBlobFileGarbageSize, &garbage) &&
         3 * garbage > bytes;
}

}  // namespace

void BlobCollector::Start(rocksdb::DB* db) {
  thread_ = std::thread([this, db] { Run(db); });
}

void BlobCollector::Stop() {
  canceled_.store(true);
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    wakes_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void BlobCollector::Wake() {
  const MutexLock lock(mutex_);
  woken_ = true;
  wakes_.notify_one();
}

void BlobCollector::Run(rocksdb::DB* db) {
  for (;;) {
    {
      const MutexLock lock(mutex_);
      wakes_.wait(mutex_, [this]() REQUIRES(mutex_) { return woken_ || stopping_; });
      if (stopping_) return;
      woken_ = false;
    }
    if (!Worthwhile(db)) continue;
    rocksdb::CompactRangeOptions options;
    // Flushes and the small compactions behind them go on meanwhile.
    options.exclusive_manual_compaction = false;
    options.allow_write_stall = true;
    options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
    options.blob_garbage_collection_policy = rocksdb::BlobGarbageCollectionPolicy::kForce;
    options.blob_garbage_collection_age_cutoff = 1;
    options.canceled = &canceled_;
    (void)db->CompactRange(options, nullptr, nullptr);
  }
}

}  // namespace sluice::log

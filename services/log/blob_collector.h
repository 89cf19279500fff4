// Gives back the space of large values that were deleted. RocksDB removes a blob file once nothing
// in it is referred to; where a few live values keep many dead ones, this rewrites the live ones.
// RocksDB's own collection looks at the age of files alone: it rewrote, over and over, what was
// all alive.
//
// One thread; Wake may be called from any. It works as soon as more than a third of the blob files'
// bytes is dead, so it writes at most two bytes for each that comes back. What fails is tried again
// when it is next woken.
#pragma once

#include <rocksdb/db.h>

#include <atomic>
#include <thread>

#include "common/base/mutex.h"

namespace sluice::log {

class BlobCollector {
 public:
  BlobCollector() = default;
  ~BlobCollector() { Stop(); }

  // `db` must stay open until Stop has returned.
  void Start(rocksdb::DB* db);
  // Cancels what is under way.
  void Stop();

  // There may be more to collect than before. Does not block; does nothing before Start and after
  // Stop.
  void Wake();

 private:
  void Run(rocksdb::DB* db);

  std::atomic<bool> canceled_{false};
  Mutex mutex_;
  CondVar wakes_;
  bool woken_ GUARDED_BY(mutex_) = false;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace sluice::log

// What RocksDB runs in: the machine's threads; the files and the clock that the options say. And a
// gate for its flushes.
//
// The gate: RocksDB 7.8.3 forgets a flush that it had handed to its threads when an error stopped
// its background work before the flush began: DBImpl::BackgroundFlush returns without taking the
// request from the queue, and as the column family counts as queued from then on, no later flush is
// scheduled. DB::Resume waits for one for ever. So no flush begins between an error and the
// recovery from it: those that were handed over wait here until Resume is under way.
//
// Thread-safe. Outlives the database.
#pragma once

#include <rocksdb/env.h>

#include <functional>
#include <vector>

#include "common/base/mutex.h"
#include "services/log/store.h"

namespace sluice::log {

class StoreEnv : public rocksdb::EnvWrapper {
 public:
  explicit StoreEnv(const StoreOptions& options);
  static const char* kClassName() { return "SluiceStoreEnv"; }
  const char* Name() const override { return kClassName(); }

  // RocksDB's flushes have the priority HIGH, and nothing else has.
  void Schedule(void (*function)(void*), void* arg, Priority priority, void* tag,
                void (*unscheduled)(void*)) override;

  // To be called when RocksDB says that it met an error, before that error takes effect: holds the
  // flushes that did not begin yet, and waits for those that are about to.
  void HoldFlushes();
  // To be called when a flush has begun, on its thread.
  void FlushBegan();
  // Calls `resume` (DB::Resume) and lets flushes go while it is under way, and all if it succeeds.
  rocksdb::Status Resume(const std::function<rocksdb::Status()>& resume);
  // Lets all go, for good: the database is about to close.
  void Close();

 private:
  struct Flush {
    StoreEnv* env;
    void (*function)(void*);
    void* arg;
    void* tag;
    void (*unscheduled)(void*);
    // It is not held again.
    bool let_go;
  };
  static void Run(void* flush);
  static void Drop(void* flush);
  void HandOver(Flush* flush);
  // What is held now, and not what is handed over later.
  void LetGo();
  void StopHolding();

  Mutex mutex_;
  CondVar begun_;
  bool holding_ GUARDED_BY(mutex_) = false;
  bool closing_ GUARDED_BY(mutex_) = false;
  // On a thread, and not yet past RocksDB's own look for errors.
  int beginning_ GUARDED_BY(mutex_) = 0;
  std::vector<Flush*> held_ GUARDED_BY(mutex_);
};

}  // namespace sluice::log

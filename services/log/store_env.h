// What RocksDB runs on: everybody's threads, StoreFiles, the machine's clock or another.
//
// Around one bug of RocksDB 7.8.3: a flush that was handed to its threads is refused if it begins
// after an error and outside of Resume (DBImpl::BackgroundFlush), and yet stays queued: it is never
// handed over again, and Resume waits for it for ever. That takes a compaction that cannot write
// the manifest, or a Resume that has handed over a flush and gives up because something that was
// still at work when it began has failed. So from an error on, flushes that were handed over are
// put aside until Resume is at work, and it is called once nothing else is.
#pragma once

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/system_clock.h>

#include <memory>

namespace sluice::log {

class StoreFiles;

class StoreEnv : public rocksdb::EnvWrapper {
 public:
  // Null: the machine's own.
  StoreEnv(const std::shared_ptr<rocksdb::FileSystem>& files,
           const std::shared_ptr<rocksdb::SystemClock>& clock);
  static const char* kClassName() { return "SluiceStoreEnv"; }
  const char* Name() const override { return kClassName(); }

  void Schedule(void (*run)(void* arg), void* arg, Priority priority, void* tag,
                void (*drop)(void* arg)) override;

  // Whether the flush that is under way is late, and may get in the way of others on the disk.
  void HurryFlush(bool late);

  // Called by a thread of RocksDB's before it takes note of an error that stops flushes. If it is
  // not a flush's own, those that began have ended when this returns.
  void HoldFlushes(bool from_flush);
  // Returns once the jobs of the database that were at work have ended; from then on flushes begin
  // again, if none was put aside.
  void AwaitQuiet();
  // Those that were put aside begin, others that come do not: while Resume is at work.
  void BeginFlushesAside();
  void ReleaseFlushes();
  // For good. Before the database is closed, which waits for what was put aside.
  void NeverHoldAgain();

 private:
  class JobGate;
  StoreEnv(std::shared_ptr<StoreFiles> files, const std::shared_ptr<rocksdb::SystemClock>& clock);

  const std::shared_ptr<StoreFiles> files_;
  // Outlives the database by the ends of its jobs.
  const std::shared_ptr<JobGate> gate_;
};

}  // namespace sluice::log

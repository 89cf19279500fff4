// Gives back the space of what was trimmed. A trim only moves a number; the filter drops keys when
// a compaction passes them, and RocksDB removes a blob file once nothing in it is referred to. Left
// alone, RocksDB compacts by sizes that know nothing of trims, and collects blobs by the age of
// files: it kept what was dead and rewrote what was alive.
//
// So this compacts, in two ways:
// - the tables alone, once what was trimmed is 64 MiB and half of the tables' size. Large appends
//   are in blob files, so tables are small, and this is cheap: it costs reading and writing keys.
// - tables and blob files, where more than a third of the blob files' bytes is dead: this rewrites
//   the live values among them, two bytes at most for each that comes back.
//
// And, asked to erase, everything: then no file holds what was trimmed before.
//
// One thread; all but Start and Stop may be called from any. What fails is tried again when it is
// next woken.
#pragma once

#include <rocksdb/db.h>

#include <atomic>
#include <cstdint>
#include <thread>

#include "absl/functional/any_invocable.h"
#include "common/base/mutex.h"

namespace sluice::log {

class SpaceCollector {
 public:
  SpaceCollector() = default;
  ~SpaceCollector() { Stop(); }

  // `db` must stay open until Stop has returned.
  void Start(rocksdb::DB* db);
  // Cancels what is under way.
  void Stop();
  // The same, for now: a compaction ends soon, and is tried again when this is next woken.
  void Interrupt() { canceled_.store(true); }

  // None of these blocks, or does anything before Start and after Stop.

  // So many bytes of appends are not needed any more, as of what is in the memtable.
  void Trimmed(uint64_t bytes);
  // What was trimmed until now is persisted, so the filter may drop it.
  void Flushed();
  // There may be more dead bytes in blob files than before.
  void Compacted();
  // Persists what was written, and rewrites all files. `done` is told whether that succeeded; not
  // if this ends before.
  void Erase(absl::AnyInvocable<void(bool)> done);

 private:
  void Run(rocksdb::DB* db);
  void Wake() REQUIRES(mutex_);

  std::atomic<bool> canceled_{false};
  Mutex mutex_;
  CondVar wakes_;
  // Bytes of appends that were trimmed and that no compaction has passed since: not persisted yet;
  // and persisted.
  uint64_t trimmed_ GUARDED_BY(mutex_) = 0;
  uint64_t droppable_ GUARDED_BY(mutex_) = 0;
  absl::AnyInvocable<void(bool)> erased_ GUARDED_BY(mutex_);
  bool woken_ GUARDED_BY(mutex_) = false;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace sluice::log

// Gives back the space of what was trimmed. A trim only moves a number; the filter drops keys when
// a compaction passes them, and RocksDB removes a blob file once nothing in it is referred to. Left
// alone, RocksDB compacts by sizes that know nothing of trims, and collects blobs by the age of
// files: it kept what was dead and rewrote what was alive.
//
// So this compacts, in two ways:
// - the tables of appends alone, once what was trimmed is 64 MiB and half of their size. They lie
//   apart (AppendsApart): no other row is rewritten for it, of which there may be millions
//   where clients give request ids. Large appends are in blob files, so their tables are small, and
//   this is cheap: it costs reading and writing keys.
// - tables and blob files, where more than a third of the blob files' bytes is dead: this rewrites
//   the live values among them, two bytes at most for each that comes back.
//
// And, asked to erase, everything: then no file holds what was trimmed before.
//
// One thread; all but Start and Stop may be called from any. What fails is tried again when it is
// next woken.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/sst_partitioner.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "common/base/ids.h"
#include "common/base/mutex.h"

namespace sluice::log {

class StoreEnv;

// Compactions write appends into tables of their own, except into level 0.
std::shared_ptr<rocksdb::SstPartitionerFactory> AppendsApart();

class SpaceCollector {
 public:
  SpaceCollector() = default;
  ~SpaceCollector() { Stop(); }

  // `db`, which runs on `env`, must stay open until Stop has returned.
  // Less than `least_trimmed` bytes are not worth a compaction.
  void Start(rocksdb::DB* db, StoreEnv* env, uint64_t least_trimmed);
  // Cancels what is under way.
  void Stop();
  // The same, for now: a compaction ends soon, and is tried again when this is next woken.
  void Interrupt() { canceled_.store(true); }

  // None of these blocks, or does anything before Start and after Stop.

  // So many bytes of appends are not needed any more, by the group at this position.
  void Trimmed(uint64_t bytes, JournalPosition by);
  // What was trimmed up to there is persisted, so the filter may drop it.
  void Flushed(JournalPosition persisted);
  // There may be more dead bytes in blob files than before.
  void Compacted();
  // Persists what was written, and rewrites all files. `done` is told whether that succeeded; not
  // if this ends before.
  void Erase(absl::AnyInvocable<void(bool)> done);

 private:
  void Run();
  // All three: whether it was done. What something else is just compacting is not.
  bool Compact(bool blobs);
  bool DropTrimmed();
  bool CompactFiles(const std::vector<std::string>& names, int level);
  uint64_t EnoughTrimmed() const;
  void Wake() REQUIRES(mutex_);

  // Constant once started.
  rocksdb::DB* db_ = nullptr;
  StoreEnv* env_ = nullptr;
  uint64_t least_trimmed_ = 0;
  std::atomic<bool> canceled_{false};
  Mutex mutex_;
  CondVar wakes_;
  // Bytes of appends that were trimmed and that no compaction has passed since: not persisted yet
  // (those that wait for one flush, and all after them); and persisted.
  struct Trims {
    uint64_t bytes = 0;
    JournalPosition by;
  };
  Trims first_ GUARDED_BY(mutex_);
  Trims rest_ GUARDED_BY(mutex_);
  uint64_t droppable_ GUARDED_BY(mutex_) = 0;
  absl::AnyInvocable<void(bool)> erased_ GUARDED_BY(mutex_);
  bool woken_ GUARDED_BY(mutex_) = false;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace sluice::log

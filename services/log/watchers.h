// Who waits for a log to move: subscriptions at the tail, readers that wait for `applied`. A group
// wakes exactly those for whom it matters; their functions run on the pool, never on the applier.
//
// To miss nothing, a waiter takes the log's epoch before it looks at the store, and waits with it:
//   epoch = Epoch(c); look; nothing new? Wait(c, epoch, ...) says false if the log moved meanwhile.
//
// Thread-safe. Moved costs the applier one lock for each log moved, and a comparison for each of
// its waiters.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "absl/container/flat_hash_map.h"
#include "common/base/ids.h"
#include "common/base/mutex.h"
#include "services/log/shard.h"
#include "services/log/worker_pool.h"

namespace sluice::log {

class Watchers {
 public:
  enum class What { kTail, kApplied };

  // `pool` must outlive this.
  explicit Watchers(WorkerPool& pool) : pool_(pool) {}

  uint64_t Epoch(const CollectionId& collection);
  // Runs `wake` on the pool, once, when `what` has passed `beyond` or the log is deleted. `waiter`
  // names it for Forget; it waits for one thing at a time. False, and nothing is kept, if the log
  // (or one in the same stripe) has moved since `epoch`.
  bool Wait(const CollectionId& collection, uint64_t epoch, What what, SeqId beyond,
            const void* waiter, WorkerPool::Task wake);
  // The function may be on its way already.
  void Forget(const CollectionId& collection, const void* waiter);

  // Shard's on_moved.
  void Moved(std::span<const LogPositions> moved);

 private:
  struct Waiting {
    What what;
    SeqId beyond;
    WorkerPool::Task wake;
  };
  struct Stripe {
    Mutex mutex;
    uint64_t epoch GUARDED_BY(mutex) = 0;
    absl::flat_hash_map<CollectionId, absl::flat_hash_map<const void*, Waiting>> waiting
        GUARDED_BY(mutex);
  };

  Stripe& StripeOf(const CollectionId& collection) {
    return stripes_[absl::HashOf(collection) % stripes_.size()];
  }

  WorkerPool& pool_;
  std::array<Stripe, 256> stripes_;
};

}  // namespace sluice::log

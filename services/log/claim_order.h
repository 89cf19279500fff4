// Which of the work that is due goes to which worker. It has no thread, no clock and no rows: the
// desk (claim_desk.h) has them. Nothing here makes a claim right: that is the state machine's.
//
// Fair. What came due first goes first, and a collection that had its turn stands behind all that
// were due by then (due.h). Of every two leases of a kind, one goes by that alone; the other goes
// to the tenant whose last one is longest ago. So a collection waits for at most one turn of each
// that was due before it, and for a few turns where its tenant has nothing else due, however many
// collections of others are flooded.
//
// Warm. A worker rather gets what it held last, whose segments it has. For that it may be given
// what came due later than the first in line, but by no more than half a second or a quarter of the
// time that this has waited. And for half a second after it came due, work is left for the worker
// that held it last, if that is about.
//
// What it remembers is lost with the process, and bounded: where it knows nothing, it is only fair.
// Not thread-safe. Times in microseconds.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "common/base/ids.h"
#include "services/log/keys.h"
#include "services/log/recent.h"

namespace sluice::log {

// Stand for a name: of those that share a cache of segments; of those whose floods are their own.
using WorkerHash = uint64_t;
using TenantHash = uint64_t;
uint64_t HashOfName(std::string_view name);

struct DueWork {
  DueKind kind = DueKind::kCompaction;
  CollectionId collection;
  int64_t due_us = 0;
  TenantHash tenant = 0;
};

struct Claimant {
  WorkerHash worker = 0;
  bool wants_compactions = true;
  bool wants_merges = true;

  bool Wants(DueKind kind) const {
    return kind == DueKind::kMerge ? wants_merges : wants_compactions;
  }
};

class ClaimOrder {
 public:
  // How long work is left for the worker that held it last.
  static constexpr int64_t kLeftUs = 500'000;

  // The worker has a claim that waits.
  void Saw(WorkerHash worker, int64_t now_us) { seen_.Put(worker, now_us); }

  struct Choice {
    // In `due`.
    size_t index = 0;
    // The worker held this collection last.
    bool warm = false;
  };
  // `due`: all that is due at `now_us` and not taken, oldest first. nullopt: nothing for this
  // claimant, yet. What is chosen counts as a turn of its tenant.
  std::optional<Choice> Choose(const Claimant& claimant, std::span<const DueWork> due,
                               int64_t now_us);
  // The worker got a lease on the collection.
  void Granted(const CollectionId& collection, WorkerHash worker) {
    holders_.Put(collection, worker);
  }

 private:
  // As Choose, of one kind and (if it is given) one tenant.
  std::optional<Choice> ChooseAmong(WorkerHash worker, DueKind kind,
                                    std::optional<TenantHash> tenant, std::span<const DueWork> due,
                                    int64_t now_us) const;
  // Of those with work of this kind.
  std::optional<TenantHash> TenantInTurn(DueKind kind, std::span<const DueWork> due) const;
  bool IsAbout(WorkerHash worker, int64_t now_us) const;

  struct Turns {
    uint64_t count = 0;
    // By tenant: the number of its last turn.
    Recent<TenantHash, uint64_t> last{10'000};
  };
  Turns& TurnsOf(DueKind kind) { return turns_[kind == DueKind::kMerge ? 1 : 0]; }
  const Turns& TurnsOf(DueKind kind) const { return turns_[kind == DueKind::kMerge ? 1 : 0]; }

  std::array<Turns, 2> turns_;
  Recent<CollectionId, WorkerHash> holders_{50'000};
  // When each was seen last.
  Recent<WorkerHash, int64_t> seen_{10'000};
};

}  // namespace sluice::log

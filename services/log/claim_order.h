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
// Compactions and merges do not know of each other: a worker may be about for the ones, and not for
// the others.
//
// What it remembers is lost with the process, and bounded: where it knows nothing, it is only fair.
// Not thread-safe. Times in microseconds.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
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
  void Saw(const Claimant& claimant, int64_t now_us);

  // All that is due of this kind and not taken, oldest first, instead of what was known.
  void SetDue(DueKind kind, std::vector<DueWork> due);
  bool HasDue(DueKind kind) const { return !Of(kind).line.empty(); }
  // When the next of what is left for a worker is so no longer.
  std::optional<int64_t> NextNotLeft(DueKind kind, int64_t now_us) const;

  struct Choice {
    DueWork work;
    // The worker held this collection last.
    bool warm = false;
  };
  // nullopt: nothing for this claimant, yet. What is chosen is taken out of what is due, and counts
  // as a turn of its tenant. Takes no time in proportion to what is due, but for what is left for
  // others.
  std::optional<Choice> Choose(const Claimant& claimant, int64_t now_us);
  // The worker got a lease of this kind on the collection.
  void Granted(DueKind kind, const CollectionId& collection, WorkerHash worker) {
    Of(kind).holders.Put(collection, worker);
  }

 private:
  // Places in `due`; a part of those that are not taken, in order.
  using Line = absl::btree_set<size_t>;
  // The number of a tenant's last turn, and the first of its line.
  using Turn = std::pair<uint64_t, size_t>;
  struct TenantLine {
    uint64_t last_turn = 0;
    Line line;
    Turn turn() const { return {last_turn, *line.begin()}; }
  };
  // Each kind by itself: who merges a collection may never compact it.
  struct Kind {
    std::vector<DueWork> due;
    Line line;
    // Of tenants with something in line.
    absl::flat_hash_map<TenantHash, TenantLine> tenants;
    absl::btree_set<Turn> turns;

    uint64_t turns_had = 0;
    Recent<TenantHash, uint64_t> last_turns{10'000};
    Recent<CollectionId, WorkerHash> holders{50'000};
    // When each was seen last.
    Recent<WorkerHash, int64_t> seen{10'000};

    bool IsAbout(WorkerHash worker, int64_t now_us) const;
    // The place in `due`, and whether it is warm.
    using Found = std::optional<std::pair<size_t, bool>>;
    Found Choose(WorkerHash worker, int64_t now_us) const;
    Found ChooseFrom(const Line& from, WorkerHash worker, int64_t now_us) const;
    void Take(size_t place);
  };
  Kind& Of(DueKind kind) { return kinds_[kind == DueKind::kMerge ? 1 : 0]; }
  const Kind& Of(DueKind kind) const { return kinds_[kind == DueKind::kMerge ? 1 : 0]; }

  std::array<Kind, 2> kinds_;
};

}  // namespace sluice::log

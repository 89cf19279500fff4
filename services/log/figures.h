// What there is to do for compactors, and what stands still: what metrics show of it. Read from a
// snapshot: of logs with work, which the due index names, and of those that lack vectors; nothing
// of others, however many there are. The first 10,000 of each are looked at.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "services/log/command.pb.h"
#include "services/log/store.h"

namespace sluice::log {

// Records that the segments do not reflect yet.
struct Lag {
  uint64_t records = 0;
  uint64_t bytes = 0;
  // Of the texts among them that an embedder has to embed: at most, about.
  uint64_t tokens = 0;
  double oldest_seconds = 0;
};
struct LagOf {
  CollectionId collection;
  Lag lag;
};
struct CountOf {
  CollectionId collection;
  uint64_t count = 0;
};

// Work of one kind that nobody has taken, and for how long the first in line has waited.
struct Waiting {
  uint64_t collections = 0;
  double longest_seconds = 0;
};

struct WorkFigures {
  Lag lag;
  // Longest lag first. These lists are short.
  std::vector<LagOf> worst_lag;
  Waiting compactions;
  Waiting merges;
  uint64_t stalled = 0;
  uint64_t failing = 0;
  uint64_t segments = 0;
  // Of logs with work.
  std::vector<CountOf> most_segments;
  uint64_t owed_vectors = 0;
  uint64_t refused_vectors = 0;
  std::vector<CountOf> most_missing_vectors;
};

// Notices logs that want to be compacted, and are not. It goes by what it was shown; not
// thread-safe.
class StallWatch {
 public:
  static constexpr int64_t kStalledAfterUs = 300'000'000;

  // Called for each log with unapplied records, once a round: whether nothing was applied for five
  // minutes in which it wanted to be.
  bool IsStalled(const CollectionId& collection, const pb::LogState& log, int64_t now_us);
  void EndRound();

 private:
  struct Seen {
    uint64_t applied = 0;
    int64_t since_us = 0;
  };
  absl::flat_hash_map<CollectionId, Seen> before_;
  absl::flat_hash_map<CollectionId, Seen> now_;
};

absl::StatusOr<WorkFigures> MeasureWork(const Snapshot& snapshot, int64_t now_us,
                                        StallWatch* stalls);

}  // namespace sluice::log

// The parts of the group `compact`: how fast logs become segments, what that costs, how fresh
// segments are, and how fast they are searched. Each returns keys, and its raw figures under "raw".
#pragma once

#include "absl/status/statusor.h"
#include "tools/bench/group.h"

namespace sluice::bench {

// compact_over_hnswlib.
absl::StatusOr<Figures> BenchCompactBuild(const BenchOptions& options);
// embedder_busy, many_small_over_one.
absl::StatusOr<Figures> BenchCompactEmbed(const BenchOptions& options);
// store_write_amplification.
absl::StatusOr<Figures> BenchCompactGrowth(const BenchOptions& options);
// freshness_p99_s, objects_put_per_1000_records.
absl::StatusOr<Figures> BenchCompactFresh(const BenchOptions& options);
// query_over_hnswlib, query_backlog_over_clean.
absl::StatusOr<Figures> BenchCompactQuery(const BenchOptions& options);

}  // namespace sluice::bench

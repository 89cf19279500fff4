// The ceiling of all that has to do with vectors: hnswlib by itself, in a process of its own
// (hnswlib_ceiling.cc).
#pragma once

#include <filesystem>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "tools/bench/group.h"

namespace sluice::bench {

// Of `count` vectors of `dimension` components, for METRIC_L2.
struct VectorList {
  size_t count = 0;
  absl::FunctionRef<std::vector<float>(size_t)> at;
};

// Builds with so many threads, and searches for each of the queries (may be none) with one.
// Figures: vectors, threads, build_seconds; with queries also nearest (of each query its ten, by
// number) and search ([{breadth, p50_us, recall}], by breadth). `folder` is where the vectors go
// meanwhile.
absl::StatusOr<Figures> RunHnswlib(const std::filesystem::path& folder, uint32_t dimension,
                                   const VectorList& vectors, const VectorList& queries,
                                   int threads);

// Of `search`: the entry of least breadth that finds as many of the nearest as `recall` says, or
// the last.
Figures LeastWithRecall(const Figures& search, double recall);

}  // namespace sluice::bench

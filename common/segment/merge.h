// Merging neighbouring segments: which, and how. A pure policy, and one function that writes; both
// thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "common/segment/graph.h"
#include "common/segment/segment.h"
#include "sluice/v1/segment.pb.h"

namespace sluice {

// A segment of so many entries is full: it is not merged with what comes after it.
inline constexpr uint64_t kFullSegmentEntries = 500'000;

// The neighbours [first, last) to merge next, or nullopt; a single one if it needs a graph, or if
// it is full and most of its rows are dead. Keeps the number of segments that are not full
// logarithmic in the entries written, rewrites each entry O(log) times, and keeps dead entries
// below about as many as there are live ones. Deterministic: the log decides with it that a merge
// is due, and the worker which. README.md has the rule and its figures.
// `dimension`: of the collection's vectors; 0: nothing has decided it yet.
// Before all else a segment with rows that have been dead since `erase_dead_before_us` or longer,
// alone.
std::optional<std::pair<size_t, size_t>> PickMerge(std::span<const v1::SegmentInfo> segments,
                                                   uint32_t dimension,
                                                   int64_t erase_dead_before_us = 0);

struct MergeOptions {
  // All of the collection's segments that are older than the inputs: a deletion is kept if one of
  // them has its id. Need not be given if there is no deletion in the inputs.
  std::span<const std::shared_ptr<const Segment>> older;
  // Some that are newer: what they have is left out.
  std::span<const std::shared_ptr<const Segment>> newer;
  uint32_t dimension = 0;
  GraphPolicy graph;
};

// Writes the last entry per id of `inputs` (oldest first, at least one) to `path`: deletions too,
// where they are needed. Considers a graph over the vectors. Fills the info as
// SegmentWriter::Finish does, the SeqIds it covers, and graph_considered. nullopt: nothing is left,
// and there is no file. Memory: 24 bytes an entry written, and a few MiB; for a graph about 400
// bytes a vector. `proceed` is asked every now and then: its error ends the merge and is returned.
absl::StatusOr<std::optional<v1::SegmentInfo>> MergeSegments(
    std::span<const std::shared_ptr<const Segment>> inputs, const MergeOptions& options,
    const std::filesystem::path& path,
    absl::FunctionRef<absl::Status()> proceed = [] { return absl::OkStatus(); });

}  // namespace sluice

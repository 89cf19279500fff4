// Merging neighbouring segments: which, and how. Pure policy, and one function that writes.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/segment/segment.h"
#include "sluice/v1/segment.pb.h"

namespace sluice {

// The neighbours [first, last) to merge next, or nullopt. Keeps the number of segments logarithmic in the entries written, and rewrites each
// entry O(log) times. Deterministic: the log decides with it that a merge is due, and the worker which.
std::optional<std::pair<size_t, size_t>> PickMerge(std::span<const v1::SegmentInfo> segments);

// Writes the last entry per id of `inputs` (oldest first) to `path`: deletions too, unless `drop_deletions` (the oldest segment of the collection is
// among the inputs). nullopt: nothing is left, and there is no file.
absl::StatusOr<std::optional<v1::SegmentInfo>> MergeSegments(std::span<const std::shared_ptr<const Segment>> inputs, bool drop_deletions,
                                                             uint32_t dimension, const std::filesystem::path& path);

}  // namespace sluice

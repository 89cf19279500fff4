#include <algorithm>

#include "common/segment/graph.h"
#include "common/segment/merge.h"

namespace sluice {
namespace {

using Segments = std::span<const v1::SegmentInfo>;
using Range = std::optional<std::pair<size_t, size_t>>;

// A segment is merged with all that are newer once those together have this many times its entries:
// each entry is rewritten into something several times larger, and the sizes of what is left
// unmerged grow geometrically toward the oldest. Rows that are dead do not count: they are not
// written again, and searches pass through them.
constexpr uint64_t kRatio = 3;
// The oldest that is not full is where dead entries collect: it goes sooner.
constexpr uint64_t kOldestRatio = 1;
// Instead of a dimension that nothing has decided yet: few are less.
constexpr uint32_t kLeastDimension = 32;

bool IsFull(const v1::SegmentInfo& segment) { return segment.entries() >= kFullSegmentEntries; }

uint64_t EntriesThatStay(const v1::SegmentInfo& segment) {
  return segment.entries() - std::min(segment.entries(), segment.dead_rows());
}

// Among those from `oldest` on, none of which is full.
Range PickByGrowth(Segments segments, size_t oldest) {
  uint64_t newer = 0;
  Range picked;
  for (size_t i = segments.size(); i-- > oldest;) {
    const uint64_t entries = std::max<uint64_t>(EntriesThatStay(segments[i]), 1);
    if (newer >= entries * (i == oldest ? kOldestRatio : kRatio)) {
      picked = std::pair(i, segments.size());
    }
    newer += entries;
  }
  return picked;
}

// Among those before `end`, the last of which is full: what has died, and what has shrunk.
Range PickAmongFull(Segments segments, size_t end) {
  for (size_t i = 0; i < end; ++i) {
    if (IsFull(segments[i]) && 2 * segments[i].dead_rows() > segments[i].rows()) {
      return std::pair(i, i + 1);
    }
  }
  for (size_t i = 0; i + 1 < end; ++i) {
    const bool has_shrunk = !IsFull(segments[i]) || !IsFull(segments[i + 1]);
    if (has_shrunk && segments[i].entries() + segments[i + 1].entries() < 2 * kFullSegmentEntries) {
      return std::pair(i, i + 2);
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::pair<size_t, size_t>> PickMerge(std::span<const v1::SegmentInfo> segments,
                                                   uint32_t dimension,
                                                   int64_t erase_dead_before_us) {
  for (size_t i = 0; i < segments.size(); ++i) {
    const bool is_dead = segments[i].dead_rows() > 0;
    if (is_dead && erase_dead_before_us > 0 &&
        segments[i].dead_since_us() <= erase_dead_before_us) {
      return std::pair(i, i + 1);
    }
  }
  size_t oldest = segments.size();
  while (oldest > 0 && !IsFull(segments[oldest - 1])) --oldest;
  if (const Range picked = PickByGrowth(segments, oldest)) return picked;
  if (const Range picked = PickAmongFull(segments, oldest)) return picked;
  for (size_t i = 0; i < segments.size(); ++i) {
    const bool lacks_graph =
        !segments[i].graph_considered() &&
        GraphPays(segments[i].vectors(), dimension ? dimension : kLeastDimension);
    if (lacks_graph) {
      return std::pair(i, i + 1);
    }
  }
  return std::nullopt;
}

}  // namespace sluice

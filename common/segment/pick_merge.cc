#include <algorithm>

#include "common/segment/merge.h"

namespace sluice {
namespace {

// A segment is merged with all that are newer once those together have this many times its entries:
// each entry is rewritten into something several times larger, and the sizes of what is left
// unmerged grow geometrically toward the oldest.
constexpr uint64_t kRatio = 3;
// The oldest is where dead entries collect, and where deletions can be dropped: it goes sooner.
constexpr uint64_t kOldestRatio = 1;

}  // namespace

std::optional<std::pair<size_t, size_t>> PickMerge(std::span<const v1::SegmentInfo> segments) {
  uint64_t newer = 0;
  std::optional<size_t> first;
  for (size_t i = segments.size(); i-- > 0;) {
    const uint64_t entries = std::max<uint64_t>(segments[i].entries(), 1);
    if (newer >= entries * (i == 0 ? kOldestRatio : kRatio)) first = i;
    newer += entries;
  }
  if (first) return std::pair(*first, segments.size());
  for (size_t i = 0; i < segments.size(); ++i) {
    if (segments[i].vectors() >= kGraphFromVectors && !segments[i].graph_considered()) {
      return std::pair(i, i + 1);
    }
  }
  return std::nullopt;
}

}  // namespace sluice

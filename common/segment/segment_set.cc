#include "common/segment/segment_set.h"

#include <algorithm>
#include <bit>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "common/base/check.h"

namespace sluice {
namespace {

// From this ratio of sizes on, ids are looked up one by one rather than by walking both indexes.
constexpr size_t kLookUpRatio = 16;

// Calls `visit` with the rows of `older` whose ids `newer` has too.
template <class Visit>
void ForEachOverwritten(const Segment& older, const Segment& newer, Visit visit) {
  const auto old_entries = older.entries();
  const auto new_entries = newer.entries();
  if (old_entries.size() / kLookUpRatio > new_entries.size()) {
    for (const Segment::Entry& entry : new_entries) {
      const std::optional<uint32_t> row = older.Find(entry.id);
      if (row && *row != Segment::kDeleted) visit(*row);
    }
    return;
  }
  auto at = new_entries.begin();
  for (const Segment::Entry& entry : old_entries) {
    while (at != new_entries.end() && at->id < entry.id) ++at;
    if (at == new_entries.end()) return;
    if (at->id == entry.id && entry.row != Segment::kDeleted) visit(entry.row);
  }
}

bool IsNearer(const SegmentSet::Neighbour& a, const SegmentSet::Neighbour& b) {
  return std::tie(a.distance, a.id) < std::tie(b.distance, b.id);
}

}  // namespace

SegmentSet::LiveRows::LiveRows(uint64_t rows) : words((rows + 63) / 64, ~uint64_t{0}), count(rows) {
  if (rows % 64 != 0) words.back() = (uint64_t{1} << (rows % 64)) - 1;
}

void SegmentSet::LiveRows::Remove(uint32_t row) {
  if (!Has(row)) return;
  words[row / 64] &= ~(uint64_t{1} << (row % 64));
  --count;
}

std::shared_ptr<const SegmentSet> SegmentSet::Build(
    std::vector<std::shared_ptr<const Segment>> segments, const SegmentSet* before) {
  std::shared_ptr<SegmentSet> set(new SegmentSet);
  set->segments_ = std::move(segments);
  set->live_.resize(set->segments_.size());
  for (size_t i = 0; i < set->segments_.size(); ++i) {
    set->live_[i] = set->LiveRowsOf(i, before);
    set->live_count_ += set->live_[i]->count;
  }
  return set;
}

std::shared_ptr<const SegmentSet::LiveRows> SegmentSet::LiveRowsOf(size_t i,
                                                                   const SegmentSet* before) const {
  const Segment& segment = *segments_[i];
  std::shared_ptr<const LiveRows> known;
  absl::flat_hash_set<const Segment*> counted;
  if (before != nullptr) {
    const auto it = std::ranges::find(before->segments_, segments_[i]);
    if (it != before->segments_.end()) {
      known = before->live_[static_cast<size_t>(it - before->segments_.begin())];
      for (const auto& s : before->segments_) counted.insert(s.get());
    }
  }
  // Copied from `known` at the first change.
  std::shared_ptr<LiveRows> own;
  if (known == nullptr) known = own = std::make_shared<LiveRows>(segment.info().rows());
  for (size_t newer = i + 1; newer < segments_.size(); ++newer) {
    if (counted.contains(segments_[newer].get())) continue;
    ForEachOverwritten(segment, *segments_[newer], [&](uint32_t row) {
      if (!known->Has(row)) return;
      if (own == nullptr) known = own = std::make_shared<LiveRows>(*known);
      own->Remove(row);
    });
  }
  return known;
}

std::optional<SegmentSet::Place> SegmentSet::Find(const IdHash& id) const {
  for (size_t i = segments_.size(); i-- > 0;) {
    const std::optional<uint32_t> row = segments_[i]->Find(id);
    if (!row) continue;
    if (*row == Segment::kDeleted) return std::nullopt;
    return Place{.segment = static_cast<uint32_t>(i), .row = *row};
  }
  return std::nullopt;
}

absl::StatusOr<Row> SegmentSet::ReadRow(Place place) const {
  SLUICE_CHECK(place.segment < segments_.size());
  return segments_[place.segment]->ReadRow(place.row);
}

std::span<const float> SegmentSet::Vector(Place place) const {
  SLUICE_CHECK(place.segment < segments_.size());
  return segments_[place.segment]->Vector(place.row);
}

void SegmentSet::VisitLive(std::optional<IdHash> after,
                           absl::FunctionRef<bool(const IdHash&, Place)> visit) const {
  // The next live entry of each segment that still has one; a heap, the least id on top.
  struct Head {
    const Segment::Entry* at;
    uint32_t segment;
  };
  const auto later = [](const Head& a, const Head& b) { return a.at->id > b.at->id; };
  std::vector<Head> heads;
  const auto push_from = [&](const Segment::Entry* at, uint32_t segment) {
    const auto entries = segments_[segment]->entries();
    const Segment::Entry* const end = entries.data() + entries.size();
    const LiveRows& live = *live_[segment];
    while (at != end && (at->row == Segment::kDeleted || !live.Has(at->row))) ++at;
    if (at == end) return;
    heads.push_back({.at = at, .segment = segment});
    std::ranges::push_heap(heads, later);
  };
  for (uint32_t i = 0; i < segments_.size(); ++i) {
    const auto entries = segments_[i]->entries();
    const Segment::Entry* at = entries.data();
    if (after) {
      at = std::ranges::upper_bound(at, at + entries.size(), *after, {}, &Segment::Entry::id);
    }
    push_from(at, i);
  }
  while (!heads.empty()) {
    std::ranges::pop_heap(heads, later);
    const Head head = heads.back();
    heads.pop_back();
    if (!visit(head.at->id, {.segment = head.segment, .row = head.at->row})) return;
    push_from(head.at + 1, head.segment);
  }
}

class SegmentSet::Nearest {
 public:
  explicit Nearest(size_t k) : k_(k) {}

  size_t k() const { return k_; }
  bool Wants(const Neighbour& candidate) const {
    return heap_.size() < k_ || IsNearer(candidate, heap_.front());
  }
  // Wants(candidate).
  void Add(const Neighbour& candidate) {
    if (heap_.size() == k_) {
      std::ranges::pop_heap(heap_, IsNearer);
      heap_.pop_back();
    }
    heap_.push_back(candidate);
    std::ranges::push_heap(heap_, IsNearer);
  }
  std::vector<Neighbour> Take() {
    std::ranges::sort_heap(heap_, IsNearer);
    return std::move(heap_);
  }

 private:
  const size_t k_;
  std::vector<Neighbour> heap_;
};

std::vector<SegmentSet::Neighbour> SegmentSet::Search(v1::Metric metric,
                                                      std::span<const float> query, size_t k,
                                                      absl::FunctionRef<bool(Place)> skip) const {
  Nearest nearest(k);
  if (k == 0) return {};
  const DistanceTo distance_to(metric, query);
  for (uint32_t i = 0; i < segments_.size(); ++i) {
    const Segment& segment = *segments_[i];
    if (segment.info().vectors() == 0 || segment.dimension() != query.size()) continue;
    const Graph* const graph = segment.graph();
    if (graph != nullptr && graph->metric() == metric &&
        SearchGraph(i, distance_to, nearest, skip)) {
      continue;
    }
    SearchAll(i, distance_to, nearest, skip);
  }
  return nearest.Take();
}

void SegmentSet::SearchAll(uint32_t i, const DistanceTo& distance_to, Nearest& nearest,
                           absl::FunctionRef<bool(Place)> skip) const {
  const Segment& segment = *segments_[i];
  for (const Segment::Entry& entry : segment.entries()) {
    if (entry.row == Segment::kDeleted || !live_[i]->Has(entry.row)) continue;
    const std::span<const float> vector = segment.Vector(entry.row);
    if (vector.empty()) continue;
    const Neighbour candidate{.distance = distance_to(vector.data()),
                              .id = entry.id,
                              .place = {.segment = i, .row = entry.row}};
    if (nearest.Wants(candidate) && !skip(candidate.place)) nearest.Add(candidate);
  }
}

bool SegmentSet::SearchGraph(uint32_t i, const DistanceTo& distance_to, Nearest& nearest,
                             absl::FunctionRef<bool(Place)> skip) const {
  const Segment& segment = *segments_[i];
  const Graph& graph = *segment.graph();
  const LiveRows& live = *live_[i];
  // The breadth was measured for ten neighbours.
  const size_t breadth = graph.breadth() + nearest.k();
  const auto hits = graph.Search(distance_to, segment.vectors().data(), segment.dimension(),
                                 breadth, live.count / Graph::kLinkCost, [&](uint32_t vector) {
                                   const uint32_t row = segment.EntryOfVector(vector).row;
                                   return live.Has(row) && !skip({.segment = i, .row = row});
                                 });
  // Too few also where the graph leaves some unreachable.
  if (!hits || hits->size() < nearest.k()) return false;
  for (const Graph::Hit& hit : *hits) {
    const Segment::Entry& entry = segment.EntryOfVector(hit.vector);
    const Neighbour candidate{
        .distance = hit.distance, .id = entry.id, .place = {.segment = i, .row = entry.row}};
    if (nearest.Wants(candidate)) nearest.Add(candidate);
  }
  return true;
}

}  // namespace sluice

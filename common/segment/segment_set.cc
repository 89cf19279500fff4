#include "common/segment/segment_set.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "common/base/check.h"

namespace sluice {
namespace {

// From this ratio of sizes on, ids are looked up one by one rather than by walking both indexes.
constexpr size_t kLookUpRatio = 16;

// Of what is read ahead: the rows of a stretch are not spread over segments as evenly as all are.
constexpr double kAheadMargin = 1.25;

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

bool SegmentSet::HasVector(Place place) const {
  SLUICE_CHECK(place.segment < segments_.size());
  return segments_[place.segment]->HasVector(place.row);
}

absl::StatusOr<Row> SegmentSet::ReadFields(Place place) const {
  SLUICE_CHECK(place.segment < segments_.size());
  return segments_[place.segment]->ReadFields(place.row);
}

SegmentSet::Cursor::Cursor(const SegmentSet& set, uint64_t rows, uint64_t bytes)
    : set_(set), cursors_(set.segments_.size()) {
  uint64_t all_bytes = 0;
  for (const auto& segment : set.segments_) all_bytes += segment->rows_bytes();
  // Rows are in order of id hash, so each segment has the same share of a stretch of ids.
  const auto share = [](uint64_t part, uint64_t whole) {
    return whole == 0 ? 1 : static_cast<double>(part) / static_cast<double>(whole);
  };
  share_ahead_ =
      std::min(1.0, kAheadMargin * std::min(share(rows, set.live_count_), share(bytes, all_bytes)));
}

absl::StatusOr<Row> SegmentSet::Cursor::ReadFields(Place place) {
  SLUICE_CHECK(place.segment < cursors_.size());
  std::optional<Segment::Cursor>& cursor = cursors_[place.segment];
  if (!cursor) {
    const Segment& segment = *set_.segments_[place.segment];
    const double ahead = share_ahead_ * static_cast<double>(segment.rows_bytes());
    cursor.emplace(segment.NewCursor(static_cast<uint64_t>(ahead)));
  }
  return cursor->ReadFields(place.row);
}

bool SegmentSet::is_local() const {
  return std::ranges::all_of(segments_, [](const auto& segment) { return segment->is_local(); });
}

bool SegmentSet::has_vectors_at_hand() const {
  return std::ranges::all_of(segments_, [](const auto& segment) {
    return segment->is_local() || segment->info().vectors() == 0;
  });
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

}  // namespace sluice

#include "services/compactor/compaction.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace sluice::compactor {
namespace {

// What a row takes besides its contents: allocations and the entries that point at it.
constexpr size_t kRowOverhead = 256;

size_t BytesOf(const Row& row) {
  size_t bytes = kRowOverhead + row.id.size() + row.vector.size() * sizeof(float);
  if (row.document) bytes += row.document->size();
  if (row.uri) bytes += row.uri->size();
  for (const v1::MetadataEntry& entry : row.metadata) bytes += entry.ByteSizeLong();
  return bytes;
}

bool MergesWithTheRow(const v1::OperationRecord& record) {
  return record.operation() == v1::OPERATION_UPDATE || record.operation() == v1::OPERATION_UPSERT;
}

}  // namespace

Compaction::Compaction(const SegmentSet& view, const IdHasher& hasher, bool has_embedder,
                       std::span<const v1::Append> appends, const MissingRows& missing)
    : view_(view),
      has_embedder_(has_embedder),
      may_miss_(missing.any),
      dead_(view.segments().size()) {
  size_t records = missing.owed.size();
  for (const v1::Append& append : appends) records += append.records_size();
  items_.reserve(records);
  for (const v1::Append& append : appends) {
    uint64_t seq_id = append.first_seq_id();
    for (const v1::OperationRecord& record : append.records()) {
      items_.push_back({hasher(record.id()), {SeqId(seq_id++), &record}});
    }
  }
  for (const IdHash& id : missing.owed) items_.push_back({id, {SeqId(0), nullptr}});
  std::sort(items_.begin(), items_.end(), [](const Item& a, const Item& b) {
    return std::tie(a.id, a.at.seq_id) < std::tie(b.id, b.at.seq_id);
  });
}

absl::StatusOr<std::vector<Change>> Compaction::Next(size_t bytes) {
  std::vector<Change> changes;
  size_t taken = 0;
  while (next_ < items_.size() && taken < bytes) {
    const size_t first = next_;
    while (next_ < items_.size() && items_[next_].id == items_[first].id) ++next_;
    const absl::Status folded =
        FoldGroup(std::span(items_).subspan(first, next_ - first), &changes, &taken);
    if (!folded.ok()) return folded;
  }
  return changes;
}

absl::Status Compaction::FoldGroup(std::span<const Item> group, std::vector<Change>* changes,
                                   size_t* bytes) {
  std::vector<RecordAt> records;
  records.reserve(group.size());
  bool is_owed = false;
  bool contents_matter = may_miss_;
  // A vector is given, or the row removed.
  bool is_settled = false;
  for (const Item& item : group) {
    if (item.at.record == nullptr) {
      is_owed = true;
      continue;
    }
    const v1::OperationRecord& record = *item.at.record;
    records.push_back(item.at);
    contents_matter |= MergesWithTheRow(record);
    is_settled |= record.operation() == v1::OPERATION_DELETE ||
                  (MergesWithTheRow(record) && record.has_vector());
  }

  const std::optional<SegmentSet::Place> place = view_.Find(group.front().id);
  std::optional<Row> before;
  if (place && (contents_matter || is_owed)) {
    absl::StatusOr<Row> row = view_.ReadRow(*place);
    if (!row.ok()) return std::move(row).status();
    before = *std::move(row);
  } else if (place) {
    // ADD and DELETE only ask whether the id exists: what it holds is not read.
    before.emplace().id = records.front().record->id();
  }
  const bool was_missing = before && before->pending_embedding;
  if (is_owed && !was_missing) not_missing_.push_back(group.front().id);
  // So that what is pending afterwards is what these records have brought.
  if (was_missing) before->pending_embedding = false;

  Folded folded = Fold(std::move(before), records, has_embedder_);
  no_effect_ += folded.no_effect;
  live_delta_ += int64_t{folded.row.has_value()} - int64_t{place.has_value()};
  bool embed = folded.row && folded.row->pending_embedding;
  if (was_missing && folded.row && !embed && !is_settled) {
    // As it was: a text is not sent again because its row's metadata changed.
    folded.row->pending_embedding = true;
    embed = is_owed;
  }
  if (!folded.changed && !embed) return absl::OkStatus();
  // A row that came and went within the batch leaves nothing; an older one needs an entry that says
  // it is gone.
  if (!folded.row && !place) return absl::OkStatus();
  if (place) ++dead_[place->segment];
  *bytes += folded.row ? BytesOf(*folded.row) : kRowOverhead;
  changes->push_back({.id = group.front().id,
                      .row = std::move(folded.row),
                      .embed = embed,
                      .was_missing = was_missing});
  return absl::OkStatus();
}

uint64_t EmbedPending(const HashingEmbedder& embedder, std::span<Change> changes) {
  uint64_t embedded = 0;
  for (Change& change : changes) {
    if (!change.embed) continue;
    change.row->vector = embedder.Embed(*change.row->document);
    change.row->pending_embedding = false;
    ++embedded;
  }
  return embedded;
}

std::vector<size_t> PendingAmong(std::span<const Change> changes) {
  std::vector<size_t> pending;
  for (size_t i = 0; i < changes.size(); ++i) {
    if (changes[i].embed) pending.push_back(i);
  }
  return pending;
}

bool TooManyRefused(const v1::EmbedWindow& window, uint64_t texts, uint64_t refused) {
  constexpr uint64_t kFewest = 100;
  const uint64_t all_refused = window.refused() + refused;
  return all_refused >= kFewest && all_refused * 100 > window.texts() + texts;
}

uint32_t DimensionOf(std::span<const v1::Append> appends) {
  for (const v1::Append& append : appends) {
    for (const v1::OperationRecord& record : append.records()) {
      if (record.has_vector()) return record.vector().dimension();
    }
  }
  return 0;
}

}  // namespace sluice::compactor

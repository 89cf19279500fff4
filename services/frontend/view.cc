#include "services/frontend/view.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"

namespace sluice::frontend {
namespace {

// What an entry of an id index costs in memory, and its share of the live sets.
constexpr uint64_t kBytesAnEntry = 32;
// What an open segment costs beside it: a mapping (of which a process may have some tens of
// thousands) and the reader of its rows.
constexpr uint64_t kBytesASegment = 16 << 10;

uint64_t BytesOf(const SegmentSet& segments) {
  uint64_t bytes = 0;
  for (const auto& segment : segments.segments()) {
    bytes += kBytesASegment + segment->entries().size() * kBytesAnEntry;
  }
  return bytes;
}

// Folds as common/record/fold.h does, but only what is ranked: whether the id exists, and where
// its vector is.
struct RankedFold {
  bool exists = false;
  bool placed = false;
  const v1::Vector* given = nullptr;
  const CodedVector* coded = nullptr;

  void Apply(const v1::OperationRecord& record, const CodedVector* code) {
    switch (RowEffectOf(record.operation(), exists)) {
      case RowEffect::kNone:
        return;
      case RowEffect::kRemove:
        *this = {};
        return;
      case RowEffect::kInsert:
      case RowEffect::kMerge:
        exists = true;
        if (record.has_vector()) {
          given = &record.vector();
          coded = code;
          placed = false;
        }
    }
  }
};

void PutInARow(TailEffect& effect) {
  size_t bytes = 0;
  for (const TailEffect::Ranked& ranked : effect.ranked) bytes += ranked.coded.dimension;
  effect.components.resize(bytes);
  int8_t* out = effect.components.data();
  for (TailEffect::Ranked& ranked : effect.ranked) {
    const int8_t* const components = std::exchange(ranked.coded.components, out);
    out = std::copy_n(components, ranked.coded.dimension, out);
  }
}

TailEffect EffectOfTail(const Tail& tail, const SegmentSet& segments) {
  TailEffect effect;
  for (Tail::Cursor cursor(tail); !cursor.done(); cursor.Next()) {
    const std::optional<SegmentSet::Place> place = segments.Find(cursor.id());
    RankedFold fold;
    if (place) {
      effect.hidden.insert({place->segment, place->row});
      fold = {.exists = true, .placed = segments.HasVector(*place)};
    }
    for (size_t i = 0; i < cursor.records().size(); ++i) {
      fold.Apply(*cursor.records()[i].record, cursor.coded()[i]);
    }
    effect.live_delta += int64_t{fold.exists} - int64_t{place.has_value()};
    if (fold.given) {
      effect.ranked.push_back(
          {.id = cursor.id(), .given = fold.given, .coded = *fold.coded, .place = {}});
    } else if (fold.placed) {
      effect.ranked.push_back({.id = cursor.id(), .place = *place});
    }
  }
  PutInARow(effect);
  return effect;
}

absl::Status Discontinuous(std::string_view what) {
  return absl::InternalError(absl::StrCat("the view sent does not continue the one held: ",
                                          absl::string_view(what.data(), what.size())));
}

// Whether what follows the header can continue `before`.
absl::Status CheckHeader(const View* before, const v1::ReadViewHeader& header) {
  if (header.id_hash_key().size() != 16) {
    return absl::InternalError("the log sent a view without an id_hash_key of 16 bytes");
  }
  if (header.applied_seq_id() > header.tail_seq_id()) {
    return MakeError(Reason::LOG_CORRUPT,
                     absl::StrCat("applied ", header.applied_seq_id(), " is beyond the tail, ",
                                  header.tail_seq_id()),
                     {{"seq_id", absl::StrCat(header.applied_seq_id())}});
  }
  if (!before) {
    return header.segments_included() ? absl::OkStatus() : Discontinuous("no segments");
  }
  if (header.tail_seq_id() < before->as_of().value ||
      header.applied_seq_id() < before->applied().value) {
    return Discontinuous("tail or applied went back");
  }
  if (!header.segments_included() && header.segments_version() != before->segments_version()) {
    return Discontinuous("no segments of another version");
  }
  return absl::OkStatus();
}

// The set that the header lists. Segments that `before` holds are not opened again.
absl::StatusOr<std::shared_ptr<const SegmentSet>> OpenSegments(const View* before,
                                                               const v1::ReadViewHeader& header,
                                                               const OpenSegment& open) {
  if (!header.segments_included()) return before->segments();
  std::vector<std::shared_ptr<const Segment>> segments;
  segments.reserve(header.segments_size());
  for (const v1::SegmentInfo& info : header.segments()) {
    std::shared_ptr<const Segment> segment;
    if (before) {
      for (const auto& held : before->segments()->segments()) {
        if (held->info().token() == info.token() && held->info().number() == info.number()) {
          segment = held;
        }
      }
    }
    if (!segment) {
      SLUICE_ASSIGN_OR_RETURN(segment, open(info));
    }
    segments.push_back(std::move(segment));
  }
  return SegmentSet::Build(std::move(segments), before ? before->segments().get() : nullptr);
}

}  // namespace

View::View(const CollectionId& collection, std::shared_ptr<const v1::ReadViewHeader> header,
           SeqId as_of, std::shared_ptr<const SegmentSet> segments, Tail tail)
    : collection_(collection),
      header_(std::move(header)),
      as_of_(as_of),
      hasher_(header_->id_hash_key()),
      segments_(std::move(segments)),
      tail_(std::move(tail)),
      bytes_(sizeof(View) + BytesOf(*segments_) + tail_.bytes()) {}

const TailEffect& View::effect() const {
  std::call_once(effect_once_, [this] { effect_ = EffectOfTail(tail_, *segments_); });
  return effect_;
}

absl::StatusOr<std::optional<Row>> View::RowOf(std::optional<SegmentSet::Place> place,
                                               std::span<const RecordAt> records, bool with_vector,
                                               SegmentSet::Cursor* cursor) const {
  std::optional<Row> before;
  if (place) {
    absl::StatusOr<Row> row = cursor ? cursor->ReadFields(*place) : segments_->ReadFields(*place);
    if (absl::IsNotFound(row.status())) {
      return SegmentMissing(SegmentObjectName(collection_, incarnation(),
                                              segments_->segments()[place->segment]->info()));
    }
    SLUICE_ASSIGN_OR_RETURN(before, std::move(row));
    if (with_vector) {
      const std::span<const float> vector = segments_->Vector(*place);
      before->vector.assign(vector.begin(), vector.end());
    }
  }
  if (records.empty()) return before;
  return Fold(std::move(before), records, !embedder().kind().empty()).row;
}

std::shared_ptr<const View> View::AppliedOnly() const {
  return std::make_shared<const View>(collection_, header_, applied(), segments_, Tail());
}

absl::Status SegmentMissing(const std::string& object) {
  return MakeError(Reason::SEGMENT_MISSING,
                   absl::StrCat("segment ", object, " is not in the object store"),
                   {{"object", object}});
}

bool IsUnchanged(const View& before, const ViewDelta& delta) {
  const v1::ReadViewHeader& header = delta.header;
  return header.incarnation() == before.incarnation().value &&
         header.segments_version() == before.segments_version() &&
         header.applied_seq_id() == before.applied().value &&
         (!delta.has_records || header.tail_seq_id() == before.as_of().value);
}

absl::StatusOr<std::shared_ptr<const View>> Advance(const CollectionId& collection,
                                                    std::shared_ptr<const View> before,
                                                    const ViewDelta& delta,
                                                    const OpenSegment& open) {
  const v1::ReadViewHeader& header = delta.header;
  if (before && header.incarnation() != before->incarnation().value) before = nullptr;
  SLUICE_RETURN_IF_ERROR(CheckHeader(before.get(), header));
  if (before && IsUnchanged(*before, delta)) return before;
  const SeqId applied(header.applied_seq_id());
  const SeqId have = before ? std::max(before->as_of(), applied) : applied;
  const SeqId as_of = delta.has_records ? SeqId(header.tail_seq_id()) : have;
  SLUICE_ASSIGN_OR_RETURN(std::shared_ptr<const SegmentSet> segments,
                          OpenSegments(before.get(), header, open));
  Tail tail = before ? before->tail().After(applied) : Tail();
  if (delta.has_records) {
    const IdHasher hasher(header.id_hash_key());
    for (const auto& message : delta.messages) tail = tail.With(message, hasher);
  }
  auto kept = std::make_shared<v1::ReadViewHeader>(header);
  kept->clear_segments();
  return std::make_shared<const View>(collection, std::move(kept), as_of, std::move(segments),
                                      std::move(tail));
}

}  // namespace sluice::frontend

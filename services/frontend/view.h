// What a reader knows of a collection at one moment: its segments, as far as they go, and the tail
// of records beyond them. One snapshot of the log's; every answer of one read comes from one view.
//
// Views are immutable and thread-safe. Advance makes the next one from what ReadView sent, and
// shares what did not change. No I/O here: the caller says how a segment is opened.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/segment/segment.h"
#include "common/segment/segment_set.h"
#include "services/frontend/tail.h"
#include "sluice/v1/log.pb.h"

namespace sluice::frontend {

// What the tail does to the segments' rows, as far as Count and Query need it.
struct TailEffect {
  // An id of the tail that exists and has a vector: one given by the tail, or else its row's.
  struct Ranked {
    IdHash id;
    const v1::Vector* given = nullptr;
    // Of `given`.
    CodedVector coded;
    SegmentSet::Place place;
  };

  // Rows that exist after the tail minus rows that existed before.
  int64_t live_delta = 0;
  // Rows of segments whose ids the tail speaks of: (segment, row).
  absl::flat_hash_set<std::pair<uint32_t, uint32_t>> hidden;
  std::vector<Ranked> ranked;
  // Of their codes, one after the other, so that a query reads on and on.
  std::vector<int8_t> components;
};

class View {
 public:
  // `tail` reaches from the header's `applied` to `as_of`. The header's list of segments is not
  // looked at.
  View(const CollectionId& collection, std::shared_ptr<const v1::ReadViewHeader> header,
       SeqId as_of, std::shared_ptr<const SegmentSet> segments, Tail tail);

  const CollectionId& collection() const { return collection_; }
  Incarnation incarnation() const { return Incarnation(header_->incarnation()); }
  uint64_t segments_version() const { return header_->segments_version(); }
  // What the segments reflect.
  SeqId applied() const { return SeqId(header_->applied_seq_id()); }
  // What the view reflects: segments and tail.
  SeqId as_of() const { return as_of_; }
  v1::Metric metric() const { return header_->schema().metric(); }
  const v1::Embedder& embedder() const { return header_->schema().embedder(); }
  // 0: no vector was written yet.
  uint32_t dimension() const { return header_->dimension(); }

  IdHash HashOf(std::string_view id) const { return hasher_(id); }
  const std::shared_ptr<const SegmentSet>& segments() const { return segments_; }
  const Tail& tail() const { return tail_; }
  // Worked out by the first caller.
  const TailEffect& effect() const;

  // The row of an id: what `place` holds (nullopt: no segment has it), with `records` folded over
  // it. nullopt: the id does not exist. `with_vector` only if their vectors are at hand; without, a
  // vector that the row has may be left out. By `cursor`, of these segments, where rows are read in
  // its order; may be null. SEGMENT_MISSING, SEGMENT_CORRUPT, UNAVAILABLE.
  absl::StatusOr<std::optional<Row>> RowOf(std::optional<SegmentSet::Place> place,
                                           std::span<const RecordAt> records, bool with_vector,
                                           SegmentSet::Cursor* cursor = nullptr) const;

  // The same without its tail: as of `applied`.
  std::shared_ptr<const View> AppliedOnly() const;
  // An estimate of the memory held.
  uint64_t bytes() const { return bytes_; }

 private:
  const CollectionId collection_;
  const std::shared_ptr<const v1::ReadViewHeader> header_;
  const SeqId as_of_;
  const IdHasher hasher_;
  const std::shared_ptr<const SegmentSet> segments_;
  const Tail tail_;
  const uint64_t bytes_;

  mutable std::once_flag effect_once_;
  mutable TailEffect effect_;
};

// The messages of one ReadView call, whose records are known to be without gaps.
struct ViewDelta {
  // False: only the header was taken.
  bool has_records = true;
  v1::ReadViewHeader header;
  std::vector<std::shared_ptr<const v1::ReadViewResponse>> messages;
};

// Of a segment that the log lists and the store does not have.
absl::Status SegmentMissing(const std::string& object);

using OpenSegment =
    std::function<absl::StatusOr<std::shared_ptr<const Segment>>(const v1::SegmentInfo&)>;

// Whether `delta` brings nothing to `before`, so that Advance returns just that.
bool IsUnchanged(const View& before, const ViewDelta& delta);

// The view after `delta`, which was asked for on the strength of `before` (null: from nothing).
// Without records in it, the tail stays as it was, less what the segments reflect by now. Returns
// `before` itself if nothing changed. INTERNAL: `delta` does not continue `before`, a view from
// nothing may do. Other errors are those of `open`.
absl::StatusOr<std::shared_ptr<const View>> Advance(const CollectionId& collection,
                                                    std::shared_ptr<const View> before,
                                                    const ViewDelta& delta,
                                                    const OpenSegment& open);

}  // namespace sluice::frontend

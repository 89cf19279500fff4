// The segments of a collection as one consistent view: which row of which segment is the live one
// for each id, and exact search over them. The newest segment that has an id decides it. Immutable
// and thread-safe; a view of the next list shares what did not change.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "common/base/executor.h"
#include "common/segment/distance.h"
#include "common/segment/segment.h"
#include "sluice/v1/collection.pb.h"

namespace sluice {

// How a search shares its work with other threads.
struct SearchSharing {
  // Those that have nothing else to do take part; null: the caller alone searches.
  Executor* helpers = nullptr;
  // Vectors that are worth a hand-over, in bytes: a quarter of a millisecond. Tests take less.
  uint64_t piece_bytes = 2 << 20;
};

class SegmentSet {
 public:
  // A live row.
  struct Place {
    uint32_t segment = 0;
    uint32_t row = 0;
    friend bool operator==(const Place&, const Place&) = default;
  };
  struct Neighbour {
    float distance = 0;
    IdHash id;
    Place place;
  };

  // `segments`: oldest first. `before` (may be null): an earlier view of the same collection, whose
  // live sets are reused for the segments that both views hold (the same object, not one opened
  // again).
  static std::shared_ptr<const SegmentSet> Build(
      std::vector<std::shared_ptr<const Segment>> segments, const SegmentSet* before);

  std::span<const std::shared_ptr<const Segment>> segments() const { return segments_; }
  uint64_t live_count() const { return live_count_; }
  std::optional<Place> Find(const IdHash& id) const;
  // Live ids after `after` (nullopt: from the first), in order of hash, until `visit` returns
  // false.
  void VisitLive(std::optional<IdHash> after,
                 absl::FunctionRef<bool(const IdHash&, Place)> visit) const;

  bool HasVector(Place place) const;
  // The row without its vector.
  absl::StatusOr<Row> ReadFields(Place place) const;
  // The same of rows in the order of VisitLive, with fewer requests where they are remote. One
  // thread; the set outlives it.
  class Cursor {
   public:
    // About so many rows, or so many bytes of them, will be read.
    Cursor(const SegmentSet& set, uint64_t rows, uint64_t bytes);
    absl::StatusOr<Row> ReadFields(Place place);

   private:
    const SegmentSet& set_;
    // Of each segment's rows.
    double share_ahead_ = 0;
    // One for each segment, once it is read.
    std::vector<std::optional<Segment::Cursor>> cursors_;
  };

  // Whether all segments are local (segment.h).
  bool is_local() const;
  // Whether all are that have vectors. Only then what follows.
  bool has_vectors_at_hand() const;
  absl::StatusOr<Row> ReadRow(Place place) const;
  std::span<const float> Vector(Place place) const;

  // The `k` live rows nearest to `query`, nearest first, without those for which `skip` is true.
  // Exact in segments without a graph of this metric, and where few rows are live; else
  // approximate. Equal distances are ordered, and at the k-th place cut off, by id hash: as far as
  // it is exact, the answer depends on the rows alone, not on how they lie in segments; and never
  // on which threads took part. `skip` is thread-safe, and is asked only about rows that would
  // otherwise be in the answer so far. A query of another dimension than a segment's finds nothing
  // in it.
  std::vector<Neighbour> Search(v1::Metric metric, std::span<const float> query, size_t k,
                                absl::FunctionRef<bool(Place)> skip,
                                const SearchSharing& sharing = {}) const;

 private:
  // Which rows of one segment are live. Shared between views; never changed once a view has it.
  struct LiveRows {
    explicit LiveRows(uint64_t rows);
    std::vector<uint64_t> words;
    uint64_t count;
    bool Has(uint32_t row) const { return words[row / 64] >> (row % 64) & 1; }
    void Remove(uint32_t row);
  };

  SegmentSet() = default;
  class SearchJob;
  // Of segments_[i].
  std::shared_ptr<const LiveRows> LiveRowsOf(size_t i, const SegmentSet* before) const;

  std::vector<std::shared_ptr<const Segment>> segments_;
  // One for each segment.
  std::vector<std::shared_ptr<const LiveRows>> live_;
  uint64_t live_count_ = 0;
};

}  // namespace sluice

// The segments of a collection as one consistent view: which row of which segment is the live one for each id, and exact search over them.
// The newest segment that has an id decides it. Immutable and thread-safe; a view of the next list shares what did not change.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "common/segment/segment.h"
#include "sluice/v1/collection.pb.h"

namespace sluice {

class SegmentSet {
 public:
  // A live row.
  struct Place {
    uint32_t segment = 0;
    uint32_t row = 0;
  };
  struct Neighbour {
    float distance = 0;
    Place place;
  };

  // `segments`: oldest first. `before` (may be null): an earlier view of the same collection, whose live sets are reused where they
  // still hold.
  static std::shared_ptr<const SegmentSet> Build(std::vector<std::shared_ptr<const Segment>> segments, const SegmentSet* before);
  virtual ~SegmentSet() = default;

  virtual std::span<const std::shared_ptr<const Segment>> segments() const = 0;
  virtual uint64_t live_count() const = 0;
  virtual std::optional<Place> Find(const IdHash& id) const = 0;
  virtual absl::StatusOr<Row> ReadRow(Place place) const = 0;
  virtual std::span<const float> Vector(Place place) const = 0;

  // Live ids after `after` (nullopt: from the first), in order of hash, until `visit` returns false.
  virtual void VisitLive(std::optional<IdHash> after, absl::FunctionRef<bool(const IdHash&, Place)> visit) const = 0;

  // The `k` live rows nearest to `query`, nearest first, without those for which `skip` is true. Exact.
  virtual std::vector<Neighbour> Search(v1::Metric metric, std::span<const float> query, size_t k,
                                        absl::FunctionRef<bool(Place)> skip) const = 0;
};

// Distances as Query reports them (collection.proto, Metric); also used for the rows of the unapplied tail.
float Distance(v1::Metric metric, std::span<const float> a, std::span<const float> b);

}  // namespace sluice

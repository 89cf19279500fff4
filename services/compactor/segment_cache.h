// Open segments of the collections compacted last, so that a claim opens only what is new. Least
// recently used ones go first.
//
// Thread-safe; files are opened outside the lock. Views given out stay valid for as long as they
// are held, whatever is evicted or deleted. Errors of Load: NOT_FOUND (an object is missing),
// SEGMENT_CORRUPT, UNAVAILABLE; the cache is as before.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <tuple>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/base/mutex.h"
#include "common/objects/object_store.h"
#include "common/segment/segment_set.h"

namespace sluice::compactor {

class SegmentCache {
 public:
  // `capacity_bytes`: of the id indexes of all views kept; the rest of a segment is mapped and
  // counts as page cache. The newest view is kept even if it alone exceeds it.
  SegmentCache(const ObjectStore& objects, uint64_t capacity_bytes)
      : objects_(objects), capacity_bytes_(capacity_bytes) {}

  // The view of `segments` (oldest first), which replaces the collection's earlier one.
  absl::StatusOr<std::shared_ptr<const SegmentSet>> Load(const CollectionId& collection,
                                                         Incarnation incarnation,
                                                         std::span<const v1::SegmentInfo> segments);

 private:
  struct Key {
    CollectionId collection;
    Incarnation incarnation;
    friend bool operator==(const Key&, const Key&) = default;
    template <typename H>
    friend H AbslHashValue(H h, const Key& k) {
      return H::combine(std::move(h), static_cast<const Uuid&>(k.collection), k.incarnation);
    }
  };
  struct View {
    Key key;
    std::shared_ptr<const SegmentSet> set;
    uint64_t bytes = 0;
  };
  using Views = std::list<View>;

  std::shared_ptr<const SegmentSet> Find(const Key& key) EXCLUDES(mutex_);
  void Keep(const Key& key, std::shared_ptr<const SegmentSet> set) EXCLUDES(mutex_);

  // Moves a view to `evicted`, which outlives the lock: closing its segments takes a while.
  void Evict(Views::iterator view, Views* evicted) REQUIRES(mutex_);

  const ObjectStore& objects_;
  const uint64_t capacity_bytes_;

  Mutex mutex_;
  // Most recently used first.
  Views views_ GUARDED_BY(mutex_);
  absl::flat_hash_map<Key, Views::iterator> by_key_ GUARDED_BY(mutex_);
  uint64_t bytes_ GUARDED_BY(mutex_) = 0;
};

// Opens the segment of `info`; the error names the object.
absl::StatusOr<std::shared_ptr<const Segment>> OpenSegment(const ObjectStore& objects,
                                                           const CollectionId& collection,
                                                           Incarnation incarnation,
                                                           const v1::SegmentInfo& info);

}  // namespace sluice::compactor

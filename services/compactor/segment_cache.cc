#include "services/compactor/segment_cache.h"

#include <string>
#include <utility>
#include <vector>

#include "common/errors/errors.h"

namespace sluice::compactor {
namespace {

// A mapping, a file descriptor and the reader of its rows.
constexpr uint64_t kSegmentOverhead = 16 << 10;

uint64_t BytesOf(const SegmentSet& set) {
  uint64_t bytes = 0;
  for (const auto& segment : set.segments()) {
    bytes += segment->info().entries() * sizeof(Segment::Entry) + kSegmentOverhead;
  }
  return bytes;
}

bool SameObject(const v1::SegmentInfo& a, const v1::SegmentInfo& b) {
  return a.token() == b.token() && a.number() == b.number();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Segment>> OpenSegment(const ObjectStore& objects,
                                                           const CollectionId& collection,
                                                           Incarnation incarnation,
                                                           const v1::SegmentInfo& info) {
  const std::string name = SegmentObjectName(collection, incarnation, info);
  SLUICE_ASSIGN_OR_RETURN(ObjectFile file, objects.Fetch(name));
  absl::StatusOr<std::shared_ptr<const Segment>> segment = Segment::Open(*file, info);
  if (!segment.ok()) return Annotate(segment.status(), name);
  return Holding(std::move(file), *std::move(segment));
}

absl::StatusOr<std::shared_ptr<const SegmentSet>> SegmentCache::Load(
    const CollectionId& collection, Incarnation incarnation,
    std::span<const v1::SegmentInfo> segments) {
  const Key key{collection, incarnation};
  const std::shared_ptr<const SegmentSet> before = Find(key);
  std::vector<std::shared_ptr<const Segment>> opened;
  opened.reserve(segments.size());
  for (const v1::SegmentInfo& info : segments) {
    std::shared_ptr<const Segment> segment;
    if (before) {
      for (const auto& open : before->segments()) {
        if (SameObject(open->info(), info)) segment = open;
      }
    }
    if (!segment) {
      SLUICE_ASSIGN_OR_RETURN(segment, OpenSegment(objects_, collection, incarnation, info));
    }
    opened.push_back(std::move(segment));
  }
  std::shared_ptr<const SegmentSet> set = SegmentSet::Build(std::move(opened), before.get());
  Keep(key, set);
  return set;
}

std::shared_ptr<const SegmentSet> SegmentCache::Find(const Key& key) {
  const MutexLock lock(mutex_);
  const auto it = by_key_.find(key);
  return it == by_key_.end() ? nullptr : it->second->set;
}

void SegmentCache::Keep(const Key& key, std::shared_ptr<const SegmentSet> set) {
  Views evicted;  // closed after the lock is let go
  const MutexLock lock(mutex_);
  if (const auto it = by_key_.find(key); it != by_key_.end()) Evict(it->second, &evicted);
  views_.push_front({key, std::move(set), 0});
  views_.front().bytes = BytesOf(*views_.front().set);
  bytes_ += views_.front().bytes;
  by_key_[key] = views_.begin();
  while (bytes_ > capacity_bytes_ && views_.size() > 1) Evict(std::prev(views_.end()), &evicted);
}

void SegmentCache::Evict(Views::iterator view, Views* evicted) {
  bytes_ -= view->bytes;
  by_key_.erase(view->key);
  evicted->splice(evicted->end(), views_, view);
}

}  // namespace sluice::compactor

// How many bytes of commands may be in flight (proposed, and not answered yet): of the node, and of
// each collection, so that one collection's storm leaves room for the others. What is beyond is
// refused at once, with how long to wait: about as long as what is in flight takes to be answered
// at the pace of late.
//
// Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "common/base/ids.h"
#include "common/base/mutex.h"

namespace sluice::log {

class Admission {
 public:
  using Clock = std::chrono::steady_clock;

  struct Limits {
    uint64_t node_bytes = 64 << 20;
    uint64_t collection_bytes = 16 << 20;
  };
  explicit Admission(const Limits& limits) : limits_(limits) {}

  // Counts a command of `bytes` in, or refuses it: OVERLOADED, whose metadata `limit` is
  // `collection`, `node`, or `store` (the store cannot take more at the moment: only a quarter of
  // the collection's bytes may wait for it). A command of no collection (nil) is not a push: it has
  // some room beyond the node's limit, since compaction and trimming are what relieves a full log.
  // One command alone is taken however large it is.
  absl::Status Take(const CollectionId& collection, uint64_t bytes, bool store_slow,
                    Clock::time_point now);
  // It was answered.
  void GiveBack(const CollectionId& collection, uint64_t bytes, Clock::time_point now);

  uint64_t bytes() const;

 private:
  absl::Status Refuse(std::string_view limit, uint64_t in_flight) const REQUIRES(mutex_);

  const Limits limits_;
  mutable Mutex mutex_;
  uint64_t bytes_ GUARDED_BY(mutex_) = 0;
  // Of the collections that have any.
  absl::flat_hash_map<CollectionId, uint64_t> of_collection_ GUARDED_BY(mutex_);
  // Answered since `pace_since_`; and the pace before that, in bytes a second (0: not known).
  uint64_t answered_ GUARDED_BY(mutex_) = 0;
  Clock::time_point pace_since_ GUARDED_BY(mutex_);
  double pace_ GUARDED_BY(mutex_) = 0;
};

}  // namespace sluice::log

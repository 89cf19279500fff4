// Opens the segments of views. One whose object is on the local disk, or is small, is mapped at
// once. Others are opened remotely (common/segment/segment.h), so that rows can be read while their
// objects come to the local disk in the background; from then on the same segments are local.
//
// Thread-safe. Opening blocks; loading runs on threads of its own, a few at once, and each object
// is loaded once however many want it. The destructor gives up what is being loaded.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "common/base/executor.h"
#include "common/base/ids.h"
#include "common/base/mutex.h"
#include "common/objects/object_store.h"
#include "common/segment/segment.h"
#include "services/frontend/metrics.h"
#include "services/frontend/view.h"

namespace sluice::frontend {

class SegmentLoader {
 public:
  using Done = absl::AnyInvocable<void(absl::Status)>;

  // Objects from this size on are opened remotely. Tests have small ones.
  static constexpr uint64_t kRemoteFromBytes = 4 << 20;

  // `objects` and `metrics` must outlive this.
  SegmentLoader(const ObjectStore& objects, Metrics& metrics,
                uint64_t remote_from_bytes = kRemoteFromBytes);
  ~SegmentLoader();

  // SEGMENT_MISSING if the object is gone; SEGMENT_CORRUPT, UNAVAILABLE.
  absl::StatusOr<std::shared_ptr<const Segment>> Open(const CollectionId& collection,
                                                      Incarnation incarnation,
                                                      const v1::SegmentInfo& info) const;

  // Begins to load those segments of the view that are remote, and are not being loaded.
  void Load(const View& view) EXCLUDES(mutex_);
  // The same; calls `done` once: when all are local, or one cannot be (the errors of Open), or with
  // CANCELLED once `given_up` is stopped. On a thread that it must not hold up: one of those that
  // load, or that stops `given_up`, or the caller's.
  void AwaitLocal(const View& view, const std::stop_token& given_up, Done done) EXCLUDES(mutex_);

 private:
  // A read that waits for some loads.
  struct Wait;
  struct Loading {
    std::shared_ptr<const Segment> segment;
    std::string object;
    std::vector<std::shared_ptr<Wait>> waits;
  };

  void LoadAll(const View& view, const std::shared_ptr<Wait>& wait) EXCLUDES(mutex_);
  void LoadOne(const Segment* segment) EXCLUDES(mutex_);
  Loading Take(const Segment* segment) REQUIRES(mutex_);
  absl::StatusOr<std::shared_ptr<const Segment>> OpenLocal(const std::string& object,
                                                           const v1::SegmentInfo& info,
                                                           const Patience& patience) const;

  const ObjectStore& objects_;
  Metrics& metrics_;
  const uint64_t remote_from_bytes_;
  std::stop_source stop_;

  Mutex mutex_;
  // Those that wait for a thread, too.
  absl::flat_hash_map<const Segment*, Loading> loading_ GUARDED_BY(mutex_);
  // The last: its tasks need the rest.
  Executor threads_;
};

}  // namespace sluice::frontend

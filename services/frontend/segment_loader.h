// Opens the segments of views. One whose object is on the local disk, or is small, is mapped at
// once. Others are opened remotely (common/segment/segment.h), so that rows can be read while their
// objects come to the local disk in the background; from then on the same segments are local.
//
// Thread-safe. Opening blocks; loading runs on threads of its own, a few at once, and each object
// is loaded once however many want it; one whose load failed is left alone for a while. The
// destructor gives up what is being loaded.
#pragma once

#include <chrono>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "common/base/executor.h"
#include "common/base/ids.h"
#include "common/base/mutex.h"
#include "common/base/timer.h"
#include "common/objects/object_store.h"
#include "common/segment/segment.h"
#include "common/server/logging.h"
#include "services/frontend/metrics.h"
#include "services/frontend/view.h"

namespace sluice::frontend {

// Until a load that failed with `error` is begun again, after the pause before (zero: the first).
std::chrono::steady_clock::duration PauseAfterFailure(std::chrono::steady_clock::duration before,
                                                      const absl::Status& error);

class SegmentLoader {
 public:
  using Done = absl::AnyInvocable<void(absl::Status)>;
  // All segments of a view, or those that have vectors.
  enum class Awaited { kAll, kVectors };

  // Objects from this size on are opened remotely. Tests have small ones.
  static constexpr uint64_t kRemoteFromBytes = 4 << 20;

  // How long Open waits for a whole object: a thread that answers reads waits for it.
  static constexpr std::chrono::milliseconds kOpenPatience{10'000};

  // `objects` and `metrics` must outlive this.
  SegmentLoader(const ObjectStore& objects, Metrics& metrics,
                uint64_t remote_from_bytes = kRemoteFromBytes,
                std::chrono::milliseconds open_patience = kOpenPatience);
  ~SegmentLoader();
  // Gives up what is being opened or loaded, and what would be from now on.
  void Stop() { stop_.request_stop(); }

  // SEGMENT_MISSING if the object is gone; SEGMENT_CORRUPT, UNAVAILABLE. One whose pieces arrive
  // damaged is loaded like those that are remote, and may be there when it is opened again.
  absl::StatusOr<std::shared_ptr<const Segment>> Open(const CollectionId& collection,
                                                      Incarnation incarnation,
                                                      const v1::SegmentInfo& info) EXCLUDES(mutex_);

  // Begins to load those segments of the view that are remote, and are not being loaded.
  void Load(const View& view) EXCLUDES(mutex_);
  // The same; calls `done` once: when those awaited are local, or one cannot be (the errors of
  // Open; of a load that failed a short while ago, at once), or once `patience` ends, with
  // DEADLINE_EXCEEDED or CANCELLED. On a thread that it must not hold up: one of those that load,
  // of the timer, or that gives up, or the caller's. Loads that somebody waits for go before the
  // others.
  void AwaitLocal(const View& view, Awaited awaited, const Patience& patience, Done done)
      EXCLUDES(mutex_);

 private:
  // A read that waits for some loads.
  struct Wait;
  // Of one object, that waits for a thread, or has one.
  struct Loading {
    v1::SegmentInfo info;
    // In the order in which they came.
    uint64_t number = 0;
    bool is_begun = false;
    // Opened remotely, by whatever views; they do not live because of this.
    std::vector<std::weak_ptr<const Segment>> segments;
    std::vector<std::shared_ptr<Wait>> waits;
  };
  // Of a load. It is not begun again before `retry_at`.
  struct Failure {
    absl::Status error;
    std::chrono::steady_clock::duration pause{};
    std::chrono::steady_clock::time_point retry_at;
  };

  Patience OpenPatience() const;
  std::shared_ptr<Wait> NewWait(Awaited awaited, const Patience& patience, Done done)
      EXCLUDES(mutex_);
  void LoadAll(const View& view, const std::shared_ptr<Wait>& wait) EXCLUDES(mutex_);
  // Blocks until it is loaded, or could not be.
  absl::Status AwaitObject(const std::string& object, const v1::SegmentInfo& info) EXCLUDES(mutex_);
  // `segment`, `wait`: may be null. True: a thread has to be asked to load it.
  bool Want(const std::string& object, const v1::SegmentInfo& info,
            const std::shared_ptr<const Segment>& segment, const std::shared_ptr<Wait>& wait)
      REQUIRES(mutex_);
  void LoadNext() EXCLUDES(mutex_);
  // The one to begin; null: there is none. Forgets those that nobody wants any more.
  std::pair<const std::string, Loading>* Next() REQUIRES(mutex_);
  void Conclude(const std::string& object,
                const absl::StatusOr<std::shared_ptr<const Segment>>& local) EXCLUDES(mutex_);
  void Remember(const std::string& object, const absl::Status& error) REQUIRES(mutex_);
  // Null: it is none that holds now.
  const Failure* FindFailure(const std::string& object) const REQUIRES(mutex_);
  void GiveUp(const std::weak_ptr<Wait>& waiting, const absl::Status& why) EXCLUDES(mutex_);
  // Takes it from the loads that it waits for; returns what it is to call. Whoever calls this holds
  // it until the lock is let go, as its end may wait for one that gives it up.
  Done End(const std::shared_ptr<Wait>& wait) REQUIRES(mutex_);
  absl::StatusOr<std::shared_ptr<const Segment>> OpenLocal(const std::string& object,
                                                           const v1::SegmentInfo& info,
                                                           const Patience& patience) const;

  const ObjectStore& objects_;
  Metrics& metrics_;
  const uint64_t remote_from_bytes_;
  const std::chrono::milliseconds open_patience_;
  std::stop_source stop_;

  Mutex mutex_;
  server::RateLimitedLog load_failed_{std::chrono::seconds(1)};
  // Both by the name of the object.
  absl::flat_hash_map<std::string, Loading> loading_ GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, Failure> failures_ GUARDED_BY(mutex_);
  uint64_t last_number_ GUARDED_BY(mutex_) = 0;
  // The last: what they run needs the rest.
  Timer timer_;
  Executor threads_;
};

}  // namespace sluice::frontend

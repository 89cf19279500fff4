// Where claims wait for work. Whenever something may be due (a log moved, a lease ended, a time
// came), the desk reads the due index once for all of them, and proposes: the oldest due first, to
// the call that has waited longest among those that want its kind. Whether a claim is granted is
// decided by the state machine; one that is not goes back to its place.
//
// Thread-safe; a waiting claim holds no thread.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/base/ids.h"
#include "common/base/mutex.h"
#include "services/log/command.h"
#include "services/log/keys.h"
#include "services/log/timer.h"
#include "sluice/v1/compaction.pb.h"

namespace sluice::log {

struct ServiceCore;

class ClaimDesk {
 public:
  // `core` must outlive the desk, and have its shard before the first call.
  ClaimDesk(ServiceCore& core, size_t max_waiting) : core_(core), max_waiting_(max_waiting) {}

  // Takes over the call. `request` has been checked; it and `response` live until the call ends.
  grpc::ServerUnaryReactor* Serve(grpc::CallbackServerContext* context,
                                  const v1::ClaimRequest* request, v1::ClaimResponse* response);

  // Something may have become due. Cheap; for the applier too.
  void Poke();
  size_t waiting() const { return waiting_count_.load(std::memory_order_relaxed); }
  // Claims that wait are told DRAINING, and so are those that come.
  void BeginDrain();

 private:
  class Call;
  using CallPtr = std::shared_ptr<Call>;
  using Work = std::pair<DueKind, CollectionId>;
  struct Round;

  void Add(const CallPtr& call);
  void Remove(const CallPtr& call);
  void Dispatch();
  absl::Status ReadDueWork(Round* round);
  void Assign(Round* round);
  void Propose(const CallPtr& call, const Work& work);
  void OnAnswer(const CallPtr& call, const Work& work, const Result& result);
  void Grant(const CallPtr& call, const Work& work, const ClaimAnswer& answer);
  void GiveBack(const v1::Lease& lease);
  void ScheduleDispatch() REQUIRES(mutex_);
  void DispatchAt(Timer::Clock::time_point when) REQUIRES(mutex_);
  void CountWaiting() REQUIRES(mutex_);

  ServiceCore& core_;
  const size_t max_waiting_;
  std::atomic<size_t> waiting_count_ = 0;

  Mutex mutex_;
  // Longest first.
  std::list<CallPtr> waiting_ GUARDED_BY(mutex_);
  // Work that is being proposed; with a time: that was refused, and is left alone until then.
  absl::flat_hash_map<Work, std::optional<Timer::Clock::time_point>> taken_ GUARDED_BY(mutex_);
  bool dispatch_queued_ GUARDED_BY(mutex_) = false;
  Timer::Clock::time_point last_dispatch_ GUARDED_BY(mutex_);
  std::optional<Timer::Id> timer_id_ GUARDED_BY(mutex_);
  bool draining_ GUARDED_BY(mutex_) = false;
};

}  // namespace sluice::log

// Where claims wait for work. Whenever something may be due (a log moved, a lease ended, a time
// came), the desk reads the due index once for all of them, and proposes for each, the one that has
// waited longest first, what ClaimOrder chooses for it. Whether a claim is granted is decided by
// the state machine; one that is not goes back to its place.
//
// Thread-safe; a waiting claim holds no thread. A look at the index reads what is due of a kind
// (the 4,096 that are so for longest) and one row more, however many collections there are; of
// those of them whose tenant is not known (to be read once), the catalog's row, too. Where much is
// due, it serves the claims of the next milliseconds, too.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/base/ids.h"
#include "common/base/mutex.h"
#include "common/base/timer.h"
#include "services/log/claim_order.h"
#include "services/log/command.h"
#include "services/log/due_look.h"
#include "services/log/keys.h"
#include "services/log/recent.h"
#include "services/log/store.h"
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

  // Something may have become due. Cheap, and waits for nobody who looks or chooses; for the
  // applier too.
  void Poke();
  size_t waiting() const { return waiting_count_.load(std::memory_order_relaxed); }
  // Claims that wait are told DRAINING, and so are those that come.
  void BeginDrain();

 private:
  class Call;
  using CallPtr = std::shared_ptr<Call>;
  using Work = std::pair<DueKind, CollectionId>;
  struct Proposal {
    CallPtr call;
    Work work;
    // The worker held it last.
    bool warm = false;
  };
  // By the clock, and by the shard's.
  struct Round {
    Timer::Clock::time_point now;
    int64_t now_us = 0;
  };
  // What a look at the due index found, of one kind.
  struct Found {
    DueKind kind;
    // Oldest first.
    std::vector<DueWork> due;
    DueLook look;
  };

  void Add(const CallPtr& call);
  void Remove(const CallPtr& call);
  void Dispatch();
  void FailAll(const absl::Status& status);
  bool IsWanted(DueKind kind) const REQUIRES(mutex_);
  absl::StatusOr<Found> ReadDueWork(DueKind kind);
  void TakeOver(const Found& found) REQUIRES(mutex_);
  // Fills in whose the work is.
  void FindTenants(const Snapshot& snapshot, std::vector<DueWork>* due);
  std::vector<Proposal> Assign(const Round& round) REQUIRES(mutex_);
  std::vector<CallPtr> TakeExpired(const Round& round) REQUIRES(mutex_);
  // When something may change for those who still wait.
  void WakeAgain(const Round& round) REQUIRES(mutex_);
  void Propose(const Proposal& proposal);
  void OnAnswer(const Proposal& proposal, const Result& result);
  void Grant(const Proposal& proposal, const ClaimAnswer& answer);
  void GiveBack(const v1::Lease& lease);
  void ScheduleDispatch() REQUIRES(mutex_);
  void DispatchAt(Timer::Clock::time_point when) REQUIRES(mutex_);
  void CountWaiting() REQUIRES(mutex_);
  DueLook& LookAt(DueKind kind) REQUIRES(mutex_) { return looks_[kind == DueKind::kMerge ? 1 : 0]; }

  ServiceCore& core_;
  const size_t max_waiting_;
  std::atomic<size_t> waiting_count_ = 0;
  // A poke is on its way to the timer's thread.
  std::atomic<bool> poked_ = false;
  std::atomic<Timer::Clock::time_point> last_dispatch_ = Timer::Clock::time_point();

  Mutex mutex_;
  // Longest first.
  std::list<CallPtr> waiting_ GUARDED_BY(mutex_);
  // Work that is being proposed; with a time: that was refused, and is left alone until then.
  absl::flat_hash_map<Work, std::optional<Timer::Clock::time_point>> taken_ GUARDED_BY(mutex_);
  std::array<DueLook, 2> looks_ GUARDED_BY(mutex_);
  ClaimOrder order_ GUARDED_BY(mutex_);
  bool dispatch_queued_ GUARDED_BY(mutex_) = false;
  std::optional<Timer::Id> timer_id_ GUARDED_BY(mutex_);
  bool draining_ GUARDED_BY(mutex_) = false;

  Mutex tenants_mutex_;
  Recent<CollectionId, TenantHash> tenants_ GUARDED_BY(tenants_mutex_){50'000};
};

}  // namespace sluice::log

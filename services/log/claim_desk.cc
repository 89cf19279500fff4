#include "services/log/claim_desk.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "common/errors/errors.h"
#include "services/log/due.h"
#include "services/log/reader.h"
#include "services/log/service_core.h"

namespace sluice::log {
namespace {

using Clock = Timer::Clock;

// Pushes move logs all the time; the due index is read at most this often for that.
constexpr std::chrono::milliseconds kPokeInterval(10);
// What was refused looked due in the store: it is tried again after this, not at once.
constexpr std::chrono::milliseconds kRest(50);

constexpr uint32_t kDefaultLeaseMs = 30'000;

v1::LeaseKind LeaseKindOf(DueKind kind) {
  return kind == DueKind::kMerge ? v1::LEASE_KIND_MERGE : v1::LEASE_KIND_COMPACTION;
}

absl::Status Draining() {
  return WithOutcome(MakeError(Reason::DRAINING, "the log is stopping"), Outcome::kNotIn);
}

}  // namespace

// A claim that waits, is being proposed, or has ended: always one of these, moved along by the
// desk. It owns itself until gRPC is done with it.
class ClaimDesk::Call final : public grpc::ServerUnaryReactor,
                              public std::enable_shared_from_this<Call> {
 public:
  Call(ClaimDesk& desk, grpc::CallbackServerContext* context, const v1::ClaimRequest* request,
       v1::ClaimResponse* response)
      : desk_(desk),
        context_(context),
        request_(request),
        response_(response),
        deadline_(Clock::now() + std::chrono::milliseconds(request->wait_ms())) {}

  void Begin() {
    alive_ = shared_from_this();
    desk_.Add(alive_);
  }
  void End(const absl::Status& status) { Finish(ToGrpc(status, context_)); }

  void OnCancel() override { desk_.Remove(shared_from_this()); }
  void OnDone() override { alive_.reset(); }

  bool Wants(DueKind kind) const {
    const auto& kinds = request_->kinds();
    return kinds.empty() || std::find(kinds.begin(), kinds.end(), LeaseKindOf(kind)) != kinds.end();
  }
  const v1::ClaimRequest& request() const { return *request_; }
  v1::ClaimResponse& response() const { return *response_; }
  Clock::time_point deadline() const { return deadline_; }
  bool cancelled() const { return context_->IsCancelled(); }

 private:
  ClaimDesk& desk_;
  grpc::CallbackServerContext* const context_;
  const v1::ClaimRequest* const request_;
  v1::ClaimResponse* const response_;
  const Clock::time_point deadline_;
  CallPtr alive_;
};

// One look at the due index, for all who wait.
struct ClaimDesk::Round {
  Clock::time_point now = Clock::now();
  size_t most = 0;
  // In order of due time.
  std::vector<DueKey> due;
  // When more comes due.
  std::optional<Clock::time_point> next;
  std::vector<std::pair<CallPtr, Work>> proposals;
  std::vector<CallPtr> expired;
};

grpc::ServerUnaryReactor* ClaimDesk::Serve(grpc::CallbackServerContext* context,
                                           const v1::ClaimRequest* request,
                                           v1::ClaimResponse* response) {
  const auto call = std::make_shared<Call>(*this, context, request, response);
  call->Begin();
  return call.get();
}

void ClaimDesk::Poke() {
  if (waiting() == 0) return;
  MutexLock lock(mutex_);
  if (!dispatch_queued_) DispatchAt(std::max(Clock::now(), last_dispatch_ + kPokeInterval));
}

void ClaimDesk::BeginDrain() {
  std::list<CallPtr> ended;
  {
    MutexLock lock(mutex_);
    draining_ = true;
    ended.swap(waiting_);
    CountWaiting();
  }
  for (const CallPtr& call : ended) call->End(Draining());
}

void ClaimDesk::Add(const CallPtr& call) {
  absl::Status refused;
  {
    MutexLock lock(mutex_);
    if (draining_) {
      refused = Draining();
    } else if (waiting_.size() >= max_waiting_) {
      refused = WithOutcome(
          MakeRetryableError(Reason::OVERLOADED, "too many claims wait", std::chrono::seconds(1)),
          Outcome::kNotIn);
    } else {
      waiting_.push_back(call);
      CountWaiting();
      ScheduleDispatch();
    }
  }
  if (!refused.ok()) call->End(refused);
}

void ClaimDesk::Remove(const CallPtr& call) {
  {
    MutexLock lock(mutex_);
    const auto it = std::find(waiting_.begin(), waiting_.end(), call);
    // One that is being proposed ends when the answer comes.
    if (it == waiting_.end()) return;
    waiting_.erase(it);
    CountWaiting();
  }
  call->End(absl::CancelledError("cancelled by the caller"));
}

void ClaimDesk::Dispatch() {
  Round round;
  {
    MutexLock lock(mutex_);
    dispatch_queued_ = false;
    last_dispatch_ = round.now;
    if (waiting_.empty()) return;
    absl::erase_if(taken_, [&](const auto& entry) {
      return entry.second.has_value() && *entry.second <= round.now;
    });
    round.most = waiting_.size() + taken_.size() + 1;
  }
  if (const absl::Status read = ReadDueWork(&round); !read.ok()) {
    std::list<CallPtr> failed;
    {
      MutexLock lock(mutex_);
      failed.swap(waiting_);
      CountWaiting();
    }
    for (const CallPtr& call : failed) call->End(WithOutcome(read, Outcome::kNotIn));
    return;
  }
  Assign(&round);
  for (const CallPtr& call : round.expired) call->End(absl::OkStatus());
  for (const auto& [call, work] : round.proposals) Propose(call, work);
}

absl::Status ClaimDesk::ReadDueWork(Round* round) {
  const Snapshot snapshot(core_.shard->store());
  const int64_t now_us = core_.shard->Now();
  for (const DueKind kind : {DueKind::kCompaction, DueKind::kMerge}) {
    SLUICE_ASSIGN_OR_RETURN(const auto rows, ReadDue(snapshot, kind, INT64_MAX, round->most));
    for (const DueKey& row : rows) {
      if (row.due_us <= now_us) {
        round->due.push_back(row);
        continue;
      }
      const auto when = round->now + std::chrono::microseconds(row.due_us - now_us);
      round->next = round->next ? std::min(*round->next, when) : when;
      break;
    }
  }
  std::sort(round->due.begin(), round->due.end(),
            [](const DueKey& a, const DueKey& b) { return a.due_us < b.due_us; });
  return absl::OkStatus();
}

void ClaimDesk::Assign(Round* round) {
  MutexLock lock(mutex_);
  for (const DueKey& due : round->due) {
    const Work work(due.kind, due.collection);
    if (taken_.contains(work)) continue;
    const auto it = std::find_if(waiting_.begin(), waiting_.end(),
                                 [&](const CallPtr& call) { return call->Wants(due.kind); });
    if (it == waiting_.end()) continue;
    taken_.emplace(work, std::nullopt);
    round->proposals.emplace_back(*it, work);
    waiting_.erase(it);
  }
  std::optional<Clock::time_point> wake = round->next;
  const auto at_latest = [&](Clock::time_point when) {
    wake = wake ? std::min(*wake, when) : when;
  };
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if ((*it)->deadline() <= round->now) {
      round->expired.push_back(*it);
      it = waiting_.erase(it);
    } else {
      at_latest((*it)->deadline());
      ++it;
    }
  }
  for (const auto& [work, rests_until] : taken_) {
    if (rests_until) at_latest(*rests_until);
  }
  CountWaiting();
  if (!waiting_.empty() && wake) DispatchAt(*wake);
}

void ClaimDesk::Propose(const CallPtr& call, const Work& work) {
  pb::Command command;
  pb::Claim& claim = *command.mutable_claim();
  claim.set_collection_id(std::string(work.second.view()));
  claim.set_kind(LeaseKindOf(work.first));
  claim.set_worker(call->request().worker());
  claim.set_lease_ms(call->request().lease_ms() ? call->request().lease_ms() : kDefaultLeaseMs);
  core_.shard->Propose(Command(command),
                       [this, call, work](const Result& result) { OnAnswer(call, work, result); });
}

void ClaimDesk::OnAnswer(const CallPtr& call, const Work& work, const Result& result) {
  const std::optional<Reason> reason = ReasonOf(result.status());
  const bool gone = reason == Reason::COLLECTION_DELETED || reason == Reason::COLLECTION_NOT_FOUND;
  const bool granted = result.ok() && std::get<ClaimAnswer>(*result).granted;
  const bool again = gone || (result.ok() && !granted);
  bool draining = false;
  {
    MutexLock lock(mutex_);
    if (again) {
      taken_[work] = Clock::now() + kRest;
      draining = draining_;
      if (!draining && !call->cancelled()) {
        waiting_.push_front(call);
        CountWaiting();
        ScheduleDispatch();
        return;
      }
    } else {
      taken_.erase(work);
      if (!waiting_.empty()) ScheduleDispatch();
    }
  }
  if (granted) {
    const ClaimAnswer answer = std::get<ClaimAnswer>(*result);
    if (!core_.reads.Run([this, call, work, answer] { Grant(call, work, answer); })) {
      call->End(Draining());
    }
    return;
  }
  if (draining) return call->End(Draining());
  if (again) return call->End(absl::CancelledError("cancelled by the caller"));
  call->End(result.status());
}

void ClaimDesk::Grant(const CallPtr& call, const Work& work, const ClaimAnswer& answer) {
  v1::Lease lease;
  lease.set_collection_id(work.second.ToString());
  lease.set_kind(LeaseKindOf(work.first));
  lease.set_token(answer.token.value);
  lease.set_incarnation(answer.incarnation.value);
  if (call->cancelled()) {
    GiveBack(lease);
    return call->End(absl::CancelledError("cancelled by the caller"));
  }
  core_.metrics.Claimed(work.first == DueKind::kMerge ? "merge" : "compaction");

  const Snapshot snapshot(core_.shard->store());
  const absl::StatusOr<pb::LogState> log = ReadLog(snapshot, work.second);
  const auto segments = ReadSegments(snapshot, work.second);
  if (!log.ok() || !segments.ok()) {
    GiveBack(lease);
    return call->End(log.ok() ? segments.status() : log.status());
  }
  v1::ClaimResponse& response = call->response();
  *response.mutable_lease() = std::move(lease);
  *response.mutable_schema() = log->schema();
  response.set_dimension(log->dimension());
  response.set_id_hash_key(log->id_hash_key());
  response.set_applied_seq_id(log->applied());
  response.set_tail_seq_id(log->tail());
  response.set_live_count(log->live_count());
  response.set_segments_version(log->segments_version());
  response.mutable_segments()->Assign(segments->begin(), segments->end());
  response.set_erase_dead_before_us(EraseDeadBefore(*log, core_.shard->Now()));
  response.set_keep_nothing(log->settings().erase_within_ms() != 0);
  response.set_missing_vectors(log->missing_vectors());
  response.set_owed_vectors(log->owed_vectors());
  *response.mutable_embed_window() = log->embed_window();
  call->End(absl::OkStatus());
}

// Nobody has the lease: somebody else may have it at once. If that fails, it runs out.
void ClaimDesk::GiveBack(const v1::Lease& lease) {
  pb::Command command;
  pb::Release& release = *command.mutable_release();
  release.set_collection_id(
      std::string(Uuid::Parse(lease.collection_id()).value_or(Uuid()).view()));
  *release.mutable_request()->mutable_lease() = lease;
  release.mutable_request()->set_reason(v1::RELEASE_REASON_STOPPING);
  core_.shard->Propose(Command(command), [this](const Result&) { Poke(); });
}

void ClaimDesk::ScheduleDispatch() {
  if (dispatch_queued_) return;
  dispatch_queued_ = core_.reads.Run([this] { Dispatch(); });
}

void ClaimDesk::DispatchAt(Clock::time_point when) {
  if (timer_id_ && timer_id_->when <= when) return;
  if (timer_id_) core_.timer.Cancel(*timer_id_);
  timer_id_ = core_.timer.At(when, [this] {
    MutexLock lock(mutex_);
    timer_id_.reset();
    ScheduleDispatch();
  });
}

void ClaimDesk::CountWaiting() { waiting_count_.store(waiting_.size(), std::memory_order_relaxed); }

}  // namespace sluice::log

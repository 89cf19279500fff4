#include "services/log/claim_desk.h"

#include <algorithm>
#include <array>
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

// Pushes move logs all the time, and times come; the due index is read at most this often for that.
constexpr std::chrono::milliseconds kPokeInterval(10);
// What was refused looked due in the store: it is tried again after this, not at once.
constexpr std::chrono::milliseconds kRest(50);
// Of the due index, of each kind. What is behind that has its turn when it is among them.
constexpr size_t kMostDue = 4096;
constexpr std::array kKinds = {DueKind::kCompaction, DueKind::kMerge};

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
        deadline_(Clock::now() + std::chrono::milliseconds(request->wait_ms())),
        claimant_{.worker = HashOfName(request->worker()),
                  .wants_compactions = Wants(v1::LEASE_KIND_COMPACTION),
                  .wants_merges = Wants(v1::LEASE_KIND_MERGE)} {}

  void Begin() {
    alive_ = shared_from_this();
    desk_.Add(alive_);
  }
  void End(const absl::Status& status) { Finish(ToGrpc(status, context_)); }

  void OnCancel() override { desk_.Remove(shared_from_this()); }
  void OnDone() override { alive_.reset(); }

  const Claimant& claimant() const { return claimant_; }
  const v1::ClaimRequest& request() const { return *request_; }
  v1::ClaimResponse& response() const { return *response_; }
  Clock::time_point deadline() const { return deadline_; }
  bool cancelled() const { return context_->IsCancelled(); }

 private:
  bool Wants(v1::LeaseKind kind) const {
    const auto& kinds = request_->kinds();
    return kinds.empty() || std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
  }

  ClaimDesk& desk_;
  grpc::CallbackServerContext* const context_;
  const v1::ClaimRequest* const request_;
  v1::ClaimResponse* const response_;
  const Clock::time_point deadline_;
  const Claimant claimant_;
  CallPtr alive_;
};

grpc::ServerUnaryReactor* ClaimDesk::Serve(grpc::CallbackServerContext* context,
                                           const v1::ClaimRequest* request,
                                           v1::ClaimResponse* response) {
  const auto call = std::make_shared<Call>(*this, context, request, response);
  call->Begin();
  return call.get();
}

void ClaimDesk::Poke() {
  if (waiting() == 0 || poked_.exchange(true)) return;
  core_.timer.At(last_dispatch_.load() + kPokeInterval, [this] {
    poked_.exchange(false);
    MutexLock lock(mutex_);
    if (!dispatch_queued_) DispatchAt(Clock::now());
  });
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
  const Round round{Clock::now(), core_.shard->Now()};
  std::vector<DueKind> kinds;
  {
    MutexLock lock(mutex_);
    dispatch_queued_ = false;
    last_dispatch_ = round.now;
    if (waiting_.empty()) return;
    absl::erase_if(taken_, [&](const auto& entry) {
      return entry.second.has_value() && *entry.second <= round.now;
    });
    for (const DueKind kind : kKinds) {
      if (IsWanted(kind) && !LookAt(kind).Serves(round.now, order_.HasDue(kind))) {
        kinds.push_back(kind);
      }
    }
  }
  std::vector<Found> all;
  for (const DueKind kind : kinds) {
    absl::StatusOr<Found> found = ReadDueWork(kind);
    if (!found.ok()) return FailAll(found.status());
    all.push_back(*std::move(found));
  }

  std::vector<Proposal> proposals;
  std::vector<CallPtr> expired;
  {
    MutexLock lock(mutex_);
    for (const Found& found : all) TakeOver(found);
    proposals = Assign(round);
    expired = TakeExpired(round);
    CountWaiting();
    if (!waiting_.empty()) WakeAgain(round);
  }
  for (const CallPtr& call : expired) call->End(absl::OkStatus());
  for (const Proposal& proposal : proposals) Propose(proposal);
}

void ClaimDesk::FailAll(const absl::Status& status) {
  std::list<CallPtr> failed;
  {
    MutexLock lock(mutex_);
    failed.swap(waiting_);
    CountWaiting();
  }
  for (const CallPtr& call : failed) call->End(WithOutcome(status, Outcome::kNotIn));
}

bool ClaimDesk::IsWanted(DueKind kind) const {
  return std::any_of(waiting_.begin(), waiting_.end(),
                     [&](const CallPtr& call) { return call->claimant().Wants(kind); });
}

absl::StatusOr<ClaimDesk::Found> ClaimDesk::ReadDueWork(DueKind kind) {
  const Snapshot snapshot(core_.shard->store());
  const Clock::time_point now = Clock::now();
  const int64_t now_us = core_.shard->Now();
  SLUICE_ASSIGN_OR_RETURN(const auto rows, ReadDue(snapshot, kind, now_us, kMostDue));
  SLUICE_ASSIGN_OR_RETURN(const auto next_us, NextDue(snapshot, kind, now_us));
  std::optional<Clock::time_point> next;
  if (next_us) next = now + std::chrono::microseconds(*next_us - now_us);
  Found found{kind, {}, DueLook::At(now, rows.size(), next)};
  for (const DueKey& row : rows) found.due.push_back({kind, row.collection, row.due_us});
  FindTenants(snapshot, &found.due);
  return found;
}

void ClaimDesk::FindTenants(const Snapshot& snapshot, std::vector<DueWork>* due) {
  std::vector<DueWork*> unknown;
  {
    MutexLock lock(tenants_mutex_);
    for (DueWork& work : *due) {
      if (const TenantHash* const known = tenants_.Find(work.collection)) {
        work.tenant = *known;
      } else {
        unknown.push_back(&work);
      }
    }
  }
  // One whose row cannot be read has, for now, the turns of no tenant; what needs the row says so.
  for (DueWork* const work : unknown) {
    const absl::StatusOr<v1::Collection> collection = ReadCollection(snapshot, work->collection);
    if (!collection.ok()) continue;
    work->tenant = HashOfName(collection->tenant());
    MutexLock lock(tenants_mutex_);
    tenants_.Put(work->collection, work->tenant);
  }
}

void ClaimDesk::TakeOver(const Found& found) {
  std::vector<DueWork> due;
  for (const DueWork& work : found.due) {
    if (!taken_.contains(Work(work.kind, work.collection))) due.push_back(work);
  }
  order_.SetDue(found.kind, std::move(due));
  LookAt(found.kind) = found.look;
}

std::vector<ClaimDesk::Proposal> ClaimDesk::Assign(const Round& round) {
  for (const CallPtr& call : waiting_) order_.Saw(call->claimant(), round.now_us);
  std::vector<Proposal> proposals;
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    const auto choice = order_.Choose((*it)->claimant(), round.now_us);
    if (!choice) {
      ++it;
      continue;
    }
    const Work work(choice->work.kind, choice->work.collection);
    taken_.emplace(work, std::nullopt);
    proposals.push_back({*it, work, choice->warm});
    it = waiting_.erase(it);
  }
  return proposals;
}

std::vector<ClaimDesk::CallPtr> ClaimDesk::TakeExpired(const Round& round) {
  std::vector<CallPtr> expired;
  waiting_.remove_if([&](const CallPtr& call) {
    if (call->deadline() > round.now) return false;
    expired.push_back(call);
    return true;
  });
  return expired;
}

void ClaimDesk::WakeAgain(const Round& round) {
  std::optional<Clock::time_point> wake;
  const auto at_latest = [&](Clock::time_point when) {
    wake = wake ? std::min(*wake, when) : when;
  };
  for (const DueKind kind : kKinds) {
    if (!IsWanted(kind)) continue;
    if (const auto again = LookAt(kind).Again(round.now, order_.HasDue(kind))) at_latest(*again);
    if (const auto then_us = order_.NextNotLeft(kind, round.now_us)) {
      at_latest(round.now + std::chrono::microseconds(*then_us - round.now_us));
    }
  }
  for (const CallPtr& call : waiting_) at_latest(call->deadline());
  for (const auto& [work, rests_until] : taken_) {
    if (rests_until) at_latest(*rests_until);
  }
  if (wake) DispatchAt(*wake);
}

void ClaimDesk::Propose(const Proposal& proposal) {
  const auto& [kind, collection] = proposal.work;
  const v1::ClaimRequest& request = proposal.call->request();
  pb::Command command;
  pb::Claim& claim = *command.mutable_claim();
  claim.set_collection_id(std::string(collection.view()));
  claim.set_kind(LeaseKindOf(kind));
  claim.set_worker(request.worker());
  claim.set_lease_ms(request.lease_ms() ? request.lease_ms() : kDefaultLeaseMs);
  core_.shard->Propose(Command(command),
                       [this, proposal](const Result& result) { OnAnswer(proposal, result); });
}

void ClaimDesk::OnAnswer(const Proposal& proposal, const Result& result) {
  const auto& [call, work, warm] = proposal;
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
      if (granted) order_.Granted(work.first, work.second, call->claimant().worker);
      taken_.erase(work);
      if (!waiting_.empty()) ScheduleDispatch();
    }
  }
  if (granted) {
    const ClaimAnswer answer = std::get<ClaimAnswer>(*result);
    if (!core_.reads.Run([this, proposal, answer] { Grant(proposal, answer); })) {
      call->End(Draining());
    }
    return;
  }
  if (draining) return call->End(Draining());
  if (again) return call->End(absl::CancelledError("cancelled by the caller"));
  call->End(result.status());
}

void ClaimDesk::Grant(const Proposal& proposal, const ClaimAnswer& answer) {
  const auto& [call, work, warm] = proposal;
  v1::Lease lease;
  lease.set_collection_id(work.second.ToString());
  lease.set_kind(LeaseKindOf(work.first));
  lease.set_token(answer.token.value);
  lease.set_incarnation(answer.incarnation.value);
  if (call->cancelled()) {
    GiveBack(lease);
    return call->End(absl::CancelledError("cancelled by the caller"));
  }
  core_.metrics.Claimed(work.first == DueKind::kMerge ? "merge" : "compaction", warm);

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

// Not sooner than kPokeInterval after the last one.
void ClaimDesk::DispatchAt(Clock::time_point when) {
  when = std::max(when, last_dispatch_.load() + kPokeInterval);
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

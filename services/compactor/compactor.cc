#include "services/compactor/compactor.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "common/server/cgroup.h"
#include "common/server/logging.h"
#include "services/compactor/compaction_job.h"
#include "services/compactor/failure.h"
#include "services/compactor/garbage.h"
#include "services/compactor/merge_job.h"

namespace sluice::compactor {
namespace {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

// Of a call with its retries: a commit whose answer is not known by then is left to the next claim.
constexpr milliseconds kCallDeadline = 10s;
// Of a claim, besides the time it waits for work: a loop that gets no answer asks again, after a
// pause.
constexpr milliseconds kClaimDeadline = 3s;
constexpr milliseconds kFirstBackoff = 250ms;
constexpr milliseconds kMostBackoff = 10s;
// A collection that cannot be compacted is tried again, but not so often that others suffer.
constexpr milliseconds kCollectionRetry = 60s;
// With embedders elsewhere: so many small collections must hand over texts to fill a model's
// batches and to have the next ones ready.
constexpr uint64_t kWorkersThatWait = 24;
// No single step of a loop takes this long.
constexpr auto kStuck = 15min;

client::Options Deadlines(milliseconds attempt, milliseconds total) {
  client::Options options;
  options.attempt_deadline = attempt;
  options.total_deadline = total;
  return options;
}

milliseconds Backoff(int failures) {
  return std::min(kMostBackoff, kFirstBackoff * (1 << std::min(failures, 10)));
}

// False: the process is stopping.
bool Pause(milliseconds pause, const std::stop_token& stop) {
  Mutex mutex;
  CondVar wake;
  MutexLock lock(mutex);
  wake.wait_for(mutex, stop, pause, [] { return false; });
  return !stop.stop_requested();
}

// For people who read leases: host and process.
std::string WorkerName() {
  std::array<char, 100> host{};
  gethostname(host.data(), host.size() - 1);
  return absl::StrCat(host.data(), "/", getpid());
}

}  // namespace

Compactor::Running::Running(const CompactorSettings& settings,
                            const std::shared_ptr<grpc::Channel>& channel,
                            std::unique_ptr<ObjectStore> store, EmbedSchedulers embed_schedulers,
                            std::unique_ptr<VectorCache> vector_cache, Metrics& metrics,
                            Faults& faults)
    : objects(std::move(store)),
      embedders(std::move(embed_schedulers)),
      vectors(std::move(vector_cache)),
      cache(*objects, settings.cache_bytes),
      log(channel, Deadlines(kCallDeadline / 2, kCallDeadline)),
      claims(channel, Deadlines(kClaimDeadline, kClaimDeadline)),
      compaction(channel, Deadlines(kCallDeadline / 2, kCallDeadline)),
      workplace{compaction, log,      *objects,  cache,        metrics,
                faults,     settings, embedders, vectors.get()} {}

Compactor::Compactor(const CompactorSettings& settings, prometheus::Registry& registry)
    : settings_(settings), registry_(registry), metrics_(registry), worker_(WorkerName()) {}

Compactor::~Compactor() { BeginDrain(); }

void Compactor::Register(grpc::ServerBuilder&) {}

absl::Status Compactor::Start(const std::shared_ptr<grpc::Channel>& self) {
  if (absl::Status armed = faults_.Arm(settings_.fault); !armed.ok()) return armed;
  absl::StatusOr<std::unique_ptr<ObjectStore>> objects =
      OpenObjectStore(settings_.objects, settings_.store, "compactor");
  if (!objects.ok()) return std::move(objects).status();
  absl::StatusOr<EmbedSchedulers> embedders = MakeEmbedders();
  if (!embedders.ok()) return std::move(embedders).status();
  const auto channel =
      settings_.log_address.empty() ? self : client::Connect(settings_.log_address);
  running_.emplace(settings_, channel, *std::move(objects), *std::move(embedders),
                   OpenVectorCache(), metrics_, faults_);

  const uint64_t workers = settings_.workers != 0 ? settings_.workers : DefaultWorkers();
  for (uint64_t i = 0; i < workers; ++i) StartLoop("compaction", &Compactor::CompactionLoop);
  for (uint64_t i = 0; i < settings_.merge_workers; ++i) StartLoop("merge", &Compactor::MergeLoop);
  StartLoop("garbage", &Compactor::GarbageLoop);
  return absl::OkStatus();
}

uint64_t Compactor::DefaultWorkers() const {
  const uint64_t cpus = server::ProcessAllowance().cpus;
  return settings_.embedders.empty() ? cpus : std::max(cpus, kWorkersThatWait);
}

absl::StatusOr<EmbedSchedulers> Compactor::MakeEmbedders() {
  EmbedSchedulers schedulers;
  for (const auto& [name, of_one] : settings_.embedders) {
    if (name == embed::kHashing) {
      return absl::InvalidArgumentError("compactor.embedders.hashing: hashing is built in");
    }
    absl::StatusOr<std::unique_ptr<embed::Embedder>> embedder = embed::Embedder::Create(of_one);
    if (!embedder.ok()) {
      return Annotate(embedder.status(), absl::StrCat("compactor.embedders.", name));
    }
    schedulers[name] = std::make_unique<EmbedScheduler>(
        name, *std::move(embedder), milliseconds(settings_.embed_patience_ms), registry_);
  }
  return schedulers;
}

std::unique_ptr<VectorCache> Compactor::OpenVectorCache() const {
  if (settings_.embedders.empty() || settings_.vector_cache_bytes == 0) return nullptr;
  absl::StatusOr<std::unique_ptr<VectorCache>> cache =
      VectorCache::Open(settings_.vector_cache, settings_.vector_cache_bytes);
  if (cache.ok()) return *std::move(cache);
  server::Log(server::Level::kWarn, "vectors are not kept for reuse", {{"error", cache.status()}});
  return nullptr;
}

absl::Status Compactor::Ready() const {
  const MutexLock lock(mutex_);
  if (claimed_.ok()) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("the log does not grant claims: ", claimed_.message()));
}

absl::Status Compactor::Alive() const {
  for (const auto& loop : loops_) {
    if (loop->pulse.age() > kStuck)
      return absl::InternalError(
          absl::StrCat("a ", loop->name, " loop has not turned for 15 minutes"));
  }
  return absl::OkStatus();
}

void Compactor::BeginDrain() { stop_.request_stop(); }

void Compactor::FinishDrain(std::chrono::steady_clock::time_point deadline) {
  MutexLock lock(mutex_);
  while (loops_running_ != 0 && ended_.wait_until(mutex_, deadline) == std::cv_status::no_timeout) {
  }
}

void Compactor::StartLoop(std::string name,
                          void (Compactor::*body)(Pulse&, const std::stop_token&)) {
  {
    const MutexLock lock(mutex_);
    ++loops_running_;
  }
  auto& loop = *loops_.emplace_back(std::make_unique<Loop>());
  loop.name = std::move(name);
  loop.thread = std::jthread([this, &loop, body] {
    (this->*body)(loop.pulse, stop_.get_token());
    const MutexLock lock(mutex_);
    --loops_running_;
    ended_.notify_all();
  });
}

void Compactor::CompactionLoop(Pulse& pulse, const std::stop_token& stop) {
  ClaimLoop(v1::LEASE_KIND_COMPACTION, &RunCompaction, metrics_.compactions, pulse, stop);
}

void Compactor::MergeLoop(Pulse& pulse, const std::stop_token& stop) {
  ClaimLoop(v1::LEASE_KIND_MERGE, &RunMerge, metrics_.merges, pulse, stop);
}

void Compactor::ClaimLoop(v1::LeaseKind kind, RunJob run, JobMetrics& metrics, Pulse& pulse,
                          const std::stop_token& stop) {
  v1::ClaimRequest request;
  request.set_worker(worker_);
  request.add_kinds(kind);
  request.set_lease_ms(static_cast<uint32_t>(settings_.lease_ms));
  // The first claim does not wait: it tells whether the log is there.
  request.set_wait_ms(0);
  int claims_failed = 0;
  int jobs_failed = 0;
  milliseconds pause{0};
  while (Pause(pause, stop)) {
    pulse.Beat();
    const absl::StatusOr<v1::ClaimResponse> claim = running_->claims.Claim(request);
    NoteClaim(claim.status());
    request.set_wait_ms(static_cast<uint32_t>(settings_.claim_wait_ms));
    if (!claim.ok()) {
      metrics_.claim_failures.Increment();
      pause = Backoff(claims_failed++);
      continue;
    }
    claims_failed = 0;
    pause = claim->has_lease() ? Work(*claim, run, metrics, pulse, stop, &jobs_failed) : 0ms;
  }
}

milliseconds Compactor::Work(const v1::ClaimResponse& claim, RunJob run, JobMetrics& metrics,
                             Pulse& pulse, const std::stop_token& stop, int* failures) {
  static server::RateLimitedLog log(1s);
  HeldLease lease(running_->compaction, claim.lease(), static_cast<uint32_t>(settings_.lease_ms));
  absl::Status done;
  if (!stop.stop_requested()) {
    metrics.leases.Increment();
    done = run({running_->workplace, claim, lease, pulse, stop});
    metrics.leases.Decrement();
  }
  if (done.ok() || (stop.stop_requested() && absl::IsCancelled(done))) {
    *failures = 0;
    Release(lease, stop.stop_requested() ? v1::RELEASE_REASON_STOPPING : v1::RELEASE_REASON_DONE,
            0ms, "");
    return 0ms;
  }

  const Failure failure = ClassOf(done);
  metrics.CommitsFailed(failure).Increment();
  log(failure == Failure::kLost ? server::Level::kInfo : server::Level::kWarn, "work dropped",
      {{"kind", v1::LeaseKind_Name(claim.lease().kind())},
       {"collection_id", claim.lease().collection_id()},
       {"token", claim.lease().token()},
       {"class", FailureName(failure)},
       {"error", done}});
  const std::string message = done.ToString(absl::StatusToStringMode::kWithNoExtraData);
  switch (failure) {
    case Failure::kLost:
      break;
    case Failure::kInfrastructure: {
      if (ReasonOf(done) == Reason::EMBEDDER_UNAVAILABLE) {
        // Collections of other embedders, or of none, go on.
        Release(lease, v1::RELEASE_REASON_INFRASTRUCTURE, RetryAfter(done).value_or(kMostBackoff),
                message);
        return 0ms;
      }
      const milliseconds backoff = Backoff((*failures)++);
      Release(lease, v1::RELEASE_REASON_INFRASTRUCTURE, backoff, message);
      return backoff;
    }
    case Failure::kCollection:
      Release(lease, v1::RELEASE_REASON_COLLECTION, kCollectionRetry, message);
      break;
  }
  return 0ms;
}

void Compactor::Release(HeldLease& lease, v1::ReleaseReason reason, milliseconds retry_after,
                        const std::string& message) {
  static server::RateLimitedLog log(1s);
  const absl::Status released = lease.Release(reason, retry_after, message);
  if (!released.ok()) {
    log(server::Level::kWarn, "lease not released: it will run out", {{"error", released}});
  }
  running_->workplace.faults.Reach(Stage::kReleased);
}

void Compactor::GarbageLoop(Pulse& pulse, const std::stop_token& stop) {
  static server::RateLimitedLog log(1min);
  while (Pause(milliseconds(settings_.garbage_interval_ms), stop)) {
    pulse.Beat();
    const absl::Status collected = CollectGarbage(running_->workplace, pulse, stop);
    if (!collected.ok()) log(server::Level::kWarn, "garbage not collected", {{"error", collected}});
  }
}

void Compactor::NoteClaim(const absl::Status& outcome) {
  const MutexLock lock(mutex_);
  claimed_ = outcome;
}

}  // namespace sluice::compactor

// The compactor as a component of a process: loops that claim compactions, claim merges, and delete
// garbage. It holds no state that matters: it can be killed at any moment, and any number of
// compactors may work on one log and one object store.
//
// Thread-safe once started. FinishDrain returns by its deadline; the destructor waits for what is
// then still running (a call to a log that does not answer gives up after ten seconds).
#pragma once

#include <grpcpp/channel.h>
#include <prometheus/registry.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "common/base/mutex.h"
#include "common/client/client.h"
#include "common/objects/object_store.h"
#include "common/server/server.h"
#include "services/compactor/job.h"
#include "services/compactor/settings.h"

namespace sluice::compactor {

class Compactor : public server::Component {
 public:
  // `settings` must outlive it, and is read at Start.
  Compactor(const CompactorSettings& settings, prometheus::Registry& registry);
  ~Compactor() override;

  // Nothing: it is a client only.
  void Register(grpc::ServerBuilder& builder) override;
  absl::Status Start(const std::shared_ptr<grpc::Channel>& self) override;
  // Not OK while the log does not answer claims.
  absl::Status Ready() const override;
  absl::Status Alive() const override;
  void BeginDrain() override;
  void FinishDrain(std::chrono::steady_clock::time_point deadline) override;

 private:
  struct Loop {
    std::string name;
    Pulse pulse;
    std::jthread thread;
  };
  // What exists from Start on.
  struct Running {
    Running(const CompactorSettings& settings, const std::shared_ptr<grpc::Channel>& channel,
            std::unique_ptr<ObjectStore> store, EmbedSchedulers embed_schedulers,
            std::unique_ptr<VectorCache> vector_cache, Metrics& metrics, Faults& faults);

    const std::unique_ptr<ObjectStore> objects;
    const EmbedSchedulers embedders;
    const std::unique_ptr<VectorCache> vectors;
    SegmentCache cache;
    client::Log log;
    // Claims wait at the log; everything else gives up early, so that a stop is never held up for
    // long.
    client::Compaction claims;
    client::Compaction compaction;
    Workplace workplace;
  };
  using RunJob = absl::Status (*)(const Job&);

  uint64_t DefaultWorkers() const;
  void StartLoop(std::string name, void (Compactor::*body)(Pulse&, const std::stop_token&));
  void CompactionLoop(Pulse& pulse, const std::stop_token& stop);
  void MergeLoop(Pulse& pulse, const std::stop_token& stop);
  void GarbageLoop(Pulse& pulse, const std::stop_token& stop);
  void ClaimLoop(v1::LeaseKind kind, RunJob run, JobMetrics& metrics, Pulse& pulse,
                 const std::stop_token& stop);
  // Runs one claimed job and releases its lease. Returns how long to pause before the next claim.
  std::chrono::milliseconds Work(const v1::ClaimResponse& claim, RunJob run, JobMetrics& metrics,
                                 Pulse& pulse, const std::stop_token& stop, int* failures);
  void Release(HeldLease& lease, v1::ReleaseReason reason, std::chrono::milliseconds retry_after,
               const std::string& message);
  void NoteClaim(const absl::Status& outcome);

  // INVALID_ARGUMENT, naming the embedder.
  absl::StatusOr<EmbedSchedulers> MakeEmbedders();
  // nullptr: there is none, or it cannot be used.
  std::unique_ptr<VectorCache> OpenVectorCache() const;

  const CompactorSettings& settings_;
  prometheus::Registry& registry_;
  Metrics metrics_;
  Faults faults_;
  const std::string worker_;
  std::optional<Running> running_;

  std::stop_source stop_;
  mutable Mutex mutex_;
  CondVar ended_;
  size_t loops_running_ GUARDED_BY(mutex_) = 0;
  // Of the last claim.
  absl::Status claimed_ GUARDED_BY(mutex_) = absl::UnavailableError("it has not answered yet");
  std::vector<std::unique_ptr<Loop>> loops_;
};

}  // namespace sluice::compactor

// What the gRPC services of a log share: the shard and, around it, the pools, the timer, the
// watchers. Built when the log node starts, after the server listens; calls that come before, or
// once it drains, are told so.
//
// Thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <stop_token>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/timer.h"
#include "services/log/backup_desk.h"
#include "services/log/claim_desk.h"
#include "services/log/metrics.h"
#include "services/log/settings.h"
#include "services/log/shard.h"
#include "services/log/streams.h"
#include "services/log/watchers.h"
#include "services/log/worker_pool.h"

namespace sluice::log {

struct ServiceCore {
  ServiceCore(const LogSettings& settings, LogMetrics& metrics_of_log);
  ~ServiceCore();

  // Finishes what was accepted, and closes the shard; what comes later is refused. Sequences of
  // commands have until `deadline` to end by themselves.
  void Stop(std::chrono::steady_clock::time_point deadline);

  LogMetrics& metrics;
  // Reads of the store.
  WorkerPool reads;
  // Sequences of commands: they wait for the journal, which reads must not.
  WorkerPool commands;
  // Backups, and what is asked of them; verifications, one at a time. They take minutes, or hours,
  // and are told to stop with the node.
  WorkerPool backups;
  WorkerPool verifications;
  std::atomic<bool> verifying = false;
  std::stop_source long_work_stop;
  Watchers watchers;
  Streams streams;
  ClaimDesk claims;
  // After those whom it calls: it is the first to go.
  Timer timer;
  // How long a view may hold its snapshot.
  const std::chrono::seconds view_time;
  // Set before any call comes in.
  std::unique_ptr<Shard> shard;
  std::unique_ptr<BackupDesk> backup_desk;
};

// The services' way to the core.
class CoreGate {
 public:
  // `core` must stay until the gRPC server has stopped.
  void Open(ServiceCore* core) { core_.store(core, std::memory_order_release); }
  // From now on only what reads is let through.
  void BeginDrain() { draining_.store(true, std::memory_order_release); }

  bool draining() const { return draining_.load(std::memory_order_acquire); }
  // STARTING.
  absl::StatusOr<ServiceCore*> ForReading() const;
  // STARTING, DRAINING; the outcome is NOT_IN.
  absl::StatusOr<ServiceCore*> ForWriting() const;

 private:
  std::atomic<ServiceCore*> core_ = nullptr;
  std::atomic<bool> draining_ = false;
};

}  // namespace sluice::log

#include "services/log/service_core.h"

#include "common/errors/errors.h"

namespace sluice::log {
namespace {

// Creating, updating and deleting collections is rare; each waits for the journal two or three
// times.
constexpr size_t kCommandThreads = 4;
constexpr size_t kMaxWaitingCommands = 1000;
// One at work on the folder of backups, and one to tell the others that it is.
constexpr size_t kBackupThreads = 2;
constexpr size_t kMaxWaitingBackups = 10;

}  // namespace

ServiceCore::ServiceCore(const LogSettings& settings, LogMetrics& metrics_of_log)
    : metrics(metrics_of_log),
      reads(settings.read_threads, settings.read_max_waiting),
      commands(kCommandThreads, kMaxWaitingCommands),
      backups(kBackupThreads, kMaxWaitingBackups),
      verifications(/*threads=*/1, /*max_waiting=*/1),
      watchers(reads),
      streams(settings.max_streams, settings.max_held_bytes),
      claims(*this, settings.max_waiting_claims),
      view_time(settings.view_seconds) {}

ServiceCore::~ServiceCore() { Stop(std::chrono::steady_clock::now()); }

// Sequences of commands need the shard to end as they should; but a shard that cannot write gives
// some of their answers only when it stops. The shard's last answers need threads that read.
void ServiceCore::Stop(std::chrono::steady_clock::time_point deadline) {
  long_work_stop.request_stop();
  commands.AwaitIdle(deadline);
  backups.AwaitIdle(deadline);
  verifications.AwaitIdle(deadline);
  if (shard) shard->Stop();
  commands.Stop();
  backups.Stop();
  verifications.Stop();
  reads.Stop();
}

absl::StatusOr<ServiceCore*> CoreGate::ForReading() const {
  ServiceCore* const core = core_.load(std::memory_order_acquire);
  if (!core) return MakeError(Reason::STARTING, "the log is starting");
  return core;
}

absl::StatusOr<ServiceCore*> CoreGate::ForWriting() const {
  if (draining()) {
    return WithOutcome(MakeError(Reason::DRAINING, "the log is stopping"), Outcome::kNotIn);
  }
  absl::StatusOr<ServiceCore*> core = ForReading();
  if (!core.ok()) return WithOutcome(core.status(), Outcome::kNotIn);
  return core;
}

}  // namespace sluice::log

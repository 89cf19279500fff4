#include "services/log/admin_service.h"

#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

#include "common/base/mutex.h"
#include "common/errors/errors.h"
#include "common/server/logging.h"
#include "services/log/request_checks.h"
#include "services/log/unary.h"

namespace sluice::log {
namespace {

void Fill(const ClockReading& reading, v1::ClockReading* response) {
  response->set_wall_time_us(reading.wall_us);
  response->set_clock_time_us(reading.clock_us);
  response->set_log_time_us(reading.time_us);
}

// The stream of one backup: a thread of the pool reports, and ends it once. Kept by that thread,
// and by itself until gRPC is done with it.
class BackupStream final : public grpc::ServerWriteReactor<v1::CreateBackupProgress>,
                           public std::enable_shared_from_this<BackupStream> {
 public:
  BackupStream(grpc::CallbackServerContext* context, std::stop_token node_stops)
      : context_(context), with_node_(std::move(node_stops), Stop{&stop_}) {}

  // Once, before the method's handler returns.
  void Begin() { alive_ = shared_from_this(); }
  std::stop_token stop() const { return stop_.get_token(); }

  // What is not on its way yet when the next report comes is left out.
  void Report(const v1::CreateBackupProgress& progress) {
    const MutexLock lock(mutex_);
    next_ = progress;
    Proceed();
  }
  // The last call.
  void End(const absl::Status& status) {
    const MutexLock lock(mutex_);
    end_ = status;
    Proceed();
  }

  void OnWriteDone(bool) override {
    const MutexLock lock(mutex_);
    writing_ = false;
    Proceed();
  }
  void OnCancel() override { stop_.request_stop(); }
  void OnDone() override { const std::shared_ptr<BackupStream> last = std::move(alive_); }

 private:
  struct Stop {
    std::stop_source* source;
    void operator()() const { source->request_stop(); }
  };

  void Proceed() REQUIRES(mutex_) {
    if (writing_) return;
    if (next_ && !context_->IsCancelled()) {
      message_ = *std::exchange(next_, std::nullopt);
      writing_ = true;
      StartWrite(&message_);
    } else if (end_) {
      Finish(ToGrpc(*std::exchange(end_, std::nullopt), context_));
    }
  }

  grpc::CallbackServerContext* const context_;
  std::stop_source stop_;
  const std::stop_callback<Stop> with_node_;
  std::shared_ptr<BackupStream> alive_;

  Mutex mutex_;
  bool writing_ GUARDED_BY(mutex_) = false;
  std::optional<v1::CreateBackupProgress> next_ GUARDED_BY(mutex_);
  std::optional<absl::Status> end_ GUARDED_BY(mutex_);
  // What is on its way.
  v1::CreateBackupProgress message_;
};

// Says of a refusal that nothing was done.
absl::Status Outcomed(const absl::Status& status) {
  const std::optional<Reason> reason = ReasonOf(status);
  const bool refused = reason == Reason::BACKUPS_OFF || reason == Reason::BACKUP_BUSY ||
                       reason == Reason::BACKUP_NOT_FOUND || reason == Reason::TOO_MANY_BACKUPS;
  return refused ? WithOutcome(status, Outcome::kNotIn) : status;
}

}  // namespace

grpc::ServerUnaryReactor* AdminService::ReadClock(grpc::CallbackServerContext* context,
                                                  const v1::ReadClockRequest*,
                                                  v1::ClockReading* response) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForReading();
  if (core.ok()) Fill((*core)->shard->ReadClock(), response);
  return FinishWith(context, core.status());
}

grpc::ServerUnaryReactor* AdminService::CorrectClock(grpc::CallbackServerContext* context,
                                                     const v1::CorrectClockRequest*,
                                                     v1::ClockReading* response) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForWriting();
  if (!core.ok()) return Refuse(context, core.status());
  const ClockReading before = (*core)->shard->ReadClock();
  const ClockReading after = (*core)->shard->CorrectClock();
  server::Log(server::Level::kInfo, "the clock was corrected",
              {{"by_us", after.clock_us - before.clock_us}});
  Fill(after, response);
  return FinishWith(context, absl::OkStatus());
}

grpc::ServerWriteReactor<v1::CreateBackupProgress>* AdminService::CreateBackup(
    grpc::CallbackServerContext* context, const v1::CreateBackupRequest*) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForWriting();
  const auto stream = std::make_shared<BackupStream>(
      context, core.ok() ? (*core)->backups_stop.get_token() : std::stop_token());
  stream->Begin();
  if (!core.ok()) {
    stream->End(core.status());
    return stream.get();
  }
  const absl::Status accepted = (*core)->backups.TryRun([core = *core, stream] {
    const absl::StatusOr<v1::BackupInfo> made = core->backup_desk->Create(
        stream->stop(),
        [&](const v1::CreateBackupProgress& progress) { stream->Report(progress); });
    if (made.ok()) {
      v1::CreateBackupProgress last;
      last.set_copied_bytes(made->bytes());
      last.set_total_bytes(made->bytes());
      last.set_verified_bytes(made->bytes());
      *last.mutable_backup() = *made;
      stream->Report(last);
    }
    core->metrics.BackedUp(made.status());
    stream->End(Outcomed(made.status()));
  });
  if (!accepted.ok()) stream->End(WithOutcome(accepted, Outcome::kNotIn));
  return stream.get();
}

grpc::ServerUnaryReactor* AdminService::ListBackups(grpc::CallbackServerContext* context,
                                                    const v1::ListBackupsRequest*,
                                                    v1::ListBackupsResponse* response) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForReading();
  if (!core.ok()) return FinishWith(context, core.status());
  return OnPool((*core)->backups, context,
                [&desk = *(*core)->backup_desk, response]() -> absl::Status {
                  SLUICE_ASSIGN_OR_RETURN(const auto backups, desk.List());
                  response->mutable_backups()->Assign(backups.begin(), backups.end());
                  return absl::OkStatus();
                });
}

grpc::ServerUnaryReactor* AdminService::VerifyBackup(grpc::CallbackServerContext* context,
                                                     const v1::VerifyBackupRequest* request,
                                                     v1::VerifyBackupResponse* response) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForReading();
  if (!core.ok()) return FinishWith(context, core.status());
  if (request->backup_id() == 0) return FinishWith(context, InvalidField("backup_id", "missing"));
  return OnPool((*core)->backups, context,
                [core = *core, id = request->backup_id(), response]() -> absl::Status {
                  SLUICE_ASSIGN_OR_RETURN(
                      *response, core->backup_desk->Verify(core->backups_stop.get_token(), id));
                  return absl::OkStatus();
                });
}

grpc::ServerUnaryReactor* AdminService::DeleteBackup(grpc::CallbackServerContext* context,
                                                     const v1::DeleteBackupRequest* request,
                                                     v1::DeleteBackupResponse*) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForWriting();
  if (!core.ok()) return Refuse(context, core.status());
  if ((request->backup_id() == 0) == (request->pin() == 0)) {
    return Refuse(context, InvalidField("backup_id", "not exactly one of backup_id and pin"));
  }
  return OnPool((*core)->backups, context,
                [&desk = *(*core)->backup_desk, id = request->backup_id(), pin = request->pin()] {
                  return Outcomed(id != 0 ? desk.Delete(id) : desk.DeletePin(pin));
                });
}

}  // namespace sluice::log

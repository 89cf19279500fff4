#include "services/log/admin_service.h"

#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

#include "common/errors/errors.h"
#include "common/server/logging.h"
#include "services/log/progress_stream.h"
#include "services/log/request_checks.h"
#include "services/log/unary.h"
#include "services/log/verify.h"

namespace sluice::log {
namespace {

void Fill(const ClockReading& reading, v1::ClockReading* response) {
  response->set_wall_time_us(reading.wall_us);
  response->set_clock_time_us(reading.clock_us);
  response->set_log_time_us(reading.time_us);
}

// For whoever reads logs, and not the answer.
void LogFinding(const v1::VerifyFinding& finding) {
  server::Log(server::Level::kError, "a verification found damage",
              {{"severity", v1::VerifySeverity_Name(finding.severity())},
               {"file", finding.file()},
               {"collection_id", finding.collection_id()},
               {"first_seq_id", finding.first_seq_id()},
               {"last_seq_id", finding.last_seq_id()},
               {"what", finding.what()}});
}

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
  const auto stream = std::make_shared<ProgressStream<v1::CreateBackupProgress>>(
      context, core.ok() ? (*core)->long_work_stop.get_token() : std::stop_token());
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
                      *response, core->backup_desk->Verify(core->long_work_stop.get_token(), id));
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

grpc::ServerWriteReactor<v1::VerifyProgress>* AdminService::Verify(
    grpc::CallbackServerContext* context, const v1::VerifyRequest* request) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForWriting();
  const auto stream = std::make_shared<ProgressStream<v1::VerifyProgress>>(
      context, core.ok() ? (*core)->long_work_stop.get_token() : std::stop_token());
  stream->Begin();
  if (!core.ok()) {
    stream->End(core.status());
    return stream.get();
  }
  if ((*core)->verifying.exchange(true)) {
    stream->End(MakeRetryableError(Reason::OVERLOADED, "another verification is at work",
                                   std::chrono::seconds(10)));
    return stream.get();
  }
  VerifyOptions options;
  if (request->max_bytes_per_second() != 0) {
    options.bytes_per_second = request->max_bytes_per_second();
  }
  options.stop = stream->stop();
  options.report = [stream](const v1::VerifyProgress& progress) {
    for (const v1::VerifyFinding& finding : progress.findings()) LogFinding(finding);
    stream->Report(progress);
  };
  const bool runs = (*core)->verifications.Run([core = *core, stream, options] {
    VerifyWork work(options);
    const absl::Status verified = VerifyRunning(core->shard->store(), core->shard->folder(), work);
    if (verified.ok()) work.Complete();
    core->verifying = false;
    stream->End(verified);
  });
  if (!runs) stream->End(MakeError(Reason::DRAINING, "the log is stopping"));
  return stream.get();
}

}  // namespace sluice::log

// Backups of a running log, by its AdminService; and a log from a backup, on this machine's files.
#include <grpcpp/client_context.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/errors/errors.h"
#include "services/log/restore.h"
#include "sluice/v1/admin.grpc.pb.h"
#include "tools/sluicectl/commands.h"
#include "tools/sluicectl/progress.h"
#include "tools/sluicectl/text.h"

namespace sluice::ctl {
namespace {

using Admin = v1::AdminService::Stub;

std::unique_ptr<Admin> AdminOf(const Session& session) {
  return v1::AdminService::NewStub(session.log_channel());
}

template <class Response, class Request>
absl::StatusOr<Response> Call(Session& session,
                              grpc::Status (Admin::*method)(grpc::ClientContext*, const Request&,
                                                            Response*),
                              const Request& request) {
  grpc::ClientContext context;
  session.SetDeadline(context);
  Response response;
  const grpc::Status status = (AdminOf(session).get()->*method)(&context, request, &response);
  if (!status.ok()) return FromGrpc(status, context);
  return response;
}

absl::StatusOr<std::vector<v1::BackupInfo>> List(Session& session) {
  SLUICE_ASSIGN_OR_RETURN(const v1::ListBackupsResponse response,
                          Call(session, &Admin::ListBackups, v1::ListBackupsRequest()));
  return std::vector<v1::BackupInfo>(response.backups().begin(), response.backups().end());
}

absl::Status Delete(Session& session, uint32_t backup_id, uint64_t pin) {
  v1::DeleteBackupRequest request;
  request.set_backup_id(backup_id);
  request.set_pin(pin);
  return Call(session, &Admin::DeleteBackup, request).status();
}

Json BackupJson(const v1::BackupInfo& info) {
  Json json = {
      {"backup_id", info.backup_id()}, {"pin", info.pin()},
      {"complete", info.complete()},   {"begun_time_us", info.begun_time_us()},
      {"bytes", info.bytes()},         {"incarnation", IncarnationText(info.incarnation())}};
  if (!info.damage().empty()) json["damage"] = info.damage();
  return json;
}

std::string StateOf(const v1::BackupInfo& info) {
  if (!info.damage().empty()) return "DAMAGED: " + info.damage();
  if (info.backup_id() == 0) return "pin without a backup: delete it";
  if (!info.complete()) return "not complete: delete it";
  return info.pin() == 0 ? "of another log" : "complete";
}

std::string BackupTable(const std::vector<v1::BackupInfo>& backups) {
  std::vector<std::vector<std::string>> rows;
  rows.reserve(backups.size());
  for (const v1::BackupInfo& info : backups) {
    rows.push_back({info.backup_id() ? absl::StrCat(info.backup_id()) : "-",
                    info.pin() ? absl::StrCat(info.pin()) : "-",
                    info.begun_time_us() ? Time(info.begun_time_us()) : "-", Bytes(info.bytes()),
                    IncarnationText(info.incarnation()), StateOf(info)});
  }
  return Table(
      {{"BACKUP", true}, {"PIN", true}, {"BEGUN"}, {"BYTES", true}, {"INCARNATION"}, {"STATE"}},
      rows);
}

}  // namespace

absl::Status CreateBackup(Session& session) {
  grpc::ClientContext context;
  session.SetDeadline(context);
  const auto admin = AdminOf(session);
  const auto stream = admin->CreateBackup(&context, v1::CreateBackupRequest());
  std::atomic<uint64_t> copied = 0;
  std::atomic<uint64_t> verified = 0;
  std::atomic<uint64_t> total = 0;
  v1::CreateBackupProgress message;
  {
    const Progress bar([&](double seconds, size_t width) {
      // First it copies; then it reads again what it has.
      return verified > 0 ? BytesLine("verifying", verified, total, seconds, width)
                          : BytesLine("copying", copied, total, seconds, width);
    });
    while (stream->Read(&message)) {
      total = message.total_bytes();
      copied = message.copied_bytes();
      verified = message.verified_bytes();
    }
  }
  const grpc::Status status = stream->Finish();
  if (!status.ok()) return FromGrpc(status, context);
  const v1::BackupInfo& backup = message.backup();
  session.Print(BackupJson(backup), [&] {
    return absl::StrFormat("backup %d, %s, verified\n", backup.backup_id(), Bytes(backup.bytes()));
  });
  return absl::OkStatus();
}

absl::Status ListBackups(Session& session) {
  SLUICE_ASSIGN_OR_RETURN(const auto backups, List(session));
  Json json = Json::array();
  for (const v1::BackupInfo& info : backups) json.push_back(BackupJson(info));
  session.Print({{"backups", json}}, [&] { return BackupTable(backups); });
  return absl::OkStatus();
}

absl::Status VerifyBackup(Session& session, uint32_t backup_id) {
  v1::VerifyBackupRequest request;
  request.set_backup_id(backup_id);
  SLUICE_ASSIGN_OR_RETURN(const v1::VerifyBackupResponse verified,
                          Call(session, &Admin::VerifyBackup, request));
  Json json = BackupJson(verified.backup());
  json["collections"] = verified.collections();
  session.Print(json, [&] {
    return absl::StrFormat("backup %d is whole: %s, %s collections\n", backup_id,
                           Bytes(verified.backup().bytes()), Grouped(verified.collections()));
  });
  return absl::OkStatus();
}

absl::Status DeleteBackup(Session& session, uint32_t backup_id, uint64_t pin) {
  SLUICE_RETURN_IF_ERROR(Delete(session, backup_id, pin));
  session.Print({{"backup_id", backup_id}, {"pin", pin}}, [&] {
    return backup_id ? absl::StrFormat("backup %d is deleted\n", backup_id)
                     : absl::StrFormat("pin %d is let go of\n", pin);
  });
  return absl::OkStatus();
}

absl::Status PurgeBackups(Session& session, uint32_t keep) {
  SLUICE_ASSIGN_OR_RETURN(std::vector<v1::BackupInfo> backups, List(session));
  // Of another log's, and what is damaged, nothing is known that would justify it.
  std::erase_if(backups, [](const v1::BackupInfo& info) {
    return !info.complete() || info.pin() == 0 || info.backup_id() == 0;
  });
  std::sort(backups.begin(), backups.end(),
            [](const auto& a, const auto& b) { return a.pin() < b.pin(); });
  backups.resize(backups.size() - std::min<size_t>(backups.size(), keep));
  Json json = Json::array();
  for (const v1::BackupInfo& info : backups) {
    SLUICE_RETURN_IF_ERROR(Delete(session, info.backup_id(), 0));
    json.push_back(BackupJson(info));
  }
  session.Print({{"deleted", json}},
                [&] { return absl::StrFormat("%d backups deleted\n", backups.size()); });
  return absl::OkStatus();
}

absl::Status RestoreBackup(Session& session, const RestoreArguments& arguments) {
  log::RestoreOptions options;
  options.backups = arguments.from;
  options.backup_id = arguments.backup_id;
  options.data = arguments.data;
  log::BackupWork work;
  absl::StatusOr<log::Restored> restored;
  {
    const Progress bar([&](double seconds, size_t width) {
      return BytesLine("restoring", work.written_bytes, work.total_bytes, seconds, width);
    });
    restored = log::Restore(options, &work);
  }
  if (!restored.ok()) return restored.status();
  session.Print({{"backup_id", restored->backup_id},
                 {"bytes", restored->bytes},
                 {"incarnation_before", IncarnationText(restored->before.value)},
                 {"incarnation", IncarnationText(restored->now.value)}},
                [&] {
                  return absl::StrFormat("backup %d (%s) is in %s as incarnation %s; it was %s\n",
                                         restored->backup_id, Bytes(restored->bytes),
                                         arguments.data, IncarnationText(restored->now.value),
                                         IncarnationText(restored->before.value));
                });
  return absl::OkStatus();
}

}  // namespace sluice::ctl

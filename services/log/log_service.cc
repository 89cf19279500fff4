#include "services/log/log_service.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/errors/errors.h"
#include "services/log/append_reader.h"
#include "services/log/cursor_calls.h"
#include "services/log/due.h"
#include "services/log/push.h"
#include "services/log/push_stream.h"
#include "services/log/read_view.h"
#include "services/log/reader.h"
#include "services/log/request_checks.h"
#include "services/log/retention.h"
#include "services/log/subscribe.h"
#include "services/log/unary.h"
#include "services/log/wire.h"

namespace sluice::log {
namespace {

constexpr uint32_t kDefaultPullRecords = 1'000;
constexpr uint32_t kMaxPullRecords = 10'000;
constexpr uint32_t kDefaultPullBytes = 1 << 20;
constexpr uint32_t kMaxPullBytes = 4 << 20;
// Room for the fields beside the appends, so that the largest reply stays within what clients
// accept.
constexpr size_t kPullFieldsBytes = 64;

absl::StatusOr<FillLimits> PullLimits(const v1::PullLogsRequest& request) {
  if (request.max_records() > kMaxPullRecords) {
    return InvalidField("max_records", "more than 10000");
  }
  if (request.max_bytes() > kMaxPullBytes) return InvalidField("max_bytes", "more than 4194304");
  if (request.end_seq_id() != 0 && request.end_seq_id() < request.start_seq_id()) {
    return InvalidField("end_seq_id", "lies before the start");
  }
  FillLimits limits;
  limits.records = request.max_records() ? request.max_records() : kDefaultPullRecords;
  const size_t bytes = request.max_bytes() ? request.max_bytes() : kDefaultPullBytes;
  limits.message_bytes = bytes - std::min(bytes, kPullFieldsBytes);
  return limits;
}

absl::StatusOr<std::string> Pull(const Shard& shard, const v1::PullLogsRequest& request) {
  SLUICE_ASSIGN_OR_RETURN(const CollectionId collection,
                          CheckCollectionId(request.collection_id()));
  SLUICE_ASSIGN_OR_RETURN(const FillLimits limits, PullLimits(request));
  SLUICE_RETURN_IF_ERROR(CheckIncarnation(request.incarnation(), shard.incarnation()));
  const Snapshot snapshot(shard.store());
  SLUICE_ASSIGN_OR_RETURN(const pb::LogState log, ReadLog(snapshot, collection));
  const SeqId start(request.start_seq_id());
  SLUICE_RETURN_IF_ERROR(CheckStart(log, start));
  const SeqId end(request.end_seq_id() ? std::min(request.end_seq_id(), log.tail()) : log.tail());

  std::string message;
  if (start < end) {
    AppendReader reader(snapshot, collection, start, end);
    SLUICE_RETURN_IF_ERROR(AppendFiller(reader)
                               .Fill(v1::PullLogsResponse::kAppendsFieldNumber, limits, &message)
                               .status());
  }
  v1::PullLogsResponse fields;
  fields.set_tail_seq_id(log.tail());
  fields.set_trim_seq_id(log.trim());
  fields.set_incarnation(shard.incarnation().value);
  fields.AppendToString(&message);
  return message;
}

void Describe(const pb::LeaseState& lease, v1::LeaseInfo* info) {
  info->set_token(lease.token());
  info->set_worker(lease.worker());
  info->set_expires_time_us(lease.expires_us());
}

absl::Status Describe(const Shard& shard, const CollectionId& collection,
                      v1::DescribeLogResponse* response) {
  const Snapshot snapshot(shard.store());
  SLUICE_ASSIGN_OR_RETURN(pb::LogState log, ReadLog(snapshot, collection));
  SLUICE_ASSIGN_OR_RETURN(const auto segments, ReadSegments(snapshot, collection));
  response->set_tail_seq_id(log.tail());
  response->set_applied_seq_id(log.applied());
  response->set_trim_seq_id(log.trim());
  response->set_incarnation(shard.incarnation().value);
  response->set_unapplied_bytes(UnappliedBytes(log));
  response->set_oldest_unapplied_time_us(log.oldest_unapplied_us());
  response->set_live_count(log.live_count());
  response->mutable_segments()->Assign(segments.begin(), segments.end());
  response->set_segments_version(log.segments_version());
  response->set_dimension(log.dimension());
  *response->mutable_no_effect() = std::move(*log.mutable_no_effect());
  if (log.has_compaction_lease()) {
    Describe(log.compaction_lease(), response->mutable_compaction_lease());
  }
  if (log.has_merge_lease()) Describe(log.merge_lease(), response->mutable_merge_lease());
  response->set_failures(log.failures());
  response->set_last_failure(log.last_failure());
  response->set_garbage_objects(log.garbage_objects());
  SLUICE_ASSIGN_OR_RETURN(const auto cursors,
                          ReadCursors(snapshot, collection, log, shard.incarnation()));
  response->mutable_cursors()->Assign(cursors.begin(), cursors.end());
  response->set_kept_bytes(log.tail_bytes() - log.trim_bytes());
  response->set_pinned_bytes(PinnedBytes(log));
  response->set_missing_vectors(log.missing_vectors());
  response->set_owed_vectors(log.owed_vectors());
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* LogService::PushLogs(grpc::CallbackServerContext* context,
                                               const grpc::ByteBuffer* request,
                                               grpc::ByteBuffer* response) {
  return ServePush(gate_, metrics_, context, *request, response);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* LogService::PushStream(
    grpc::CallbackServerContext* context) {
  return ServePushStream(gate_, metrics_, context);
}

grpc::ServerUnaryReactor* LogService::PullLogs(grpc::CallbackServerContext* context,
                                               const grpc::ByteBuffer* bytes,
                                               grpc::ByteBuffer* response) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForReading();
  if (!core.ok()) return FinishWith(context, core.status());
  v1::PullLogsRequest request;
  if (const absl::Status parsed = ParseRequest(*bytes, &request); !parsed.ok()) {
    return FinishWith(context, parsed);
  }
  return OnPool((*core)->reads, context,
                [&shard = *(*core)->shard, request = std::move(request), response] {
                  absl::StatusOr<std::string> message = Pull(shard, request);
                  if (!message.ok()) return message.status();
                  *response = ToByteBuffer(*std::move(message));
                  return absl::OkStatus();
                });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* LogService::Subscribe(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return ServeSubscribe(gate_, context, *request);
}

grpc::ServerUnaryReactor* LogService::DescribeLog(grpc::CallbackServerContext* context,
                                                  const v1::DescribeLogRequest* request,
                                                  v1::DescribeLogResponse* response) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForReading();
  if (!core.ok()) return FinishWith(context, core.status());
  const absl::StatusOr<CollectionId> collection = CheckCollectionId(request->collection_id());
  if (!collection.ok()) return FinishWith(context, collection.status());
  return OnPool((*core)->reads, context,
                [&shard = *(*core)->shard, collection = *collection, response] {
                  return Describe(shard, collection, response);
                });
}

grpc::ServerUnaryReactor* LogService::TrimLog(grpc::CallbackServerContext* context,
                                              const v1::TrimLogRequest* request,
                                              v1::TrimLogResponse* response) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForWriting();
  if (!core.ok()) return Refuse(context, core.status());
  const absl::StatusOr<CollectionId> collection = CheckCollectionId(request->collection_id());
  if (!collection.ok()) return Refuse(context, collection.status());
  pb::Command command;
  command.mutable_trim()->set_collection_id(std::string(collection->view()));
  command.mutable_trim()->set_up_to_seq_id(request->up_to_seq_id());
  return ProposeAndFinish<TrimAnswer>(*(*core)->shard, context, command,
                                      [this, response](const TrimAnswer& answer) {
                                        metrics_.Trimmed(answer);
                                        response->set_trim_seq_id(answer.trim.value);
                                      });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* LogService::ReadView(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return ServeReadView(gate_, context, *request);
}

grpc::ServerUnaryReactor* LogService::CommitCursor(grpc::CallbackServerContext* context,
                                                   const v1::CommitCursorRequest* request,
                                                   v1::CommitCursorResponse* response) {
  return ServeCommitCursor(gate_, context, *request, response);
}

grpc::ServerUnaryReactor* LogService::RollbackCursor(grpc::CallbackServerContext* context,
                                                     const v1::RollbackCursorRequest* request,
                                                     v1::RollbackCursorResponse* response) {
  return ServeRollbackCursor(gate_, context, *request, response);
}

grpc::ServerUnaryReactor* LogService::GetCursor(grpc::CallbackServerContext* context,
                                                const v1::GetCursorRequest* request,
                                                v1::GetCursorResponse* response) {
  return ServeGetCursor(gate_, context, *request, response);
}

grpc::ServerUnaryReactor* LogService::ListCursors(grpc::CallbackServerContext* context,
                                                  const v1::ListCursorsRequest* request,
                                                  v1::ListCursorsResponse* response) {
  return ServeListCursors(gate_, context, *request, response);
}

grpc::ServerUnaryReactor* LogService::DeleteCursor(grpc::CallbackServerContext* context,
                                                   const v1::DeleteCursorRequest* request,
                                                   v1::DeleteCursorResponse*) {
  return ServeDeleteCursor(gate_, context, *request);
}

}  // namespace sluice::log

#include "services/log/cursor_calls.h"

#include <string>
#include <utility>
#include <vector>

#include "common/errors/errors.h"
#include "services/log/cursor.h"
#include "services/log/reader.h"
#include "services/log/request_checks.h"
#include "services/log/unary.h"

namespace sluice::log {
namespace {

// The fields that all changes of a cursor have, checked.
template <class Change, class Request>
absl::Status FillCommon(const Request& request, Change* change) {
  SLUICE_ASSIGN_OR_RETURN(const CollectionId collection,
                          CheckCollectionId(request.collection_id()));
  SLUICE_RETURN_IF_ERROR(CheckConsumersCursor(request.name()));
  change->set_collection_id(std::string(collection.view()));
  change->set_name(request.name());
  change->set_incarnation(request.incarnation());
  return absl::OkStatus();
}

absl::StatusOr<pb::Command> CommandOf(const v1::CommitCursorRequest& request) {
  pb::Command command;
  pb::CommitCursor& commit = *command.mutable_commit_cursor();
  SLUICE_RETURN_IF_ERROR(FillCommon(request, &commit));
  commit.set_seq_id(request.seq_id());
  if (request.has_expected_seq_id()) commit.set_expected(request.expected_seq_id());
  if (!request.request_id().empty()) {
    const absl::StatusOr<Uuid> id = Uuid::Parse(request.request_id());
    if (!id.ok()) return InvalidField("request_id", "not a UUID");
    commit.set_request_id(std::string(id->view()));
  }
  return command;
}

absl::StatusOr<pb::Command> CommandOf(const v1::RollbackCursorRequest& request) {
  pb::Command command;
  SLUICE_RETURN_IF_ERROR(FillCommon(request, command.mutable_rollback_cursor()));
  command.mutable_rollback_cursor()->set_seq_id(request.seq_id());
  return command;
}

absl::StatusOr<pb::Command> CommandOf(const v1::DeleteCursorRequest& request) {
  pb::Command command;
  SLUICE_RETURN_IF_ERROR(FillCommon(request, command.mutable_delete_cursor()));
  return command;
}

template <class AnswerType, class Request, class Fill>
grpc::ServerUnaryReactor* Propose(const CoreGate& gate, grpc::CallbackServerContext* context,
                                  const Request& request, Fill fill) {
  const absl::StatusOr<ServiceCore*> core = gate.ForWriting();
  if (!core.ok()) return Refuse(context, core.status());
  const absl::StatusOr<pb::Command> command = CommandOf(request);
  if (!command.ok()) return Refuse(context, command.status());
  return ProposeAndFinish<AnswerType>(*(*core)->shard, context, *command, std::move(fill));
}

template <class Response>
void FillPlace(const Shard& shard, const pb::LogState& log, Response* response) {
  response->set_tail_seq_id(log.tail());
  response->set_trim_seq_id(log.trim());
  response->set_incarnation(shard.incarnation().value);
}

absl::Status Get(const Shard& shard, const v1::GetCursorRequest& request,
                 v1::GetCursorResponse* response) {
  SLUICE_ASSIGN_OR_RETURN(const CollectionId collection,
                          CheckCollectionId(request.collection_id()));
  SLUICE_RETURN_IF_ERROR(CheckCursorName(request.name()));
  const Snapshot snapshot(shard.store());
  SLUICE_ASSIGN_OR_RETURN(const pb::LogState log, ReadLog(snapshot, collection));
  FillPlace(shard, log, response);
  if (request.name() == kIndexCursor && !log.schema().log_only()) {
    *response->mutable_cursor() = ShowIndexCursor(log, shard.incarnation());
    return absl::OkStatus();
  }
  SLUICE_ASSIGN_OR_RETURN(const pb::CursorState cursor,
                          ReadCursor(snapshot, collection, request.name()));
  *response->mutable_cursor() = ShowCursor(request.name(), cursor);
  return absl::OkStatus();
}

absl::Status List(const Shard& shard, const v1::ListCursorsRequest& request,
                  v1::ListCursorsResponse* response) {
  SLUICE_ASSIGN_OR_RETURN(const CollectionId collection,
                          CheckCollectionId(request.collection_id()));
  const Snapshot snapshot(shard.store());
  SLUICE_ASSIGN_OR_RETURN(const pb::LogState log, ReadLog(snapshot, collection));
  SLUICE_ASSIGN_OR_RETURN(const std::vector<v1::Cursor> cursors,
                          ReadCursors(snapshot, collection, log, shard.incarnation()));
  FillPlace(shard, log, response);
  response->mutable_cursors()->Assign(cursors.begin(), cursors.end());
  return absl::OkStatus();
}

// Runs a read of the store on the pool.
template <class Read, class Request, class Response>
grpc::ServerUnaryReactor* Serve(const CoreGate& gate, grpc::CallbackServerContext* context,
                                Read read, const Request& request, Response* response) {
  const absl::StatusOr<ServiceCore*> core = gate.ForReading();
  if (!core.ok()) return FinishWith(context, core.status());
  return OnPool((*core)->reads, context, [&shard = *(*core)->shard, read, &request, response] {
    return read(shard, request, response);
  });
}

}  // namespace

grpc::ServerUnaryReactor* ServeCommitCursor(const CoreGate& gate,
                                            grpc::CallbackServerContext* context,
                                            const v1::CommitCursorRequest& request,
                                            v1::CommitCursorResponse* response) {
  return Propose<CursorAnswer>(gate, context, request, [response](const CursorAnswer& answer) {
    *response->mutable_cursor() = answer.cursor;
  });
}

grpc::ServerUnaryReactor* ServeRollbackCursor(const CoreGate& gate,
                                              grpc::CallbackServerContext* context,
                                              const v1::RollbackCursorRequest& request,
                                              v1::RollbackCursorResponse* response) {
  return Propose<CursorAnswer>(gate, context, request, [response](const CursorAnswer& answer) {
    *response->mutable_cursor() = answer.cursor;
  });
}

grpc::ServerUnaryReactor* ServeDeleteCursor(const CoreGate& gate,
                                            grpc::CallbackServerContext* context,
                                            const v1::DeleteCursorRequest& request) {
  return Propose<Done>(gate, context, request, [](const Done&) {});
}

grpc::ServerUnaryReactor* ServeGetCursor(const CoreGate& gate, grpc::CallbackServerContext* context,
                                         const v1::GetCursorRequest& request,
                                         v1::GetCursorResponse* response) {
  return Serve(gate, context, &Get, request, response);
}

grpc::ServerUnaryReactor* ServeListCursors(const CoreGate& gate,
                                           grpc::CallbackServerContext* context,
                                           const v1::ListCursorsRequest& request,
                                           v1::ListCursorsResponse* response) {
  return Serve(gate, context, &List, request, response);
}

}  // namespace sluice::log

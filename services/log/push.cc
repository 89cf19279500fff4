#include "services/log/push.h"

#include <grpcpp/support/slice.h>

#include <chrono>
#include <memory>
#include <utility>

#include "common/errors/errors.h"
#include "common/record/scan.h"
#include "services/log/request_checks.h"
#include "services/log/wire.h"

namespace sluice::log {
namespace {

using Clock = std::chrono::steady_clock;

// A request, alive for as long as its command is.
struct PushBuffer {
  grpc::Slice bytes;
  ScannedPush push;
};

absl::StatusOr<RequestId> ParseRequestId(std::string_view text, std::string_view field) {
  if (text.empty()) return RequestId();
  const absl::StatusOr<Uuid> id = Uuid::Parse(text);
  if (!id.ok() || id->version() != 7) return InvalidField(field, "not a UUIDv7");
  return RequestId(*id);
}

absl::StatusOr<Command> ReadPush(const grpc::ByteBuffer& request, Pieces pieces) {
  auto buffer = std::make_shared<PushBuffer>();
  // Gathered into one piece if it came in several.
  const bool gathered = !request.TrySingleSlice(&buffer->bytes).ok();
  if (gathered && !request.DumpToSingleSlice(&buffer->bytes).ok()) {
    return MakeError(Reason::MALFORMED_REQUEST, "the request's bytes cannot be read");
  }
  const std::string_view message(reinterpret_cast<const char*>(buffer->bytes.begin()),
                                 buffer->bytes.size());
  ScannedPush& push = buffer->push;
  SLUICE_RETURN_IF_ERROR(ScanPush(message, &push));
  SLUICE_ASSIGN_OR_RETURN(const CollectionId collection, CheckCollectionId(push.collection_id));
  SLUICE_ASSIGN_OR_RETURN(const RequestId request_id,
                          ParseRequestId(push.request_id, "request_id"));
  SLUICE_ASSIGN_OR_RETURN(const RequestId predecessor,
                          ParseRequestId(push.predecessor_request_id, "predecessor_request_id"));
  Command command = Command::Push(collection, request_id, Incarnation(push.incarnation), push,
                                  buffer, predecessor);
  if (gathered && pieces == Pieces::kStay) command.HoldsBeside(request.Length());
  return command;
}

v1::PushLogsResponse ToResponse(const PushAnswer& answer) {
  v1::PushLogsResponse response;
  response.set_first_seq_id(answer.first.value);
  response.set_count(answer.count);
  response.set_tail_seq_id(answer.tail.value);
  response.set_incarnation(answer.incarnation.value);
  response.set_commit_time_us(answer.commit_time_us);
  response.set_duplicate(answer.duplicate);
  return response;
}

}  // namespace

void ProposePush(const CoreGate& gate, LogMetrics& metrics, const grpc::ByteBuffer& request,
                 Pieces pieces,
                 absl::AnyInvocable<void(absl::StatusOr<v1::PushLogsResponse>)> answered) {
  const auto refuse = [&](const absl::Status& error) {
    const absl::Status refused = WithOutcome(error, Outcome::kNotIn);
    metrics.PushFailed(refused);
    answered(refused);
  };
  const Clock::time_point began = Clock::now();
  const absl::StatusOr<ServiceCore*> core = gate.ForWriting();
  if (!core.ok()) return refuse(core.status());
  absl::StatusOr<Command> command = ReadPush(request, pieces);
  if (!command.ok()) return refuse(command.status());

  const size_t bytes = request.Length();
  (*core)->shard->Propose(
      *std::move(command),
      [&metrics, began, bytes, answered = std::move(answered)](Result result) mutable {
        if (!result.ok()) {
          metrics.PushFailed(result.status());
          return answered(result.status());
        }
        const auto& answer = std::get<PushAnswer>(*result);
        metrics.Pushed(answer.count, bytes, answer.duplicate, Clock::now() - began);
        answered(ToResponse(answer));
      });
}

grpc::ServerUnaryReactor* ServePush(const CoreGate& gate, LogMetrics& metrics,
                                    grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer& request, grpc::ByteBuffer* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  ProposePush(gate, metrics, request, Pieces::kStay,
              [context, reactor, response](const absl::StatusOr<v1::PushLogsResponse>& answer) {
                if (!answer.ok()) return reactor->Finish(ToGrpc(answer.status(), context));
                *response = ToByteBuffer(*answer);
                reactor->Finish(grpc::Status::OK);
              });
  return reactor;
}

}  // namespace sluice::log

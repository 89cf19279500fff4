#include "services/frontend/call.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"

namespace sluice::frontend {

Call::Call(const char* name, Kind kind, Backend& backend, const Exchange& exchange)
    : name_(name),
      kind_(kind),
      backend_(backend),
      exchange_(exchange),
      since_(std::chrono::steady_clock::now()) {}

grpc::ServerUnaryReactor* Call::Begin() {
  backend_.metrics.pending_requests.Increment();
  // gRPC calls OnDone only once it has got the reactor from this.
  if (absl::Status taken = backend_.gate.Enter(); !taken.ok()) {
    Fail(taken);
  } else {
    Run();
  }
  return this;
}

void Call::OnDone() {
  backend_.metrics.pending_requests.Decrement();
  Gate& gate = backend_.gate;
  delete this;
  gate.Leave();
}

void Call::Succeed(const google::protobuf::MessageLite& response) {
  Succeed(BufferOf(response.SerializeAsString()));
}

void Call::Succeed(const grpc::ByteBuffer& response) {
  *exchange_.response = response;
  Answer(grpc::Status::OK);
}

void Call::Fail(const absl::Status& error) {
  Answer(ToGrpc(kind_ == Kind::kWrite && !sent_ ? WithOutcome(error, Outcome::kNotIn) : error,
                exchange_.context));
}

void Call::Answer(const grpc::Status& status) {
  backend_.metrics.Answered(name_, status.error_code(), std::chrono::steady_clock::now() - since_);
  Finish(status);
}

std::string_view Contiguous(const grpc::ByteBuffer& buffer, grpc::Slice* slice) {
  if (!buffer.TrySingleSlice(slice).ok() && !buffer.DumpToSingleSlice(slice).ok()) return {};
  return {reinterpret_cast<const char*>(slice->begin()), slice->size()};
}

absl::Status Parse(const grpc::ByteBuffer& buffer, google::protobuf::MessageLite* message) {
  grpc::Slice slice;
  const std::string_view bytes = Contiguous(buffer, &slice);
  if (message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::OkStatus();
  }
  return MakeError(Reason::MALFORMED_REQUEST,
                   absl::StrCat("the request is not a ", message->GetTypeName()));
}

grpc::ByteBuffer BufferOf(std::string bytes) {
  auto* const held = new std::string(std::move(bytes));
  const grpc::Slice slice(
      held->data(), held->size(), [](void* string) { delete static_cast<std::string*>(string); },
      held);
  return grpc::ByteBuffer(&slice, 1);
}

absl::Status ErrorOfLog(const grpc::Status& status, const grpc::ClientContext& context) {
  const absl::Status error = FromGrpc(status, context);
  return ReasonOf(error) ? error : Annotate(error, "log");
}

}  // namespace sluice::frontend

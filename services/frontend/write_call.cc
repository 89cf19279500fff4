#include "services/frontend/write_call.h"

#include <utility>

#include "common/errors/errors.h"
#include "services/frontend/resolve.h"
#include "sluice/v1/frontend.pb.h"

namespace sluice::frontend {
namespace {

constexpr char kPushLogs[] = "/sluice.v1.LogService/PushLogs";

}  // namespace

WriteCall::WriteCall(const char* name, v1::Operation operation, Backend& backend,
                     const Exchange& exchange)
    : Call(name, Kind::kWrite, backend, exchange),
      operation_(operation),
      share_(backend.write_bytes) {}

void WriteCall::Run() {
  if (!share_.TryGrow(exchange().request->Length())) {
    return Fail(MakeRetryableError(Reason::OVERLOADED, "too many bytes are being written at once",
                                   std::chrono::milliseconds(100)));
  }
  grpc::Slice slice;
  absl::StatusOr<Push> push = PushOf(operation_, Contiguous(*exchange().request, &slice));
  if (!push.ok()) return Fail(push.status());
  push_ = *std::move(push);
  Resolve(backend(), *exchange().context, push_.collection,
          [this](absl::StatusOr<CollectionId> collection) {
            if (!collection.ok()) return Fail(collection.status());
            Send(*collection);
          });
}

void WriteCall::Send(const CollectionId& collection) {
  collection_ = collection;
  push_.SetCollection(collection);
  request_ = BufferOf(std::move(push_.message));
  context_ = backend().ContextFor(*exchange().context);
  MarkSent();
  backend().pushes.UnaryCall(context_.get(), kPushLogs, {}, &request_, &pushed_,
                             [this](grpc::Status status) { Answered(status); });
}

void WriteCall::Answered(const grpc::Status& status) {
  if (!status.ok()) return Fail(ErrorOfLog(status, *context_));
  backend().metrics.written_records.Increment(push_.records);
  backend().metrics.written_bytes.Increment(static_cast<double>(push_.record_bytes));
  v1::WriteResponse response;
  response.set_first_seq_id(pushed_.first_seq_id());
  response.set_count(pushed_.count());
  response.set_tail_seq_id(pushed_.tail_seq_id());
  response.set_incarnation(pushed_.incarnation());
  response.set_commit_time_us(pushed_.commit_time_us());
  response.set_duplicate(pushed_.duplicate());
  response.set_collection_id(collection_.ToString());
  Succeed(response);
}

}  // namespace sluice::frontend

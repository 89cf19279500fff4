// One call of a caller, from its arrival to its answer. Calls own themselves until gRPC is done
// with them, and are answered exactly once.
//
// A caller that gives up does not end its call here: what the call waits for is cancelled, and the
// answer to that ends it. So nothing touches a call after its answer.
#pragma once

#include <google/protobuf/message_lite.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <chrono>
#include <stop_token>
#include <string_view>

#include "absl/status/status.h"
#include "services/frontend/backend.h"

namespace sluice::frontend {

class Call : public grpc::ServerUnaryReactor {
 public:
  enum class Kind { kRead, kWrite };
  // What came in, and where the answer goes; both live until the answer.
  struct Exchange {
    grpc::CallbackServerContext* context;
    const grpc::ByteBuffer* request;
    grpc::ByteBuffer* response;
  };

  // `name`: the method's. The backend must outlive the call.
  Call(const char* name, Kind kind, Backend& backend, const Exchange& exchange);

  // Begins the call, if the gate is open; returns itself, for gRPC.
  grpc::ServerUnaryReactor* Begin();

  void OnCancel() final { given_up_.request_stop(); }
  void OnDone() final;

 protected:
  // Answers, in time, with one of the calls below.
  virtual void Run() = 0;

  void Succeed(const google::protobuf::MessageLite& response);
  void Succeed(const grpc::ByteBuffer& response);
  // The error of a call that writes says NOT_IN until it was sent to the log; afterwards it says
  // what the log said.
  void Fail(const absl::Status& error);
  void MarkSent() { sent_ = true; }

  Backend& backend() { return backend_; }
  const Exchange& exchange() const { return exchange_; }
  // Stopped when the caller gives up.
  std::stop_token given_up() const { return given_up_.get_token(); }

 private:
  void Answer(const grpc::Status& status);

  const char* const name_;
  const Kind kind_;
  Backend& backend_;
  const Exchange exchange_;
  const std::chrono::steady_clock::time_point since_;
  std::stop_source given_up_;
  bool sent_ = false;
};

// The bytes of `buffer` in one piece, which `slice` holds.
std::string_view Contiguous(const grpc::ByteBuffer& buffer, grpc::Slice* slice);
// MALFORMED_REQUEST unless the bytes are a `message`.
absl::Status Parse(const grpc::ByteBuffer& buffer, google::protobuf::MessageLite* message);
// Takes the bytes without copying them.
grpc::ByteBuffer BufferOf(std::string bytes);
// An error that the log answered with; one that comes from the way there says so.
absl::Status ErrorOfLog(const grpc::Status& status, const grpc::ClientContext& context);

}  // namespace sluice::frontend

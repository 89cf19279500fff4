#include "tools/bench/stream_ceiling.h"

#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <memory>
#include <vector>

#include "common/client/client.h"
#include "sluice/v1/log.grpc.pb.h"
#include "tools/bench/ceilings.h"

namespace sluice::bench {
namespace {

using Messages = std::vector<grpc::ByteBuffer>;

class Sender final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  explicit Sender(const Messages& messages) : messages_(messages) { WriteNext(); }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::CANCELLED);
    WriteNext();
  }
  void OnDone() override { delete this; }

 private:
  void WriteNext() {
    if (next_ == messages_.size()) return Finish(grpc::Status::OK);
    // gRPC takes the buffer; its bytes are shared, not copied.
    message_ = messages_[next_++];
    StartWrite(&message_);
  }

  const Messages& messages_;
  size_t next_ = 0;
  grpc::ByteBuffer message_;
};

class StreamService final
    : public v1::LogService::WithRawCallbackMethod_Subscribe<v1::LogService::Service> {
 public:
  explicit StreamService(Messages messages) : messages_(std::move(messages)) {}
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Subscribe(grpc::CallbackServerContext*,
                                                        const grpc::ByteBuffer*) override {
    return new Sender(messages_);
  }

 private:
  const Messages messages_;
};

// The messages of a log, up to the tail that it has now.
Messages ReadAll(const std::string& address, const std::string& collection) {
  const auto stub = v1::LogService::NewStub(client::Connect(address));
  v1::DescribeLogRequest describe;
  describe.set_collection_id(collection);
  v1::DescribeLogResponse log;
  grpc::ClientContext describe_context;
  if (!stub->DescribeLog(&describe_context, describe, &log).ok()) return {};
  v1::SubscribeRequest request;
  request.set_collection_id(collection);
  request.set_after_seq_id(log.trim_seq_id());
  request.set_end_seq_id(log.tail_seq_id());
  grpc::ClientContext context;
  const auto reader = stub->Subscribe(&context, request);
  Messages messages;
  v1::SubscribeResponse message;
  while (reader->Read(&message)) {
    const grpc::Slice bytes(message.SerializeAsString());
    messages.emplace_back(&bytes, 1);
  }
  if (!reader->Finish().ok()) messages.clear();
  return messages;
}

}  // namespace

int ServeStream(const std::string& address, const std::string& collection) {
  Messages messages = ReadAll(address, collection);
  if (messages.empty()) {
    std::fprintf(stderr, "the log cannot be read\n");
    return 1;
  }
  StreamService service(std::move(messages));
  return ServeCeiling(service);
}

}  // namespace sluice::bench

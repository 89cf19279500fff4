// For tests: a log server in this process that does to each call what the test says. Handlers run
// on gRPC's threads, one call at a time.
#pragma once

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/client/client.h"
#include "common/errors/errors.h"

namespace sluice::client {

// Of a client that loses no time, and yet does not give up on a slow machine.
inline constexpr Options kQuick{.attempt_deadline = std::chrono::milliseconds(10'000),
                                .total_deadline = std::chrono::milliseconds(30'000),
                                .first_backoff = std::chrono::milliseconds(1),
                                .most_backoff = std::chrono::milliseconds(4)};

inline v1::PushLogsRequest PushOf(const std::string& id) {
  v1::PushLogsRequest request;
  request.add_records()->set_id(id);
  return request;
}

class MisbehavingServer : public v1::LogService::Service {
 public:
  using SubscribeWriter = grpc::ServerWriter<v1::SubscribeResponse>;
  using ViewWriter = grpc::ServerWriter<v1::ReadViewResponse>;
  using PushStreamEnd = grpc::ServerReaderWriter<v1::PushStreamResponse, v1::PushLogsRequest>;

  MisbehavingServer() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~MisbehavingServer() override {
    stopping_.Notify();
    server_->Shutdown(std::chrono::system_clock::now());
  }

  std::shared_ptr<grpc::Channel> channel() const {
    return Connect(absl::StrCat("127.0.0.1:", port_));
  }

  // What to do at the n-th call of a kind, from 1.
  std::function<absl::Status(int n, const v1::PushLogsRequest&, v1::PushLogsResponse*)> on_push;
  std::function<absl::Status(int n, PushStreamEnd*)> on_push_stream;
  std::function<absl::Status(int n, const v1::SubscribeRequest&, SubscribeWriter*)> on_subscribe;
  std::function<absl::Status(int n, const v1::ReadViewRequest&, ViewWriter*)> on_view;

  std::function<absl::Status(int n, const v1::CommitCursorRequest&, v1::CommitCursorResponse*)>
      on_commit;

  // For handlers: never answers (while the test lasts).
  absl::Status Hang() {
    stopping_.WaitForNotification();
    return absl::UnavailableError("the test ends");
  }

  // The requests that came.
  std::vector<v1::PushLogsRequest> pushes() {
    std::lock_guard lock(mutex_);
    return pushes_;
  }
  std::vector<v1::SubscribeRequest> subscribes() {
    std::lock_guard lock(mutex_);
    return subscribes_;
  }
  std::vector<v1::CommitCursorRequest> commits() {
    std::lock_guard lock(mutex_);
    return commits_;
  }

 private:
  grpc::Status PushLogs(grpc::ServerContext* context, const v1::PushLogsRequest* request,
                        v1::PushLogsResponse* response) override {
    return ToGrpc(on_push(Note(pushes_, *request), *request, response), context);
  }
  grpc::Status PushStream(grpc::ServerContext* context, PushStreamEnd* stream) override {
    return ToGrpc(on_push_stream(++push_streams_, stream), context);
  }
  grpc::Status Subscribe(grpc::ServerContext* context, const v1::SubscribeRequest* request,
                         SubscribeWriter* writer) override {
    return ToGrpc(on_subscribe(Note(subscribes_, *request), *request, writer), context);
  }
  grpc::Status ReadView(grpc::ServerContext* context, const v1::ReadViewRequest* request,
                        ViewWriter* writer) override {
    return ToGrpc(on_view(Note(views_, *request), *request, writer), context);
  }

  grpc::Status CommitCursor(grpc::ServerContext* context, const v1::CommitCursorRequest* request,
                            v1::CommitCursorResponse* response) override {
    return ToGrpc(on_commit(Note(commits_, *request), *request, response), context);
  }

  template <class Request>
  int Note(std::vector<Request>& requests, const Request& request) {
    std::lock_guard lock(mutex_);
    requests.push_back(request);
    return static_cast<int>(requests.size());
  }

  int port_ = 0;
  absl::Notification stopping_;
  std::atomic<int> push_streams_ = 0;
  std::mutex mutex_;
  std::vector<v1::PushLogsRequest> pushes_;
  std::vector<v1::SubscribeRequest> subscribes_;
  std::vector<v1::ReadViewRequest> views_;
  std::vector<v1::CommitCursorRequest> commits_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace sluice::client

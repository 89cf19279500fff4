// For tests of the services: a log node in a server of its own over a temporary folder, and stubs
// to it over an in-process channel. Calls are made as they are, without the client's retries.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/errors/errors.h"
#include "common/record/limits.h"
#include "common/server/server.h"
#include "services/log/log_node.h"
#include "sluice/v1/catalog.grpc.pb.h"
#include "sluice/v1/compaction.grpc.pb.h"
#include "sluice/v1/log.grpc.pb.h"
#include "tests/support/temp_folder.h"

namespace sluice::log {

inline v1::OperationRecord UpsertOf(const std::string& id, const std::string& document = "text") {
  v1::OperationRecord record;
  record.set_id(id);
  record.set_operation(v1::OPERATION_UPSERT);
  record.set_document(document);
  return record;
}

// The bytes of a request's records, as the limit of an append counts them.
inline size_t RecordBytes(const v1::PushLogsRequest& request) {
  v1::Append append;
  *append.mutable_records() = request.records();
  return append.ByteSizeLong();
}

// An append of as many bytes of records as one may have.
inline v1::PushLogsRequest LargestPush(const std::string& collection) {
  v1::PushLogsRequest request;
  request.set_collection_id(collection);
  for (int i = 0; i < 15; ++i) *request.add_records() = UpsertOf("a", std::string(1 << 20, 'x'));
  *request.add_records() = UpsertOf("a", std::string(900'000, 'x'));
  request.mutable_records(15)->mutable_document()->append(kMaxBytesPerAppend - RecordBytes(request),
                                                          'x');
  return request;
}

class ServiceTest : public ::testing::Test {
 protected:
  ServiceTest() {
    server::Settings defaults;
    common_.Declare(defaults, "127.0.0.1:0", "127.0.0.1:0");
    settings_.Declare(defaults);
    settings_.data = (folder_.path() / "log").string();
  }

  void SetUp() override { Start(); }

  void Start() {
    registry_ = std::make_shared<prometheus::Registry>();
    node_ = std::make_unique<LogNode>(settings_, *registry_);
    auto server = server::Server::Start("sluice-log", common_, registry_, {node_.get()});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    const auto channel = server_->Channel();
    log_ = v1::LogService::NewStub(channel);
    catalog_ = v1::CatalogService::NewStub(channel);
    compaction_ = v1::CompactionService::NewStub(channel);
  }
  void Stop() {
    server_.reset();
    node_.reset();
  }
  void Restart() {
    Stop();
    Start();
  }

  // One call of a stub's method, within ten seconds.
  template <class Response, class Stub, class Request>
  static absl::StatusOr<Response> Call(Stub& stub,
                                       grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                                    const Request&, Response*),
                                       const Request& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    Response response;
    const grpc::Status status = (stub.*method)(&context, request, &response);
    if (!status.ok()) return FromGrpc(status, context);
    return response;
  }

  absl::StatusOr<v1::PushLogsResponse> Push(const v1::PushLogsRequest& request) {
    return Call(*log_, &v1::LogService::Stub::PushLogs, request);
  }
  absl::StatusOr<v1::PushLogsResponse> Push(const std::string& collection,
                                            const std::vector<v1::OperationRecord>& records) {
    v1::PushLogsRequest request;
    request.set_collection_id(collection);
    for (const auto& record : records) *request.add_records() = record;
    return Push(request);
  }
  absl::StatusOr<v1::PullLogsResponse> Pull(const v1::PullLogsRequest& request) {
    return Call(*log_, &v1::LogService::Stub::PullLogs, request);
  }
  absl::StatusOr<v1::DescribeLogResponse> Describe(const std::string& collection) {
    v1::DescribeLogRequest request;
    request.set_collection_id(collection);
    return Call(*log_, &v1::LogService::Stub::DescribeLog, request);
  }
  absl::StatusOr<v1::CreateCollectionResponse> Create(const v1::CreateCollectionRequest& request) {
    return Call(*catalog_, &v1::CatalogService::Stub::CreateCollection, request);
  }
  // A new collection; its id.
  std::string NewCollection(const std::function<void(v1::CreateCollectionRequest&)>& change = {}) {
    v1::CreateCollectionRequest request;
    request.set_name("c" + std::to_string(++collections_));
    if (change) change(request);
    const auto created = Create(request);
    EXPECT_TRUE(created.ok()) << created.status();
    return created.ok() ? created->collection().id() : "";
  }

  // Moves `applied` to the tail, as a compaction of records without effect does. The collection
  // must come due soon (SoonDue).
  void ApplyAll(const std::string& collection) {
    v1::ClaimRequest claim;
    claim.set_worker("test");
    claim.add_kinds(v1::LEASE_KIND_COMPACTION);
    claim.set_wait_ms(10'000);
    const auto claimed = Call(*compaction_, &v1::CompactionService::Stub::Claim, claim);
    ASSERT_TRUE(claimed.ok()) << claimed.status();
    ASSERT_EQ(claimed->lease().collection_id(), collection);
    v1::CommitRequest commit;
    *commit.mutable_lease() = claimed->lease();
    commit.set_number(1);
    commit.mutable_compaction()->set_from_seq_id(claimed->applied_seq_id());
    commit.mutable_compaction()->set_to_seq_id(claimed->tail_seq_id());
    const auto committed = Call(*compaction_, &v1::CompactionService::Stub::Commit, commit);
    ASSERT_TRUE(committed.ok()) << committed.status();
    v1::ReleaseRequest release;
    *release.mutable_lease() = claimed->lease();
    release.set_reason(v1::RELEASE_REASON_DONE);
    const auto released = Call(*compaction_, &v1::CompactionService::Stub::Release, release);
    ASSERT_TRUE(released.ok()) << released.status();
  }
  static void SoonDue(v1::CreateCollectionRequest& request) {
    request.mutable_settings()->mutable_compaction()->set_max_age_ms(10);
  }
  static void LogOnly(v1::CreateCollectionRequest& request) {
    request.mutable_schema()->set_log_only(true);
  }
  absl::StatusOr<v1::TrimLogResponse> Trim(const std::string& collection, uint64_t up_to) {
    v1::TrimLogRequest request;
    request.set_collection_id(collection);
    request.set_up_to_seq_id(up_to);
    return Call(*log_, &v1::LogService::Stub::TrimLog, request);
  }

  double Gauge(const std::string& name) const {
    for (const auto& family : registry_->Collect()) {
      if (family.name == name) return family.metric.empty() ? 0 : family.metric[0].gauge.value;
    }
    ADD_FAILURE() << "there is no " << name;
    return 0;
  }
  // Metrics are brought up to date once a second; other things come as they come.
  template <class Condition>
  static bool Eventually(const Condition& condition) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!condition() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    return condition();
  }
  // Through a socket, where gRPC's limits and flow control are met: 64 KiB on their way, however
  // fast they go.
  static std::shared_ptr<v1::LogService::Stub> OverTcp(const std::string& address) {
    grpc::ChannelArguments args;
    args.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    return v1::LogService::NewStub(
        grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), args));
  }

  // A request_id made now, or some time ago.
  static std::string NewRequestId(std::chrono::milliseconds ago = std::chrono::milliseconds(0)) {
    const int64_t millis = NowMicros() / 1000 - ago.count();
    Uuid id = Uuid::TimeOrdered(NowMicros() / 1000);
    for (int i = 0; i < 6; ++i) id.bytes[i] = static_cast<uint8_t>(millis >> (40 - 8 * i));
    return id.ToString();
  }

  static std::string Text(const google::protobuf::Message& message) {
    return message.ShortDebugString();
  }

  testing::TempFolder folder_;
  server::ServerSettings common_;
  LogSettings settings_;
  std::shared_ptr<prometheus::Registry> registry_;
  std::unique_ptr<LogNode> node_;
  std::unique_ptr<server::Server> server_;
  std::unique_ptr<v1::LogService::Stub> log_;
  std::unique_ptr<v1::CatalogService::Stub> catalog_;
  std::unique_ptr<v1::CompactionService::Stub> compaction_;
  int collections_ = 0;
};

// What a call was refused with.
inline void ExpectRefused(const absl::Status& error, Reason reason) {
  EXPECT_EQ(error.code(), ReasonCode(reason)) << error;
  EXPECT_EQ(ReasonOf(error), reason) << error;
}

}  // namespace sluice::log

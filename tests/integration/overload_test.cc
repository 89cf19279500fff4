// Overload of a log as a process: whose limit it is is told apart, nothing refused is in, nothing
// accepted is lost, and who does not flood does not notice.
#include <gtest/gtest.h>

#include <deque>
#include <latch>
#include <memory>
#include <string>

#include "common/client/client.h"
#include "common/errors/errors.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace sluice::testing {
namespace {

v1::PushLogsRequest PushOf(const std::string& collection, const std::string& id, size_t bytes) {
  v1::PushLogsRequest request;
  request.set_collection_id(collection);
  v1::OperationRecord& record = *request.add_records();
  record.set_id(id);
  record.set_operation(v1::OPERATION_UPSERT);
  record.set_document(std::string(bytes, 'x'));
  return request;
}

class OverloadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto log =
        Process::Start({.program = BinaryPath("sluice-log"),
                        .environment = {{"SLUICE_LOG_DATA", (folder_.path() / "log").string()},
                                        {"SLUICE_LOG_PUSH_MAX_INFLIGHT_COLLECTION_BYTES", "1MiB"},
                                        {"SLUICE_SERVER_GRPC_ADDRESS", "127.0.0.1:0"},
                                        {"SLUICE_SERVER_HTTP_ADDRESS", "127.0.0.1:0"}}});
    ASSERT_TRUE(log.ok()) << log.status();
    log_ = *std::move(log);
    channel_ = client::Connect(log_->grpc_address());
    stub_ = v1::LogService::NewStub(channel_);
  }
  std::string NewCollection(const std::string& name, uint64_t max_backlog_bytes = 0) {
    v1::CreateCollectionRequest request;
    request.set_name(name);
    request.mutable_settings()->set_max_backlog_bytes(max_backlog_bytes);
    const auto created = client::Catalog(channel_).Create(request);
    EXPECT_TRUE(created.ok()) << created.status();
    return created.ok() ? created->collection().id() : "";
  }
  // One attempt.
  absl::Status Push(const v1::PushLogsRequest& request) {
    grpc::ClientContext context;
    v1::PushLogsResponse response;
    return FromGrpc(stub_->PushLogs(&context, request, &response), context);
  }

  TempFolder folder_;
  std::unique_ptr<Process> log_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::LogService::Stub> stub_;
};

TEST_F(OverloadTest, AFloodIsRefusedByItsCollectionsLimitAndTheOthersAreNot) {  // invariants 9, 10
  constexpr size_t kPushes = 64;
  const std::string flooded = NewCollection("flooded");
  const std::string other = NewCollection("other");
  struct Attempt {
    v1::PushLogsRequest request;
    v1::PushLogsResponse response;
    grpc::ClientContext context;
    absl::Status status;
  };
  size_t acknowledged = 0;
  size_t refused = 0;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (refused == 0 && std::chrono::steady_clock::now() < until) {
    std::deque<Attempt> attempts(kPushes);
    std::latch answered(kPushes);
    for (Attempt& attempt : attempts) {
      attempt.request = PushOf(flooded, "a", 400'000);
      stub_->async()->PushLogs(&attempt.context, &attempt.request, &attempt.response,
                               [&](const grpc::Status& status) {
                                 attempt.status = FromGrpc(status, attempt.context);
                                 answered.count_down();
                               });
    }
    EXPECT_TRUE(Push(PushOf(other, "a", 100)).ok());
    answered.wait();
    for (const Attempt& attempt : attempts) {
      if (attempt.status.ok()) {
        ++acknowledged;
        continue;
      }
      ++refused;
      EXPECT_EQ(ReasonOf(attempt.status), Reason::OVERLOADED) << attempt.status;
      EXPECT_EQ(ErrorMetadata(attempt.status, "limit"), "collection");
      EXPECT_EQ(OutcomeOf(attempt.status), Outcome::kNotIn);
      EXPECT_TRUE(RetryAfter(attempt.status));
    }
  }
  EXPECT_GT(refused, 0u);
  // Invariant 10: what was refused is not in, the rest is.
  const auto described = client::Log(channel_).Describe(*ParseCollectionId(flooded));
  ASSERT_TRUE(described.ok()) << described.status();
  EXPECT_EQ(described->tail_seq_id(), acknowledged);
}

TEST_F(OverloadTest, ABacklogIsToldApartAndSaysWhenToTryAgain) {  // invariant 9
  const std::string behind = NewCollection("behind", 1000);
  ASSERT_TRUE(Push(PushOf(behind, "a", 600)).ok());
  const absl::Status refused = Push(PushOf(behind, "b", 600));
  EXPECT_EQ(ReasonOf(refused), Reason::BACKLOG) << refused;
  EXPECT_EQ(OutcomeOf(refused), Outcome::kNotIn);
  EXPECT_EQ(RetryAfter(refused), std::chrono::seconds(1));
  EXPECT_TRUE(Push(PushOf(NewCollection("other"), "b", 600)).ok());
}

}  // namespace
}  // namespace sluice::testing

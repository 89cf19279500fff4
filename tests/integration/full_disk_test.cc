// A log as a process on a real file system that is filled: it turns read-only, is read from, starts
// again while there is no room, and goes on by itself once there is.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "common/client/client.h"
#include "common/errors/errors.h"
#include "common/server/fetch_for_test.h"
#include "tests/support/process.h"
#include "tests/support/small_disk.h"
#include "tests/support/temp_folder.h"

namespace sluice::testing {
namespace {

constexpr size_t kDocumentBytes = 50'000;

class FullDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (disk_.error() != 0) {
      GTEST_SKIP() << "no file system can be mounted here: " << std::strerror(disk_.error());
    }
    std::ofstream(filler()) << std::string(12 << 20, 'x');
    StartLog();
    v1::CreateCollectionRequest request;
    request.set_name("c");
    const auto created = client::Catalog(channel_).Create(request);
    ASSERT_TRUE(created.ok()) << created.status();
    collection_ = created->collection().id();
  }

  std::filesystem::path filler() const { return disk_.path() / "filler"; }

  void StartLog() {
    auto log = Process::Start({.program = BinaryPath("sluice-log"),
                               .environment = {{"SLUICE_LOG_DATA", disk_.path() / "log"},
                                               {"SLUICE_LOG_STORE_MEMTABLE_BYTES", "1MiB"},
                                               {"SLUICE_LOG_JOURNAL_FILE_BYTES", "1MiB"},
                                               {"SLUICE_SERVER_GRPC_ADDRESS", "127.0.0.1:0"},
                                               {"SLUICE_SERVER_HTTP_ADDRESS", "127.0.0.1:0"}}});
    ASSERT_TRUE(log.ok()) << log.status();
    log_ = *std::move(log);
    channel_ = client::Connect(log_->grpc_address());
    stub_ = v1::LogService::NewStub(channel_);
  }

  static std::string DocumentOf(const std::string& id) {
    return id + std::string(kDocumentBytes, static_cast<char>('a' + id.back() % 26));
  }

  // One attempt.
  absl::Status Push() {
    v1::PushLogsRequest request;
    request.set_collection_id(collection_);
    v1::OperationRecord& record = *request.add_records();
    const std::string id = std::to_string(next_id_++);
    record.set_id(id);
    record.set_operation(v1::OPERATION_UPSERT);
    record.set_document(DocumentOf(id));
    grpc::ClientContext context;
    // What is in the journal when the store cannot write is answered once it can.
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
    v1::PushLogsResponse response;
    const absl::Status pushed = FromGrpc(stub_->PushLogs(&context, request, &response), context);
    if (pushed.ok()) acknowledged_.push_back(id);
    if (!pushed.ok() && OutcomeOf(pushed) != Outcome::kNotIn) unknown_.push_back(id);
    return pushed;
  }

  // Pushes until the disk is full, which the log says.
  void Fill() {
    absl::Status refused;
    for (int i = 0; i < 2'000 && refused.ok(); ++i) refused = Push();
    ASSERT_FALSE(refused.ok()) << "the disk is larger than that";
    // The one that met the full disk may be in.
    if (OutcomeOf(refused) != Outcome::kNotIn) refused = Push();
    EXPECT_EQ(ReasonOf(refused), Reason::READ_ONLY) << refused;
    EXPECT_EQ(OutcomeOf(refused), Outcome::kNotIn);
    EXPECT_TRUE(RetryAfter(refused));
  }

  void MakeRoomAndAwaitWrites() {
    std::filesystem::remove(filler());
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    absl::Status pushed = Push();
    while (!pushed.ok() && std::chrono::steady_clock::now() < until) pushed = Push();
    EXPECT_TRUE(pushed.ok()) << pushed;
  }

  int StatusOf(const std::string& path) {
    return server::Fetch(log_->http_address(), "GET", path).status;
  }
  // The gauge is set once a second.
  bool AwaitGauge(const std::string& line) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (server::Fetch(log_->http_address(), "GET", "/metrics").body.find("\n" + line + "\n") ==
           std::string::npos) {
      if (std::chrono::steady_clock::now() > until) return false;
    }
    return true;
  }

  // Invariants 1 and 2: what was acknowledged is there, in order; nothing that was refused is.
  void ExpectWhatWasAcknowledged() {
    client::Log log(channel_);
    std::vector<std::string> ids;
    v1::PullLogsRequest request;
    request.set_collection_id(collection_);
    for (;;) {
      request.set_start_seq_id(ids.size());
      const auto pulled = log.Pull(request);
      ASSERT_TRUE(pulled.ok()) << pulled.status();
      for (const v1::Append& append : pulled->appends()) {
        for (const v1::OperationRecord& record : append.records()) {
          EXPECT_TRUE(record.document() == DocumentOf(record.id())) << record.id();
          ids.push_back(record.id());
        }
      }
      if (ids.size() == pulled->tail_seq_id()) break;
    }
    std::erase_if(ids, [this](const std::string& id) {
      return std::find(unknown_.begin(), unknown_.end(), id) != unknown_.end();
    });
    EXPECT_EQ(ids, acknowledged_);
  }

  TempFolder folder_;
  SmallDisk disk_{folder_.path() / "disk", 40};
  std::unique_ptr<Process> log_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::LogService::Stub> stub_;
  std::string collection_;
  int next_id_ = 0;
  std::vector<std::string> acknowledged_;
  std::vector<std::string> unknown_;
};

TEST_F(FullDiskTest, ALogOnAFullDiskIsReadStartsAgainAndGoesOnOnceThereIsRoom) {  // 1, 9 and 10
  ASSERT_NO_FATAL_FAILURE(Fill());
  ASSERT_NO_FATAL_FAILURE(ExpectWhatWasAcknowledged());
  log_->Kill();
  ASSERT_NO_FATAL_FAILURE(StartLog());
  ASSERT_NO_FATAL_FAILURE(ExpectWhatWasAcknowledged());
  MakeRoomAndAwaitWrites();
  ASSERT_NO_FATAL_FAILURE(ExpectWhatWasAcknowledged());
}

TEST_F(FullDiskTest, ItIsAliveAndNotReadyMeanwhileAndTheSameProcessGoesOn) {  // 1, 9 and 10
  EXPECT_EQ(StatusOf("/readyz"), 200);
  ASSERT_NO_FATAL_FAILURE(Fill());
  EXPECT_EQ(StatusOf("/readyz"), 503);
  EXPECT_EQ(StatusOf("/livez"), 200);
  EXPECT_TRUE(AwaitGauge("sluice_log_read_only_shards 1"));
  MakeRoomAndAwaitWrites();
  EXPECT_EQ(StatusOf("/readyz"), 200);
  EXPECT_EQ(StatusOf("/livez"), 200);
  EXPECT_TRUE(AwaitGauge("sluice_log_read_only_shards 0"));
  ASSERT_NO_FATAL_FAILURE(ExpectWhatWasAcknowledged());
}

}  // namespace
}  // namespace sluice::testing

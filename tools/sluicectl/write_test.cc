// Writes from a file or a pipe, against a server in this process that answers as the test says.
#include <gmock/gmock.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "common/base/ids.h"
#include "common/errors/errors.h"
#include "tools/sluicectl/commands.h"

namespace sluice::ctl {
namespace {

class FakeServer : public v1::FrontendService::Service, public v1::CatalogService::Service {
 public:
  FakeServer() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(static_cast<v1::FrontendService::Service*>(this));
    builder.RegisterService(static_cast<v1::CatalogService::Service*>(this));
    server_ = builder.BuildAndStart();
  }
  ~FakeServer() override { server_->Shutdown(std::chrono::system_clock::now()); }

  Flags flags() const {
    Flags flags;
    flags.server = absl::StrCat("127.0.0.1:", port_);
    flags.timeout_s = 0.3;
    flags.json = true;
    return flags;
  }

  // An add of a record with this id gets this error.
  std::map<std::string, absl::Status> errors;
  std::vector<std::string> ids() {
    std::lock_guard lock(mutex_);
    return ids_;
  }

 private:
  grpc::Status GetCollection(grpc::ServerContext* context, const v1::GetCollectionRequest* request,
                             v1::GetCollectionResponse* response) override {
    if (request->collection().name() == "absent") {
      return ToGrpc(MakeError(Reason::COLLECTION_NOT_FOUND, "there is none"), context);
    }
    response->mutable_collection()->set_id(CollectionId(Uuid::Random()).ToString());
    return grpc::Status::OK;
  }
  grpc::Status Add(grpc::ServerContext* context, const v1::WriteRequest* request,
                   v1::WriteResponse* response) override {
    for (const auto& record : request->records()) {
      const auto error = errors.find(record.id());
      if (error != errors.end()) return ToGrpc(error->second, context);
    }
    std::lock_guard lock(mutex_);
    response->set_first_seq_id(ids_.size() + 1);
    response->set_count(static_cast<uint32_t>(request->records_size()));
    for (const auto& record : request->records()) ids_.push_back(record.id());
    return grpc::Status::OK;
  }

  int port_ = 0;
  std::mutex mutex_;
  std::vector<std::string> ids_;
  std::unique_ptr<grpc::Server> server_;
};

class WriteTest : public testing::Test {
 protected:
  struct Result {
    absl::Status status;
    Json printed;
  };

  ~WriteTest() override { std::filesystem::remove(path_); }

  Result Add(const std::string& text, size_t batch, const std::string& collection = "c") {
    std::ofstream(path_) << text;
    Session session(server_.flags());
    WriteArguments arguments{
        .collection = collection, .file = path_.string(), .batch = batch, .under_way = 1};
    testing::internal::CaptureStdout();
    Result result;
    result.status = Write(session, v1::OPERATION_ADD, arguments);
    const std::string printed = testing::internal::GetCapturedStdout();
    if (!printed.empty()) result.printed = Json::parse(printed);
    return result;
  }

  FakeServer server_;
  const std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / ("sluice-write-" + Uuid::Random().ToString());
};

TEST_F(WriteTest, EveryLineIsSentInOrder) {
  const Result result = Add("{\"id\":\"a\"}\n{\"id\":\"b\"}\n\n{\"id\":\"c\"}", 2);
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_THAT(server_.ids(), testing::ElementsAre("a", "b", "c"));
  EXPECT_EQ(result.printed["records"], 3);
  EXPECT_EQ(result.printed["requests"], 2);
  EXPECT_EQ(result.printed["last_seq_id"], 3);
  EXPECT_FALSE(result.printed.contains("in_before_line"));
}

TEST_F(WriteTest, BeforeABadLineEverythingIsSentAndNothingAfterIt) {
  const Result result = Add("{\"id\":\"a\"}\n\n{\"id\":7}\n{\"id\":\"b\"}\n", 10);
  EXPECT_EQ(result.status.message(), absl::StrCat(path_.string(), ":3: id: expected a string"));
  EXPECT_EQ(ExitStatus(result.status, true), 2);
  EXPECT_THAT(server_.ids(), testing::ElementsAre("a"));
  EXPECT_EQ(result.printed["in_before_line"], 3);
}

// Invariant 7: a record that is not taken is named to its writer.
TEST_F(WriteTest, ARecordThatTheServerRefusesIsNamedByItsLine) {
  server_.errors["c"] = WithOutcome(
      MakeError(Reason::INVALID_RECORD, "records[0].id: no", {{"record", "0"}}), Outcome::kNotIn);
  const Result result = Add("{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":\"c\"}\n{\"id\":\"d\"}\n", 2);
  EXPECT_TRUE(absl::string_view(result.status.message()).find(":3: records[0].id: no") !=
              absl::string_view::npos)
      << result.status;
  EXPECT_EQ(ExitStatus(result.status, true), 2);
  EXPECT_EQ(result.printed["records"], 2);
  EXPECT_EQ(result.printed["in_before_line"], 3);
}

// Invariant 10.
TEST_F(WriteTest, AnErrorThatSaysNothingEndsWithStatus3) {
  server_.errors["a"] = absl::UnavailableError("gone");
  EXPECT_EQ(ExitStatus(Add("{\"id\":\"a\"}\n", 1).status, true), 3);
}

TEST_F(WriteTest, NoSuchCollectionEndsWithStatus4AndNoSuchFileWithStatus2) {
  EXPECT_EQ(ExitStatus(Add("{\"id\":\"a\"}\n", 1, "absent").status, true), 4);
  Session session(server_.flags());
  const absl::Status status =
      Write(session, v1::OPERATION_ADD, {.collection = "c", .file = "/no/such"});
  EXPECT_EQ(ExitStatus(status, true), 2);
  EXPECT_EQ(status.message(), "/no/such: No such file or directory");
}

}  // namespace
}  // namespace sluice::ctl

// The examples of tools/examples, run as a user runs them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "common/client/client.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace sluice::testing {
namespace {

using ::testing::HasSubstr;

class ExamplesTest : public ::testing::Test {
 protected:
  void SetUp() override { StartServer("127.0.0.1:0"); }

  void StartServer(const std::string& address) {
    auto server = Process::Start({.program = BinaryPath("sluice-log"),
                                  .environment = {{"SLUICE_LOG_DATA", folder_.path() / "log"},
                                                  {"SLUICE_SERVER_GRPC_ADDRESS", address},
                                                  {"SLUICE_SERVER_HTTP_ADDRESS", "127.0.0.1:0"}}});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  // Debian's own interpreter, whose gRPC the example uses.
  ProcessOptions PythonExample(std::vector<std::string> arguments) const {
    const std::filesystem::path build = BinaryPath("x").parent_path().parent_path();
    arguments.insert(arguments.begin(), {SLUICE_SOURCE_DIR "/tools/examples/push_and_subscribe.py",
                                         "--server", server_->grpc_address()});
    return {.program = "/usr/bin/python3",
            .arguments = std::move(arguments),
            .environment = {{"PYTHONPATH", build / "python"}}};
  }

  // Follows the log of the collection `example` until it has a record of this SeqId.
  void AwaitRecord(uint64_t seq_id) const {
    const auto channel = client::Connect(server_->grpc_address());
    client::Catalog catalog(channel);
    v1::CreateCollectionRequest request;
    request.set_name("example");
    request.set_get_or_create(true);
    const auto collection = catalog.Create(request);
    ASSERT_TRUE(collection.ok()) << collection.status();
    v1::SubscribeRequest subscribe;
    subscribe.set_collection_id(collection->collection().id());
    subscribe.set_end_seq_id(seq_id);
    const auto subscription = client::Log(channel).Subscribe(subscribe);
    v1::SubscribeResponse message;
    for (;;) {
      const auto more = subscription->Next(&message);
      ASSERT_TRUE(more.ok()) << more.status();
      if (!*more) return;
    }
  }

  TempFolder folder_;
  std::unique_ptr<Process> server_;
};

TEST_F(ExamplesTest, TheCppExampleSeesWhatItPushed) {
  const auto done = RunToEnd(
      {.program = BinaryPath("push_and_subscribe"), .arguments = {server_->grpc_address()}});
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->exit_status, 0) << done->error_output;
  EXPECT_THAT(done->output, HasSubstr("saw 1000 records in order, up to SeqId 1000"));
}

TEST_F(ExamplesTest, ThePythonExampleGoesOnWhereItStopped) {
  const std::string position = folder_.path() / "position";
  for (const char* expected : {"pushed 300 records and saw 300 in order, up to SeqId 300",
                               "pushed 300 records and saw 300 in order, up to SeqId 600"}) {
    const auto done = RunToEnd(PythonExample({"--records", "300", "--position", position}));
    ASSERT_TRUE(done.ok()) << done.status();
    EXPECT_EQ(done->exit_status, 0) << done->error_output;
    EXPECT_THAT(done->output, HasSubstr(expected));
  }
}

// Invariants 1, 3 and 4, by a client that is not ours: were an append lost, repeated or skipped,
// the example would not come to that end.
TEST_F(ExamplesTest, ThePythonExampleLivesThroughAKilledLog) {
  auto example = std::async(std::launch::async, [options = PythonExample({"--records", "20000"})] {
    return RunToEnd(options);
  });
  const std::string address = server_->grpc_address();
  for (const uint64_t reached : {2'000, 6'000, 12'000}) {
    AwaitRecord(reached);
    server_->Kill();
    StartServer(address);
  }
  const auto done = example.get();
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->exit_status, 0) << done->error_output;
  EXPECT_THAT(done->output,
              HasSubstr("pushed 20000 records and saw 20000 in order, up to SeqId 20000"));
}

}  // namespace
}  // namespace sluice::testing

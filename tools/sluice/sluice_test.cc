// The one-process program, as a real process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <thread>

#include "common/client/client.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace sluice {
namespace {

using testing::BinaryPath;
using ::testing::HasSubstr;
using testing::Process;
using testing::ProcessOptions;
using testing::RunToEnd;

constexpr char kAnyPort[] = "127.0.0.1:0";

class SluiceTest : public ::testing::Test {
 protected:
  ProcessOptions Options(std::string grpc_address = kAnyPort) const {
    return {.program = BinaryPath("sluice"),
            .arguments = {"--data", (folder_.path() / "data").string()},
            .environment = {{"SLUICE_SERVER_GRPC_ADDRESS", std::move(grpc_address)},
                            {"SLUICE_SERVER_HTTP_ADDRESS", kAnyPort}}};
  }
  std::unique_ptr<Process> Start(std::string grpc_address = kAnyPort) {
    auto started = Process::Start(Options(std::move(grpc_address)));
    EXPECT_TRUE(started.ok()) << started.status();
    return started.ok() ? *std::move(started) : nullptr;
  }

  static v1::CollectionRef Notes() {
    v1::CollectionRef notes;
    notes.set_name("notes");
    return notes;
  }
  static void CreateNotes(const std::shared_ptr<grpc::Channel>& channel) {
    v1::CreateCollectionRequest create;
    create.set_name("notes");
    create.mutable_schema()->mutable_embedder()->set_kind("hashing");
    create.mutable_settings()->mutable_compaction()->set_max_age_ms(10);
    ASSERT_TRUE(client::Catalog(channel).Create(create).ok());
  }
  static v1::WriteRequest Note(const std::string& id, const std::string& document) {
    v1::WriteRequest write;
    *write.mutable_collection() = Notes();
    write.add_records()->set_id(id);
    write.mutable_records(0)->set_document(document);
    return write;
  }
  static uint64_t Count(const std::shared_ptr<grpc::Channel>& channel) {
    v1::CountRequest request;
    *request.mutable_collection() = Notes();
    const auto count = client::Frontend(channel).Count(request);
    EXPECT_TRUE(count.ok()) << count.status();
    return count.ok() ? count->count() : 0;
  }
  // The id nearest to `text` in what is in the segments, after `seq_id` is.
  static std::string NearestApplied(const std::shared_ptr<grpc::Channel>& channel,
                                    const std::string& text, uint64_t seq_id) {
    v1::QueryRequest query;
    *query.mutable_collection() = Notes();
    query.set_text(text);
    query.mutable_level()->set_kind(v1::ReadLevel::KIND_AT_LEAST);
    query.mutable_level()->set_seq_id(seq_id);
    const auto hits = client::Frontend(channel).Query(query);
    EXPECT_TRUE(hits.ok()) << hits.status();
    return hits.ok() && hits->hits_size() > 0 ? hits->hits(0).row().id() : "";
  }

  const testing::TempFolder folder_;
};

TEST_F(SluiceTest, WhatIsAddedIsAppliedFoundAndThereAfterARestart) {
  {
    const auto sluice = Start();
    ASSERT_NE(sluice, nullptr);
    const auto channel = client::Connect(sluice->grpc_address());
    CreateNotes(channel);
    client::Frontend frontend(channel);
    ASSERT_TRUE(frontend.Add(Note("a", "a ledger of rivers")).ok());
    const auto added = frontend.Add(Note("b", "an orchard of clocks"));
    ASSERT_TRUE(added.ok()) << added.status();
    EXPECT_EQ(NearestApplied(channel, "orchard clocks", added->first_seq_id()), "b");
    EXPECT_EQ(sluice->Stop(), 0) << sluice->ErrorOutput();
    EXPECT_THAT(sluice->ErrorOutput(),
                ::testing::Not(::testing::ContainsRegex("Z (warning|error) ")));
  }
  const auto sluice = Start();
  ASSERT_NE(sluice, nullptr);
  const auto channel = client::Connect(sluice->grpc_address());
  EXPECT_EQ(Count(channel), 2U);
  EXPECT_EQ(NearestApplied(channel, "ledger rivers", 2), "a");
}

// Invariants 1, 3 and 10: nothing acknowledged is lost, and what was refused while stopping goes in
// once, on retry.
TEST_F(SluiceTest, SigtermUnderLoadEndsWellAndLosesNothing) {
  auto sluice = Start();
  ASSERT_NE(sluice, nullptr);
  const std::string address = sluice->grpc_address();
  const auto channel = client::Connect(address);
  CreateNotes(channel);
  std::atomic<bool> enough = false;
  std::atomic<uint64_t> acknowledged = 0;
  std::vector<std::jthread> writers;
  for (int w = 0; w < 4; ++w) {
    writers.emplace_back([&, w] {
      client::Frontend frontend(client::Connect(address));
      for (int i = 0; !enough; ++i) {
        const auto added =
            frontend.Add(Note(std::to_string(w) + "-" + std::to_string(i), "a note"));
        EXPECT_TRUE(added.ok()) << added.status();
        if (!added.ok()) return;
        ++acknowledged;
      }
    });
  }
  for (int round = 0; round < 3; ++round) {
    const uint64_t before = acknowledged;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (acknowledged < before + 50 && std::chrono::steady_clock::now() < deadline)
      std::this_thread::yield();
    ASSERT_GE(acknowledged, before + 50);
    EXPECT_EQ(sluice->Stop(), 0) << sluice->ErrorOutput();
    sluice = Start(address);
    ASSERT_NE(sluice, nullptr);
  }
  enough = true;
  writers.clear();
  EXPECT_EQ(Count(channel), acknowledged);
}

TEST_F(SluiceTest, ADataFolderInUseIsSaid) {
  const auto first = Start();
  ASSERT_NE(first, nullptr);
  const auto second = RunToEnd(Options());
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->exit_status, 1);
  EXPECT_THAT(second->error_output, HasSubstr((folder_.path() / "data").string()));
  EXPECT_THAT(second->error_output, HasSubstr("in use"));
}

TEST_F(SluiceTest, APortInUseIsSaid) {
  const auto first = Start();
  ASSERT_NE(first, nullptr);
  ProcessOptions options = Options(first->grpc_address());
  options.arguments = {"--data", (folder_.path() / "other").string()};
  const auto second = RunToEnd(options);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->exit_status, 1);
  EXPECT_THAT(second->error_output, HasSubstr("sluice: cannot listen on " + first->grpc_address() +
                                              ": Address already in use"));
}

TEST_F(SluiceTest, WhatPrintConfigPrintsIsAConfigFileThatSaysTheSame) {
  ProcessOptions options = Options();
  options.arguments.push_back("--print-config");
  const auto printed = RunToEnd(options);
  ASSERT_TRUE(printed.ok()) << printed.status();
  ASSERT_EQ(printed->exit_status, 0) << printed->error_output;
  const std::string file = (folder_.path() / "sluice.yaml").string();
  std::ofstream(file) << printed->output;
  const auto again = RunToEnd({.program = BinaryPath("sluice"),
                               .arguments = {"--config", file, "--print-config"},
                               .environment = {}});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->exit_status, 0) << again->error_output;
  EXPECT_EQ(again->output, printed->output);
}

// The one data folder decides where the log and the segments are.
TEST_F(SluiceTest, FoldersOfTheServicesCannotBeGiven) {
  const std::string file = (folder_.path() / "sluice.yaml").string();
  std::ofstream(file) << "data: x\nlog:\n  data: /elsewhere\n";
  const auto run = RunToEnd(
      {.program = BinaryPath("sluice"), .arguments = {"--config", file}, .environment = {}});
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->exit_status, 2);
  EXPECT_THAT(run->error_output, HasSubstr(file + ":3: log.data: no such setting"));
}

}  // namespace
}  // namespace sluice

// sluicectl against a real server, as scripts use it: JSON out, exit status in hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <future>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace sluice::testing {
namespace {

using Json = nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SluicectlTest : public ::testing::Test {
 protected:
  void SetUp() override { StartServer("127.0.0.1:0"); }

  void StartServer(const std::string& address) {
    auto server = Process::Start({.program = BinaryPath("sluice"),
                                  .arguments = {"--data", folder_.path() / "data"},
                                  .environment = {{"SLUICE_SERVER_GRPC_ADDRESS", address},
                                                  {"SLUICE_SERVER_HTTP_ADDRESS", "127.0.0.1:0"}}});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    address_ = server_->grpc_address();
  }

  Finished Run(std::vector<std::string> arguments, const std::string& input = "") const {
    arguments.insert(arguments.begin(), "--json");
    auto finished = RunToEnd({.program = BinaryPath("sluicectl"),
                              .arguments = std::move(arguments),
                              .environment = {{"SLUICE_SERVER", address_}}},
                             input);
    EXPECT_TRUE(finished.ok()) << finished.status();
    return finished.ok() ? *std::move(finished) : Finished();
  }
  // The JSON of a command that has to succeed.
  Json Do(std::vector<std::string> arguments, const std::string& input = "") const {
    const Finished finished = Run(std::move(arguments), input);
    EXPECT_EQ(finished.exit_status, 0) << finished.error_output;
    return finished.exit_status == 0 ? Json::parse(finished.output) : Json();
  }

  static std::vector<std::string> IdsOf(const Json& rows) {
    std::vector<std::string> ids;
    for (const Json& row : rows) ids.push_back(row["id"]);
    return ids;
  }

  TempFolder folder_;
  std::unique_ptr<Process> server_;
  std::string address_;
};

TEST_F(SluicectlTest, OutputThatIsLostIsNoSuccess) {
  Do({"collections", "create", "c"});
  const auto with_full_disk = [&](const std::string& arguments) {
    auto finished = RunToEnd(
        {.program = "/bin/sh",
         .arguments = {"-c", BinaryPath("sluicectl").string() + " " + arguments + " > /dev/full"},
         .environment = {{"SLUICE_SERVER", address_}}},
        R"({"id":"a"})");
    EXPECT_TRUE(finished.ok()) << finished.status();
    return finished.ok() ? finished->exit_status : -1;
  };
  // The records are in, which 1 would deny.
  EXPECT_EQ(with_full_disk("add c"), 3);
  EXPECT_EQ(with_full_disk("count c"), 1);
  EXPECT_EQ(with_full_disk("get c --all"), 1);
  EXPECT_EQ(with_full_disk("tail c"), 1);
}

TEST_F(SluicectlTest, RecordsGoInAreAppliedFoundChangedAndRemoved) {
  Do({"collections", "create", "c", "--embedder", "hashing", "--max-age-ms", "10"});
  const Json added =
      Do({"add", "c"}, R"({"id":"a","document":"the quick brown fox","metadata":{"n":1}})"
                       "\n"
                       R"({"id":"b","document":"a slow grey tortoise","uri":"u:b"})");
  EXPECT_EQ(added["records"], 2);
  EXPECT_EQ(added["last_seq_id"], 2);
  EXPECT_EQ(Do({"wait", "c"})["applied_seq_id"], 2);
  EXPECT_EQ(Do({"lag", "c"})["collections"][0]["lag_records"], 0);
  EXPECT_EQ(Do({"count", "c", "--applied"})["count"], 2);
  EXPECT_TRUE(Do({"missing", "c", "--reason", "refused", "--retry"})["missing"].empty());
  EXPECT_EQ(Do({"collections", "describe", "c"})["missing_vectors"], 0);
  EXPECT_THAT(IdsOf(Do({"query", "c", "--text", "grey tortoise", "-k", "1"})["hits"]),
              ElementsAre("b"));

  Do({"update", "c"}, R"({"id":"a","metadata":{"n":null,"m":true}})");
  const Json row = Do({"get", "c", "a"})["rows"][0];
  EXPECT_EQ(row["document"], "the quick brown fox");
  EXPECT_EQ(row["metadata"], Json({{"m", true}}));
  Do({"delete", "c", "--id", "b"});
  EXPECT_EQ(Do({"count", "c"})["count"], 1);

  Do({"collections", "delete", "c"});
  EXPECT_EQ(Do({"collections", "list"})["collections"], Json::array());
}

TEST_F(SluicectlTest, WhatTailPrintsIsWhatWasWritten) {
  Do({"collections", "create", "c"});
  const std::string line = R"({"id":"a","document":"d","metadata":{"f":1.5},"vector":[0.25,-1.0]})";
  Do({"upsert", "c"}, line);
  Do({"delete", "c", "--id", "a"});
  std::istringstream lines(Run({"tail", "c"}).output);
  std::string first, second;
  std::getline(lines, first);
  std::getline(lines, second);
  Json record = Json::parse(first);
  EXPECT_EQ(record["seq_id"], 1);
  EXPECT_EQ(record["operation"], "upsert");
  for (const char* key : {"seq_id", "operation", "commit_time_us"}) record.erase(key);
  EXPECT_EQ(record, Json::parse(line));
  EXPECT_EQ(Json::parse(second)["operation"], "delete");
  EXPECT_EQ(Run({"tail", "c", "--from", "2"}).output, "");
}

// Invariant 10: scripts can trust the exit status.
TEST_F(SluicectlTest, TheExitStatusSaysWhatHappened) {
  Do({"collections", "create", "c", "--dimension", "2"});
  EXPECT_EQ(Run({"collections", "create", "c"}).exit_status, 1);
  EXPECT_EQ(Run({"no-such-command"}).exit_status, 2);
  EXPECT_EQ(Run({"count", "absent"}).exit_status, 4);
  EXPECT_EQ(Run({"add", "absent"}, R"({"id":"a"})").exit_status, 4);
  EXPECT_EQ(Run({"tail", "c", "--from", "7"}).exit_status, 1);
  EXPECT_EQ(Run({"wait", "c", "--seq-id", "7", "--timeout", "0.2"}).exit_status, 5);

  const Finished bad_record = Run({"add", "c"}, R"({"id":"a","vector":[1,2,3]})");
  EXPECT_EQ(bad_record.exit_status, 2);
  EXPECT_THAT(bad_record.error_output, HasSubstr("standard input:1: records[0].vector"));
  const Finished bad_line =
      Run({"add", "c"}, "{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":3}\n{\"id\":\"d\"}");
  EXPECT_EQ(bad_line.exit_status, 2);
  EXPECT_THAT(bad_line.error_output, HasSubstr("standard input:3: id: expected a string"));
  EXPECT_EQ(Json::parse(bad_line.output)["in_before_line"], 3);
  EXPECT_EQ(Do({"count", "c"})["count"], 2);

  server_->Kill();
  EXPECT_EQ(Run({"count", "c", "--timeout", "0.2"}).exit_status, 5);
}

// Invariants 1 and 3: each record is in once, whichever replies were lost.
TEST_F(SluicectlTest, AFileGoesInOnceWhileTheServerIsKilledAndStartedAgain) {
  constexpr int kRecords = 30'000;
  const std::filesystem::path file = folder_.path() / "records.jsonl";
  {
    std::ofstream out(file);
    for (int i = 0; i < kRecords; ++i)
      out << R"({"id":"r)" << i << R"(","document":"text"})" << '\n';
  }
  Do({"collections", "create", "c"});
  auto adding = std::async(std::launch::async, [&] {
    return Run({"add", "c", file.string(), "--batch", "50", "--in-flight", "4"});
  });
  for (const int reached : {3'000, 15'000}) {
    while (Do({"count", "c"})["count"] < reached) {
    }
    server_->Kill();
    StartServer(address_);
  }
  const Finished added = adding.get();
  ASSERT_EQ(added.exit_status, 0) << added.error_output;
  EXPECT_EQ(Json::parse(added.output)["records"], kRecords);
  EXPECT_EQ(Json::parse(added.output)["last_seq_id"], kRecords) << "a record went in twice";
  EXPECT_EQ(Do({"count", "c"})["count"], kRecords);
}

}  // namespace
}  // namespace sluice::testing

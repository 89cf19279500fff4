// sluicectl against a real server, as scripts use it: JSON out, exit status in hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <future>
#include <nlohmann/json.hpp>
#include <utility>

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

TEST_F(SluicectlTest, TheClockIsShownAndCorrected) {
  constexpr int64_t kSecond = 1'000'000;
  const Json shown = Do({"clock"});
  EXPECT_NEAR(shown["clock_time_us"], shown["wall_time_us"], 10 * kSecond);
  EXPECT_GE(shown["log_time_us"], shown["clock_time_us"]);
  const Json corrected = Do({"clock", "--correct"});
  EXPECT_EQ(corrected["clock_time_us"], corrected["wall_time_us"]);
  EXPECT_GE(corrected["log_time_us"], shown["log_time_us"]);
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

std::vector<uint64_t> SeqIdsIn(const std::string& lines) {
  std::vector<uint64_t> seq_ids;
  std::istringstream in(lines);
  for (std::string line; std::getline(in, line);) seq_ids.push_back(Json::parse(line)["seq_id"]);
  return seq_ids;
}

TEST_F(SluicectlTest, ALogOnlyCollectionIsFollowedWithACursorThatIsMovedAndMovedBack) {
  const Json created = Do({"collections", "create", "c", "--log-only", "--retain-ms", "60000"});
  EXPECT_EQ(created["schema"]["log_only"], true);
  EXPECT_EQ(created["settings"]["retention"]["max_age_ms"], 60'000);
  Do({"add", "c"}, "{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":\"c\"}");
  EXPECT_THAT(SeqIdsIn(Run({"tail", "c", "--cursor", "mine", "--from", "1"}).output),
              ElementsAre(2, 3));
  EXPECT_EQ(Do({"cursors", "get", "c", "mine"})["seq_id"], 3);
  EXPECT_EQ(Run({"tail", "c", "--cursor", "mine"}).output, "");
  Do({"add", "c"}, R"({"id":"d"})");
  EXPECT_THAT(SeqIdsIn(Run({"tail", "c", "--cursor", "mine"}).output), ElementsAre(4));
  EXPECT_EQ(Do({"cursors", "rollback", "c", "mine", "2"})["seq_id"], 2);
  EXPECT_THAT(SeqIdsIn(Run({"tail", "c", "--cursor", "mine"}).output), ElementsAre(3, 4));

  EXPECT_EQ(Do({"cursors", "commit", "c", "other", "2", "--expected", "0"})["seq_id"], 2);
  EXPECT_EQ(Run({"cursors", "commit", "c", "other", "3", "--expected", "1"}).exit_status, 1);
  const Json listed = Do({"cursors", "list", "c"});
  ASSERT_EQ(listed["cursors"].size(), 2);
  EXPECT_EQ(listed["cursors"][0]["name"], "mine");
  EXPECT_EQ(listed["cursors"][1]["state"], "active");
  EXPECT_EQ(Do({"cursors", "delete", "c", "other"})["seq_id"], 2);
  EXPECT_EQ(Run({"cursors", "delete", "c", "other"}).exit_status, 4);
  EXPECT_EQ(Run({"cursors", "get", "c", "other"}).exit_status, 4);

  const Json updated = Do({"collections", "update", "c", "--retain-bytes", "5000"});
  EXPECT_EQ(updated["settings"]["retention"]["max_bytes"], 5000);
  EXPECT_EQ(updated["settings"]["retention"]["max_age_ms"], 60'000) << "what is not given stays";
  const Json described = Do({"collections", "describe", "c"});
  EXPECT_EQ(described["cursors"][0]["seq_id"], 4);
  EXPECT_EQ(described["unapplied_bytes"], 0);
  EXPECT_EQ(Do({"lag", "c"})["collections"][0]["lag_records"], 0);
}

// Invariant 4: killed at any moment, one that follows with a cursor goes on without missing a
// record.
TEST_F(SluicectlTest, OneThatFollowsWithACursorGoesOnWhereItsCursorStands) {
  Do({"collections", "create", "c", "--log-only"});
  std::string lines;
  const std::string line = R"({"id":"a","document":")" + std::string(1'000, 'x') + "\"}\n";
  for (int i = 0; i < 5'000; ++i) lines += line;
  Do({"add", "c", "--batch", "10"}, lines);
  uint64_t printed = 0;
  uint64_t at = 0;
  // Killed later each time that the cursor had not moved yet.
  uint64_t lines_until_kill = 700;
  for (int run = 1; printed < 5'000; ++run) {
    ASSERT_LE(run, 100) << "it does not go on";
    const uint64_t enough = std::min<uint64_t>(lines_until_kill, 5'000 - at);
    const std::string file = folder_.path() / absl::StrCat("printed", run);
    const auto ended =
        RunToEnd({.program = "/bin/sh",
                  .arguments = {"-c", absl::StrCat(BinaryPath("sluicectl").string(),
                                                   " --json follow c --cursor mine > ", file,
                                                   " & until [ $(wc -l < ", file, ") -ge ", enough,
                                                   " ]; do :; done; kill -9 $!")},
                  .environment = {{"SLUICE_SERVER", address_}}});
    ASSERT_TRUE(ended.ok()) << ended.status();
    std::ifstream in(file);
    std::stringstream text;
    text << in.rdbuf();
    const std::string all = text.str();
    const auto seq_ids = SeqIdsIn(all.substr(0, all.rfind('\n') + 1));
    ASSERT_GE(seq_ids.size(), enough);
    for (size_t i = 1; i < seq_ids.size(); ++i) ASSERT_EQ(seq_ids[i], seq_ids[i - 1] + 1);
    ASSERT_LE(seq_ids.front(), printed + 1) << "a record was missed";
    printed = std::max(printed, seq_ids.back());
    const uint64_t before = std::exchange(at, Do({"cursors", "get", "c", "mine"})["seq_id"]);
    lines_until_kill = at == before ? lines_until_kill + 700 : 700;
    ASSERT_LE(at, printed) << "the cursor is beyond what was printed";
  }
}

// What reads need is not there, and they say so.
TEST_F(SluicectlTest, OfALogOnlyCollectionThereIsNothingToQuery) {
  Do({"collections", "create", "c", "--log-only"});
  Do({"add", "c"}, R"({"id":"a","vector":[1,2]})");
  for (const std::vector<std::string>& read : {std::vector<std::string>{"count", "c"},
                                               {"count", "c", "--applied"},
                                               {"get", "c", "a"},
                                               {"query", "c", "--vector", "[1,2]"},
                                               {"count", "c", "--at-least", "1"}}) {
    const Finished finished = Run(read);
    EXPECT_EQ(finished.exit_status, 1);
    EXPECT_THAT(finished.error_output, HasSubstr("LOG_ONLY"));
  }
  EXPECT_EQ(Run({"collections", "create", "d", "--log-only", "--embedder", "hashing"}).exit_status,
            2);
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

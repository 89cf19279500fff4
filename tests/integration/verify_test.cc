// `sluicectl verify` of a log that runs and is written to, and of one that does not run: damage is
// named by file, collection and SeqIds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/crc32c.h"
#include "common/client/client.h"
#include "tests/support/cluster.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::Cluster;

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class VerifyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto cluster = Cluster::Start(
        {.compactors = 0, .frontends = 0},
        {{"SLUICE_LOG_DATA", data_.string()}, {"SLUICE_LOG_STORE_MEMTABLE_BYTES", "1MiB"}});
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
    const auto channel = client::Connect(cluster_->address(cluster_->log()));
    v1::CreateCollectionRequest request;
    request.set_name("events");
    request.mutable_schema()->set_log_only(true);
    const auto created = client::Catalog(channel).Create(request);
    ASSERT_TRUE(created.ok()) << created.status();
    collection_ = created->collection().id();
    log_ = std::make_unique<client::Log>(channel);
  }

  // A record whose document has its SeqId in it.
  static std::string Mark(uint64_t seq_id) { return absl::StrCat("<record ", seq_id, ">"); }
  void PushNext() {
    v1::PushLogsRequest request;
    request.set_collection_id(collection_);
    v1::OperationRecord& record = *request.add_records();
    record.set_id(absl::StrCat("id-", ++pushed_));
    record.set_operation(v1::OPERATION_UPSERT);
    record.set_document(Mark(pushed_) + std::string(20'000, 'x'));
    const auto answer = log_->Push(request);
    ASSERT_TRUE(answer.ok()) << answer.status();
    ASSERT_EQ(answer->first_seq_id(), pushed_);
  }

  // Runs sluicectl verify, and returns what it printed.
  Json Verify(std::vector<std::string> arguments, int exit_status) {
    arguments.insert(arguments.begin(),
                     {"--json", "--server", cluster_->address(cluster_->log()), "verify"});
    const auto ended = testing::RunToEnd(
        {.program = testing::BinaryPath("sluicectl"), .arguments = std::move(arguments)});
    EXPECT_TRUE(ended.ok()) << ended.status();
    if (!ended.ok()) return Json::object();
    EXPECT_EQ(ended->exit_status, exit_status) << ended->output << ended->error_output;
    return ended->output.empty() ? Json::object() : Json::parse(ended->output);
  }
  static Json FindingsOf(const Json& json, const std::string& severity = "damage") {
    Json findings = Json::array();
    for (const Json& finding : json["findings"]) {
      if (finding["severity"] == severity) findings.push_back(finding);
    }
    return findings;
  }

  std::map<std::string, uint32_t> Checksums() const {
    std::map<std::string, uint32_t> checksums;
    for (const auto& entry : fs::recursive_directory_iterator(data_)) {
      checksums[entry.path()] = entry.is_regular_file() ? Crc32c(ReadFile(entry.path())) : 0;
    }
    return checksums;
  }
  // The file of this kind that holds `text`, with a bit of the text flipped.
  std::optional<std::string> Flip(const std::string& kind, const std::string& text) {
    for (const auto& entry : fs::recursive_directory_iterator(data_)) {
      if (entry.path().extension() != kind) continue;
      std::string bytes = ReadFile(entry.path());
      const size_t at = bytes.find(text);
      if (at == std::string::npos) continue;
      bytes[at + 1] = static_cast<char>(bytes[at + 1] ^ 1);
      std::ofstream(entry.path(), std::ios::binary) << bytes;
      return fs::relative(entry.path(), data_).string();
    }
    return std::nullopt;
  }

  const testing::TempFolder folder_;
  const fs::path data_ = folder_.path() / "log";
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<client::Log> log_;
  std::string collection_;
  uint64_t pushed_ = 0;
};

TEST_F(VerifyTest, DamageIsFoundInALogThatRunsAndInOneThatDoesNot) {  // invariant 4
  // Flushes and compactions among them.
  for (int i = 0; i < 200; ++i) ASSERT_NO_FATAL_FAILURE(PushNext());
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    while (!stop) ASSERT_NO_FATAL_FAILURE(PushNext());
  });
  const Json running = Verify({}, 0);
  stop = true;
  writer.join();
  EXPECT_EQ(running["findings_count"], 0) << running.dump(2);
  EXPECT_EQ(running["complete"], true);
  EXPECT_GE(running["records"], 200u);

  // While it runs, its folder is its own.
  Verify({"--data", data_}, 1);
  ASSERT_TRUE(cluster_->Stop().ok());
  const auto before = Checksums();
  const Json whole = Verify({"--data", data_}, 0);
  EXPECT_EQ(whole["findings_count"], 0) << whole.dump(2);
  EXPECT_EQ(whole["records"], pushed_);
  EXPECT_EQ(Checksums(), before);

  const auto damaged = Flip(".blob", Mark(77));
  ASSERT_TRUE(damaged);
  const auto check = [&](const Json& json) {
    const Json findings = FindingsOf(json);
    ASSERT_EQ(findings.size(), 1) << json.dump(2);
    EXPECT_EQ(findings[0]["collection_id"], collection_);
    EXPECT_EQ(findings[0]["first_seq_id"], 77);
    EXPECT_EQ(findings[0]["last_seq_id"], 77);
    EXPECT_EQ(findings[0]["file"], *damaged);
    EXPECT_EQ(json["complete"], true);
    EXPECT_EQ(json["records"], pushed_ - 1);
  };
  const auto damaged_before = Checksums();
  check(Verify({"--data", data_}, 6));
  EXPECT_EQ(Checksums(), damaged_before);

  const absl::Status started = cluster_->Restart(cluster_->log(), SIGKILL);
  ASSERT_TRUE(started.ok()) << started;
  check(Verify({}, 6));
  check(Verify({"--rate", "1GiB"}, 6));
}

// As RocksDB's asserts do, whatever is read at that moment.
TEST_F(VerifyTest, AProcessThatEndsWhileItReadsAFolderIsAFinding) {
  ASSERT_NO_FATAL_FAILURE(PushNext());
  ASSERT_TRUE(cluster_->Stop().ok());
  const testing::TempFolder output;
  // The search for leaks, at the end of an instrumented build, has a process too, which is waited
  // for without end.
  const std::string command = absl::StrCat(
      "ASAN_OPTIONS=detect_leaks=0 exec ", testing::BinaryPath("sluicectl").string(),
      " --json verify --rate 1 --data ", data_.string(), " > ", (output.path() / "out").string());
  const pid_t pid = fork();
  if (pid == 0) {
    execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    _exit(127);
  }
  // Every process that it begins to read with is ended.
  const std::string children = absl::StrCat("/proc/", pid, "/task/", pid, "/children");
  int status = 0;
  pid_t ended = 0;
  while ((ended = waitpid(pid, &status, WNOHANG)) == 0) {
    for (const auto child : absl::StrSplit(ReadFile(children), ' ', absl::SkipWhitespace())) {
      kill(std::stoi(std::string(child)), SIGABRT);
    }
    std::this_thread::yield();
  }
  ASSERT_EQ(ended, pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 6) << status;
  const Json said = Json::parse(ReadFile(output.path() / "out"));
  ASSERT_FALSE(FindingsOf(said).empty()) << said.dump(2);
  EXPECT_THAT(std::string(FindingsOf(said)[0]["what"]), ::testing::HasSubstr("ended the process"));
  EXPECT_FALSE(FindingsOf(said, "not verified").empty());
}

TEST_F(VerifyTest, AFolderThatIsNoLogsIsRefused) {
  const fs::path empty = folder_.path() / "empty";
  fs::create_directory(empty);
  Verify({"--data", empty}, 1);
  EXPECT_TRUE(fs::is_empty(empty));
  Verify({"--data", folder_.path() / "missing"}, 1);
  EXPECT_FALSE(fs::exists(folder_.path() / "missing"));
}

}  // namespace
}  // namespace sluice

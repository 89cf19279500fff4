// erase_within: a deleted text is in no file of the log or of the segments once its time is over,
// while what was not deleted stays. Real processes, real files.
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>

#include "common/base/ids.h"
#include "common/client/client.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using testing::BinaryPath;
using testing::Process;

namespace fs = std::filesystem;

class EraseTest : public ::testing::Test {
 protected:
  std::unique_ptr<Process> Start(const std::string& program,
                                 std::map<std::string, std::string> environment) {
    testing::ProcessOptions options;
    options.program = BinaryPath(program);
    options.environment = std::move(environment);
    options.environment["SLUICE_SERVER_GRPC_ADDRESS"] = "127.0.0.1:0";
    options.environment["SLUICE_SERVER_HTTP_ADDRESS"] = "127.0.0.1:0";
    auto process = Process::Start(std::move(options));
    EXPECT_TRUE(process.ok()) << process.status();
    return process.ok() ? *std::move(process) : nullptr;
  }

  // Whether a file below the folder has it.
  bool InFiles(const std::string& folder, const std::string& text) {
    std::error_code gone;
    for (fs::recursive_directory_iterator it(folder_.path() / folder, gone), end; it != end;
         it.increment(gone)) {
      if (!it->is_regular_file(gone) || it->path().filename() == "RESERVE") continue;
      std::ifstream file(it->path(), std::ios::binary);
      const std::string bytes(std::istreambuf_iterator<char>(file), {});
      if (bytes.find(text) != std::string::npos) return true;
    }
    return false;
  }

  static bool Within(std::chrono::seconds time, const std::function<bool()>& holds) {
    const auto until = std::chrono::steady_clock::now() + time;
    while (!holds()) {
      if (std::chrono::steady_clock::now() > until) return false;
    }
    return true;
  }

  const testing::TempFolder folder_;
};

// Of so many different characters that no compression hides it.
std::string RandomText() {
  std::string text;
  for (int i = 0; i < 3; ++i) {
    for (const uint8_t byte : Uuid::Random().bytes) text += static_cast<char>('!' + byte % 90);
  }
  return text;
}

v1::OperationRecord RecordOf(v1::Operation operation, const std::string& id,
                             const std::string& document) {
  v1::OperationRecord record;
  record.set_operation(operation);
  record.set_id(id);
  if (!document.empty()) record.set_document(document);
  return record;
}

TEST_F(EraseTest, ADeletedTextGoesFromEveryFileInItsTime) {
  const auto log_process = Start("sluice-log", {{"SLUICE_LOG_DATA", folder_.path() / "log"}});
  ASSERT_TRUE(log_process);
  const auto compactor =
      Start("sluice-compactor", {{"SLUICE_COMPACTOR_LOG_ADDRESS", log_process->grpc_address()},
                                 {"SLUICE_COMPACTOR_OBJECTS", folder_.path() / "objects"},
                                 {"SLUICE_COMPACTOR_CLAIM_WAIT_MS", "100"},
                                 {"SLUICE_COMPACTOR_GARBAGE_INTERVAL_MS", "100"}});
  ASSERT_TRUE(compactor);
  const auto channel = client::Connect(log_process->grpc_address());
  client::Log log(channel);
  v1::CreateCollectionRequest create;
  create.set_name("test");
  create.mutable_settings()->mutable_compaction()->set_max_age_ms(10);
  create.mutable_settings()->set_erase_within_ms(10'000);
  const auto created = client::Catalog(channel).Create(create);
  ASSERT_TRUE(created.ok()) << created.status();
  const CollectionId collection = *ParseCollectionId(created->collection().id());
  const auto push = [&](const std::vector<v1::OperationRecord>& records) {
    v1::PushLogsRequest request;
    request.set_collection_id(collection.ToString());
    request.mutable_records()->Assign(records.begin(), records.end());
    const auto pushed = log.Push(request);
    EXPECT_TRUE(pushed.ok()) << pushed.status();
  };
  const auto is_applied = [&] {
    const auto described = log.Describe(collection);
    return described.ok() && described->applied_seq_id() == described->tail_seq_id();
  };

  const std::string secret = RandomText();
  const std::string kept = RandomText();
  push({RecordOf(v1::OPERATION_ADD, "a", secret), RecordOf(v1::OPERATION_ADD, "b", kept)});
  ASSERT_TRUE(Within(30s, is_applied));
  EXPECT_TRUE(InFiles("log", secret));
  EXPECT_TRUE(InFiles("objects", secret));
  push({RecordOf(v1::OPERATION_DELETE, "a", "")});
  ASSERT_TRUE(Within(30s, is_applied));
  EXPECT_TRUE(InFiles("objects", secret));

  EXPECT_TRUE(Within(60s, [&] { return !InFiles("objects", secret); }));
  EXPECT_TRUE(Within(60s, [&] { return !InFiles("log", secret); }));
  EXPECT_TRUE(InFiles("objects", kept));
  const auto described = log.Describe(collection);
  ASSERT_TRUE(described.ok()) << described.status();
  EXPECT_EQ(described->live_count(), 1u);
  EXPECT_EQ(compactor->Stop(), 0);
  EXPECT_EQ(log_process->Stop(), 0);
}

}  // namespace
}  // namespace sluice

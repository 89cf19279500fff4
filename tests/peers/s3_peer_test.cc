// Segments in a server of S3 that we did not write (moto; s3_server.py), which checks signatures
// and honours conditional writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <sstream>

#include "common/client/client.h"
#include "common/objects/settings.h"
#include "tests/model/index.h"
#include "tests/model/timeline.h"
#include "tests/model/workload.h"
#include "tests/support/process.h"
#include "tests/support/seed.h"
#include "tests/support/temp_folder.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;
using testing::BinaryPath;
using testing::Process;

constexpr uint32_t kDimension = 32;
constexpr char kPlace[] = "s3://bucket/pre/fix";

class S3PeerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const fs::path python = BinaryPath("").parent_path().parent_path() / "peers/bin/python";
    if (!fs::exists(python)) {
      GTEST_SKIP() << "moto is not installed: tools/dev test --peers installs it";
    }
    auto server = Process::Start({.program = python,
                                  .arguments = {SLUICE_SOURCE_DIR "/tests/peers/s3_server.py",
                                                folder_.path() / "credentials", "bucket"}});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    server::Settings declared;
    settings_.Declare(declared);
    settings_.endpoint = "http://" + server_->http_address();
    settings_.credentials_file = folder_.path() / "credentials";
    settings_.part_bytes = 5 << 20;
    settings_.timeout_ms = 30'000;
    settings_.cache = folder_.path() / "cache";
    Open();
  }

  void Open() {
    store_.reset();
    fs::remove_all(settings_.cache);
    auto store = OpenObjectStore(kPlace, settings_, "test");
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  absl::Status Put(const std::string& name, const std::string& content) {
    const fs::path path = store_->NewTemporaryPath();
    std::ofstream(path) << content;
    return store_->Put(name, path);
  }
  std::string Read(const std::string& name) {
    const auto file = store_->Fetch(name);
    if (!file.ok()) return std::string(file.status().message());
    std::stringstream content;
    content << std::ifstream(**file).rdbuf();
    return content.str();
  }

  std::unique_ptr<Process> Start(const std::string& program,
                                 std::map<std::string, std::string> environment) {
    if (program != "sluice-log") {
      environment["SLUICE_OBJECTS_CACHE"] = folder_.path() / "cache";
      environment["SLUICE_OBJECTS_S3_ENDPOINT"] = settings_.endpoint;
      environment["SLUICE_OBJECTS_S3_CREDENTIALS_FILE"] = settings_.credentials_file;
    }
    environment["SLUICE_SERVER_GRPC_ADDRESS"] = "127.0.0.1:0";
    environment["SLUICE_SERVER_HTTP_ADDRESS"] = "127.0.0.1:0";
    auto process =
        Process::Start({.program = BinaryPath(program), .environment = std::move(environment)});
    EXPECT_TRUE(process.ok()) << process.status();
    return process.ok() ? *std::move(process) : nullptr;
  }

  const testing::TempFolder folder_;
  std::unique_ptr<Process> server_;
  ObjectSettings settings_;
  std::unique_ptr<ObjectStore> store_;
};

TEST_F(S3PeerTest, ObjectsArePutOnceReadListedAndDeleted) {
  ASSERT_EQ(Put("c/1/2/3", "content"), absl::OkStatus());
  ASSERT_EQ(Put("c/1/2/4", "another"), absl::OkStatus());
  EXPECT_EQ(Put("c/1/2/3", "second").code(), absl::StatusCode::kAlreadyExists);
  Open();
  EXPECT_EQ(Read("c/1/2/3"), "content");
  EXPECT_THAT(*store_->List("c/1"), ::testing::ElementsAre("c/1/2/3", "c/1/2/4"));
  EXPECT_EQ(store_->Delete("c/1/2/3"), absl::OkStatus());
  EXPECT_EQ(store_->Delete("c/1/2/3"), absl::OkStatus());
  EXPECT_EQ(store_->Fetch("c/1/2/3").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(S3PeerTest, ALargeObjectGoesInParts) {
  std::string large(12 << 20, 'x');
  for (size_t i = 0; i < large.size(); i += 1000) large[i] = static_cast<char>('a' + i % 26);
  ASSERT_EQ(Put("c/1", large), absl::OkStatus());
  Open();
  EXPECT_EQ(Read("c/1"), large);
}

TEST_F(S3PeerTest, AWrongSecretIsRefused) {
  std::ofstream(settings_.credentials_file, std::ios::app) << "aws_secret_access_key = wrong\n";
  const absl::Status error = Put("c/1", "content");
  EXPECT_EQ(error.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(error.message()), ::testing::HasSubstr("SignatureDoesNotMatch"));
}

// Invariants 5, 7 and 11: a compactor is killed between upload and commit.
TEST_F(S3PeerTest, TheWholeRoadLeadsOverS3AndSurvivesAKillBetweenUploadAndCommit) {
  const auto log = Start("sluice-log", {{"SLUICE_LOG_DATA", folder_.path() / "log"}});
  ASSERT_TRUE(log);
  const auto channel = client::Connect(log->grpc_address());
  v1::CreateCollectionRequest create;
  create.set_name("test");
  create.mutable_schema()->set_dimension(kDimension);
  create.mutable_schema()->mutable_embedder()->set_kind("hashing");
  create.mutable_settings()->mutable_compaction()->set_max_age_ms(10);
  const auto created = client::Catalog(channel).Create(create);
  ASSERT_TRUE(created.ok()) << created.status();
  const CollectionId collection = *ParseCollectionId(created->collection().id());

  client::Log pusher(channel);
  model::RecordGenerator random(testing::TestSeed(), kDimension);
  model::Timeline timeline;
  const auto push = [&](int records) {
    v1::PushLogsRequest request;
    request.set_collection_id(collection.ToString());
    std::vector<v1::OperationRecord> batch;
    for (int i = 0; i < records; ++i) batch.push_back(random.Record(v1::OPERATION_UNSPECIFIED));
    request.mutable_records()->Assign(batch.begin(), batch.end());
    const auto pushed = pusher.Push(request);
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    timeline.Wrote(SeqId(pushed->first_seq_id()), std::move(batch));
  };
  std::map<std::string, std::string> compactor = {
      {"SLUICE_COMPACTOR_LOG_ADDRESS", log->grpc_address()},
      {"SLUICE_COMPACTOR_OBJECTS", kPlace},
      {"SLUICE_COMPACTOR_LEASE_MS", "1000"},
      {"SLUICE_COMPACTOR_CLAIM_WAIT_MS", "100"}};

  compactor["SLUICE_COMPACTOR_FAULT"] = "kill:stored";
  const auto victim = Start("sluice-compactor", compactor);
  ASSERT_TRUE(victim);
  push(150);
  ASSERT_EQ(victim->Wait(), 128 + SIGKILL);
  EXPECT_THAT(*store_->List(collection.ToString()), ::testing::SizeIs(1));

  compactor["SLUICE_COMPACTOR_FAULT"] = "";
  const auto heir = Start("sluice-compactor", compactor);
  const auto frontend = Start(
      "sluice-frontend",
      {{"SLUICE_FRONTEND_LOG_ADDRESS", log->grpc_address()}, {"SLUICE_FRONTEND_OBJECTS", kPlace}});
  ASSERT_TRUE(heir && frontend);
  client::Frontend reader(client::Connect(frontend->grpc_address()));
  for (int round = 0; round < 3; ++round) {
    push(150);
    model::Model model(create.schema());
    ASSERT_EQ(timeline.Replay(&model), std::vector<std::string>());
    const auto index = model::OpenIndex(pusher, *store_, collection, model.tail());
    ASSERT_TRUE(index.ok()) << index.status();
    const IdHasher hasher(index->header.id_hash_key());
    EXPECT_EQ(model::Differences(*index->view, hasher, model), std::vector<std::string>());
    v1::CountRequest count;
    count.mutable_collection()->set_name("test");
    const auto counted = reader.Count(count);
    ASSERT_TRUE(counted.ok()) << counted.status();
    EXPECT_EQ(counted->count(), model.rows().size());
  }
  EXPECT_EQ(frontend->Stop(), 0);
  EXPECT_EQ(heir->Stop(), 0);
}

}  // namespace
}  // namespace sluice

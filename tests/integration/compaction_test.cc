// Compactors as real processes against a real log: killed at every stage, stopped past their
// leases, with commit replies lost, and with merges racing commits. Afterwards the index equals a
// model's (invariants 5, 6, 7).
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <thread>

#include "common/objects/folder_store.h"
#include "common/server/fetch_for_test.h"
#include "services/compactor/fault.h"
#include "tests/model/index.h"
#include "tests/model/timeline.h"
#include "tests/model/workload.h"
#include "tests/support/process.h"
#include "tests/support/seed.h"
#include "tests/support/temp_folder.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using testing::BinaryPath;
using testing::Process;

constexpr uint32_t kDimension = 32;
constexpr int kKilled = 128 + SIGKILL;

uint64_t WithoutEffect(const model::Model& model, v1::Operation operation) {
  const auto it = model.no_effect().find(operation);
  return it == model.no_effect().end() ? 0 : it->second;
}

class CompactionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto log = Start("sluice-log", {{"SLUICE_LOG_DATA", folder_.path() / "log"},
                                    {"SLUICE_LOG_GRACE_SECONDS", "1"}});
    ASSERT_TRUE(log.ok()) << log.status();
    log_process_ = *std::move(log);
    const auto channel = client::Connect(log_process_->grpc_address());
    log_.emplace(channel);
    v1::CreateCollectionRequest create;
    create.set_name("test");
    schema_.set_dimension(kDimension);
    schema_.mutable_embedder()->set_kind("hashing");
    *create.mutable_schema() = schema_;
    create.mutable_settings()->mutable_compaction()->set_max_age_ms(10);
    const auto created = client::Catalog(channel).Create(create);
    ASSERT_TRUE(created.ok()) << created.status();
    collection_ = *ParseCollectionId(created->collection().id());
    objects_.emplace(*FolderStore::Open(folder_.path() / "objects"));
  }

  static absl::StatusOr<std::unique_ptr<Process>> Start(
      const std::string& program, std::map<std::string, std::string> environment) {
    testing::ProcessOptions options;
    options.program = BinaryPath(program);
    options.environment = std::move(environment);
    options.environment["SLUICE_SERVER_GRPC_ADDRESS"] = "127.0.0.1:0";
    options.environment["SLUICE_SERVER_HTTP_ADDRESS"] = "127.0.0.1:0";
    return Process::Start(std::move(options));
  }

  std::unique_ptr<Process> StartCompactor(const std::string& fault = "",
                                          const std::string& log_address = "") {
    auto process = Start("sluice-compactor",
                         {{"SLUICE_COMPACTOR_LOG_ADDRESS",
                           log_address.empty() ? log_process_->grpc_address() : log_address},
                          {"SLUICE_COMPACTOR_OBJECTS", folder_.path() / "objects"},
                          {"SLUICE_COMPACTOR_LEASE_MS", "1000"},
                          {"SLUICE_COMPACTOR_CLAIM_WAIT_MS", "100"},
                          {"SLUICE_COMPACTOR_GARBAGE_INTERVAL_MS", "100"},
                          {"SLUICE_COMPACTOR_BATCH_RECORDS", "500"},
                          {"SLUICE_COMPACTOR_FAULT", fault}});
    EXPECT_TRUE(process.ok()) << process.status();
    return process.ok() ? *std::move(process) : nullptr;
  }

  // Pushes random records; safe from several threads at once, each with its own generator.
  void Push(uint64_t records, model::RecordGenerator& random) {
    std::vector<v1::OperationRecord> batch;
    for (uint64_t i = 0; i < records; ++i) {
      batch.push_back(random.Record(v1::OPERATION_UNSPECIFIED));
      // More ids than the generator has, so that merges have something to do.
      batch.back().set_id("id-" + std::to_string(random.Below(200)));
    }
    v1::PushLogsRequest request;
    request.set_collection_id(collection_.ToString());
    request.mutable_records()->Assign(batch.begin(), batch.end());
    const auto pushed = log_->Push(request);
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    timeline_.Wrote(SeqId(pushed->first_seq_id()), std::move(batch));
  }
  void Push(uint64_t records) { Push(records, random_); }

  // Pushes until the process has ended (or stopped) at its stage: merges and garbage need several
  // compactions to come.
  bool PushUntil(const std::function<bool()>& reached) {
    const auto until = std::chrono::steady_clock::now() + 30s;
    while (!reached()) {
      if (std::chrono::steady_clock::now() > until || HasFatalFailure()) return false;
      Push(20);
    }
    return true;
  }

  void ExpectIndexEqualsModel() {
    model::Model model(schema_);
    ASSERT_EQ(timeline_.Replay(&model), std::vector<std::string>());
    const auto index = model::OpenIndex(*log_, *objects_, collection_, model.tail());
    ASSERT_TRUE(index.ok()) << index.status();
    EXPECT_EQ(index->header.live_count(), model.rows().size());
    const IdHasher hasher(index->header.id_hash_key());
    EXPECT_EQ(model::Differences(*index->view, hasher, model), std::vector<std::string>());
    const auto described = log_->Describe(collection_);
    ASSERT_TRUE(described.ok()) << described.status();
    EXPECT_EQ(described->applied_seq_id(), model.tail().value);
    EXPECT_EQ(described->no_effect().adds(), WithoutEffect(model, v1::OPERATION_ADD));
    EXPECT_EQ(described->no_effect().updates(), WithoutEffect(model, v1::OPERATION_UPDATE));
    EXPECT_EQ(described->no_effect().deletes(), WithoutEffect(model, v1::OPERATION_DELETE));
    EXPECT_EQ(described->failures(), 0u) << described->last_failure();
  }

  const uint64_t seed_ = testing::TestSeed();
  model::RecordGenerator random_{seed_, kDimension};
  testing::TempFolder folder_;
  std::unique_ptr<Process> log_process_;
  std::optional<client::Log> log_;
  std::optional<FolderStore> objects_;
  CollectionId collection_;
  v1::CollectionSchema schema_;
  model::Timeline timeline_;
};

class KilledAtStage : public CompactionTest,
                      public ::testing::WithParamInterface<std::string_view> {};

// Invariants 5 and 11.
TEST_P(KilledAtStage, TheNextCompactorLeavesTheIndexEqualToTheModel) {
  // Before there is work, so that it has started when it comes to its stage.
  const auto victim = StartCompactor("kill:" + std::string(GetParam()));
  ASSERT_TRUE(victim);
  Push(150);
  std::optional<int> status;
  ASSERT_TRUE(PushUntil([&] {
    status = victim->Wait(20ms);
    return status.has_value();
  }));
  EXPECT_EQ(status, kKilled);

  const auto heir = StartCompactor();
  ASSERT_TRUE(heir);
  ExpectIndexEqualsModel();
  Push(150);
  ExpectIndexEqualsModel();
  EXPECT_EQ(heir->Stop(), 0);
}

std::string TestName(const ::testing::TestParamInfo<std::string_view>& info) {
  std::string name(info.param);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(EveryStage, KilledAtStage, ::testing::ValuesIn(compactor::kStageNames),
                         TestName);

// A process that stopped itself.
bool IsStopped(pid_t pid) {
  siginfo_t info{};
  return waitid(P_PID, pid, &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

// What a compactor counts.
double Commits(const Process& compactor, const std::string& kind, const std::string& outcome) {
  return server::FetchMetric(
      compactor.http_address(),
      "sluice_compactor_commits_total{kind=\"" + kind + "\",outcome=\"" + outcome + "\"}");
}

class StoppedAtStage : public CompactionTest,
                       public ::testing::WithParamInterface<std::string_view> {};

// Invariant 6: two compactors believe that they hold the collection; the one that was taken over
// changes nothing.
TEST_P(StoppedAtStage, AWorkerThatWakesPastItsLeaseIsFenced) {
  const auto sleeper = StartCompactor("stop:" + std::string(GetParam()));
  ASSERT_TRUE(sleeper);
  ASSERT_TRUE(PushUntil([&] { return IsStopped(sleeper->pid()); }));

  const std::string kind = GetParam().starts_with("merge") ? "merge" : "compaction";
  auto other = StartCompactor();
  ASSERT_TRUE(other);
  ASSERT_TRUE(PushUntil([&] { return Commits(*other, kind, "committed") > 0; }));
  sleeper->Signal(SIGCONT);
  ASSERT_TRUE(PushUntil([&] { return Commits(*sleeper, kind, "lost") > 0; }))
      << sleeper->ErrorOutput();
  ExpectIndexEqualsModel();

  // The sleeper is a compactor like any other again.
  EXPECT_EQ(other->Stop(), 0);
  Push(150);
  ExpectIndexEqualsModel();
  EXPECT_EQ(sleeper->Stop(), 0);
}

INSTANTIATE_TEST_SUITE_P(BeforeTheCommit, StoppedAtStage,
                         ::testing::Values("read", "written", "stored", "merge-written",
                                           "merge-stored"),
                         TestName);

// A log seen through a network that loses every other reply to a commit, after the log has done
// what was asked.
class LossyLog : public v1::CompactionService::Service, public v1::LogService::Service {
 public:
  explicit LossyLog(const std::string& address)
      : channel_(client::Connect(address)),
        compaction_(v1::CompactionService::NewStub(channel_)),
        log_(v1::LogService::NewStub(channel_)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(static_cast<v1::CompactionService::Service*>(this));
    builder.RegisterService(static_cast<v1::LogService::Service*>(this));
    server_ = builder.BuildAndStart();
  }
  ~LossyLog() override { server_->Shutdown(std::chrono::system_clock::now()); }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  int lost() const { return lost_; }

 private:
  using Context = grpc::ServerContext;

  template <class Stub, class Request, class Response>
  static grpc::Status Pass(Context* context, Stub& stub,
                           grpc::Status (Stub::*call)(grpc::ClientContext*, const Request&,
                                                      Response*),
                           const Request* request, Response* response) {
    const auto onward = grpc::ClientContext::FromServerContext(*context);
    return (stub.*call)(onward.get(), *request, response);
  }

  grpc::Status Claim(Context* c, const v1::ClaimRequest* q, v1::ClaimResponse* r) override {
    return Pass(c, *compaction_, &v1::CompactionService::Stub::Claim, q, r);
  }
  grpc::Status Renew(Context* c, const v1::RenewRequest* q, v1::RenewResponse* r) override {
    return Pass(c, *compaction_, &v1::CompactionService::Stub::Renew, q, r);
  }
  grpc::Status Commit(Context* c, const v1::CommitRequest* q, v1::CommitResponse* r) override {
    grpc::Status status = Pass(c, *compaction_, &v1::CompactionService::Stub::Commit, q, r);
    if (commits_++ % 2 != 0) return status;
    ++lost_;
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the reply was lost");
  }
  grpc::Status Release(Context* c, const v1::ReleaseRequest* q, v1::ReleaseResponse* r) override {
    return Pass(c, *compaction_, &v1::CompactionService::Stub::Release, q, r);
  }
  grpc::Status ListGarbage(Context* c, const v1::ListGarbageRequest* q,
                           v1::ListGarbageResponse* r) override {
    return Pass(c, *compaction_, &v1::CompactionService::Stub::ListGarbage, q, r);
  }
  grpc::Status CollectGarbage(Context* c, const v1::CollectGarbageRequest* q,
                              v1::CollectGarbageResponse* r) override {
    return Pass(c, *compaction_, &v1::CompactionService::Stub::CollectGarbage, q, r);
  }
  grpc::Status PullLogs(Context* c, const v1::PullLogsRequest* q,
                        v1::PullLogsResponse* r) override {
    return Pass(c, *log_, &v1::LogService::Stub::PullLogs, q, r);
  }

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::CompactionService::Stub> compaction_;
  std::unique_ptr<v1::LogService::Stub> log_;
  std::atomic<int> commits_{0};
  std::atomic<int> lost_{0};
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

// Invariants 5 and 6: repeated with its token and number, a commit gets its first answer.
TEST_F(CompactionTest, ALostCommitReplyChangesNothingTwice) {
  LossyLog lossy(log_process_->grpc_address());
  const auto compactor = StartCompactor("", lossy.address());
  ASSERT_TRUE(compactor);
  ASSERT_TRUE(PushUntil([&] { return lossy.lost() >= 10; }));
  ExpectIndexEqualsModel();
  EXPECT_EQ(compactor->Stop(), 0);
}

TEST_F(CompactionTest, MergesRacingCommitsOfSeveralCompactorsKeepTheIndexEqualToTheModel) {
  std::vector<std::unique_ptr<Process>> compactors;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(compactors.emplace_back(StartCompactor()));
  {
    std::vector<std::jthread> writers;
    for (uint64_t w = 0; w < 3; ++w) {
      writers.emplace_back([this, w] {
        model::RecordGenerator random(seed_ + w, kDimension);
        for (int i = 0; i < 60; ++i) Push(1 + random.Below(40), random);
      });
    }
  }
  ExpectIndexEqualsModel();
  // Few segments are left for a reader.
  const auto described = log_->Describe(collection_);
  ASSERT_TRUE(described.ok()) << described.status();
  EXPECT_LE(described->segments_size(), 20);
  for (const auto& compactor : compactors) EXPECT_EQ(compactor->Stop(), 0);
}

// Invariant 11, the other half: what nothing refers to does go.
TEST_F(CompactionTest, WhatMergesReplacedAndCrashesLeftIsDeletedAfterTheGraceTime) {
  const auto victim = StartCompactor("kill:stored");
  ASSERT_TRUE(victim);
  Push(150);
  EXPECT_EQ(victim->Wait(), kKilled);
  const auto heir = StartCompactor();
  ASSERT_TRUE(heir);
  for (int i = 0; i < 30; ++i) {
    Push(20);
    ExpectIndexEqualsModel();
  }
  const auto until = std::chrono::steady_clock::now() + 30s;
  size_t stored = 0;
  size_t listed = 0;
  do {
    const auto described = log_->Describe(collection_);
    ASSERT_TRUE(described.ok()) << described.status();
    listed = described->segments_size();
    const auto names = objects_->List(collection_.ToString());
    ASSERT_TRUE(names.ok()) << names.status();
    stored = names->size();
  } while (stored != listed && std::chrono::steady_clock::now() < until);
  EXPECT_EQ(stored, listed);
  ExpectIndexEqualsModel();
}

}  // namespace
}  // namespace sluice

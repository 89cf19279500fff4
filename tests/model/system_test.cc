// Invariants 2, 3, 5, 7 and 8 on the whole system: thousands of random operations through two
// frontends at once, while records are compacted, segments merged by two compactors, and processes
// killed, hung, stopped and started at random moments, and an embedder is away or refuses texts.
// Every Get, Count and Query answers as the
// model does at the SeqId that it says it answers as of. SLUICE_TEST_SEED replays the operations
// (not the moments at which they meet).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <deque>
#include <optional>
#include <random>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/client/client.h"
#include "common/errors/errors.h"
#include "tests/embedder/embedder_server.h"
#include "tests/model/model.h"
#include "tests/model/timeline.h"
#include "tests/model/workload.h"
#include "tests/support/cluster.h"

namespace sluice::model {
namespace {

using sluice::testing::Behaviour;
using sluice::testing::Cluster;
using sluice::testing::EmbedderServer;

constexpr size_t kCompactors = 2;
constexpr size_t kFrontends = 2;
constexpr size_t kWorkloadsPerFrontend = 2;
constexpr uint64_t kStepsPerWorkload = 1'000;
// Of all workloads together, between one disturbance and the next.
constexpr uint64_t kMostStepsUndisturbed = 400;
constexpr uint32_t kDimension = 8;
static_assert(kRefusedMark == sluice::testing::kRefusedMark);

uint64_t Seed() {
  const char* given = std::getenv("SLUICE_TEST_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
}

client::Options Patient() {
  client::Options options;
  // Long enough for a restart in between.
  options.total_deadline = std::chrono::seconds(60);
  options.most_backoff = std::chrono::milliseconds(200);
  return options;
}

class SystemTest : public ::testing::Test {
 protected:
  SystemTest() : seed_(Seed()), random_(seed_) {
    std::printf("replay with SLUICE_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed_));
  }

  void SetUp() override {
    const std::string embedders =
        absl::StrCat(":\n  embedders:\n    served:\n      protocol: tei\n      endpoints: ",
                     embedder_.grpc_address(), "\n      deadline_ms: 1000\n");
    auto cluster = Cluster::Start(
        {.compactors = kCompactors, .frontends = kFrontends},
        {{"SLUICE_LOG_GRACE_SECONDS", "1"},
         {"SLUICE_COMPACTOR_GARBAGE_INTERVAL_MS", "200"},
         {"SLUICE_COMPACTOR_LEASE_MS", "1000"},
         {"SLUICE_COMPACTOR_EMBED_PATIENCE_MS", "50"},
         {"SLUICE_COMPACTOR_OWE_AFTER_MS", "100"}},
        {{"compactor", "compactor" + embedders}, {"frontend", "frontend" + embedders}});
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
  }

  uint64_t Below(uint64_t n) { return random_() % n; }
  static Behaviour Well() {
    Behaviour well;
    well.dimension = kDimension;
    return well;
  }
  static Behaviour Refusing() {
    Behaviour refusing = Well();
    refusing.refuses = kRefusedInSpellsMark;
    return refusing;
  }
  static Behaviour Away() {
    Behaviour away = Well();
    away.wrong = Behaviour::Wrong::kUnavailable;
    return away;
  }
  client::Compaction Compaction() const {
    return client::Compaction(client::Connect(cluster_->address(cluster_->log())), Patient());
  }
  client::Log Log() const {
    return client::Log(client::Connect(cluster_->address(cluster_->log())), Patient());
  }
  client::Frontend Frontend(size_t i) const {
    return client::Frontend(client::Connect(cluster_->address(cluster_->frontend(i))), Patient());
  }

  void CreateCollection(const std::string& name, v1::Metric metric, const std::string& embedder) {
    client::Catalog catalog(client::Connect(cluster_->address(cluster_->log())), Patient());
    v1::CreateCollectionRequest request;
    request.set_name(name);
    request.mutable_schema()->set_dimension(kDimension);
    request.mutable_schema()->set_metric(metric);
    request.mutable_schema()->mutable_embedder()->set_kind(embedder);
    if (embedder == "served") request.mutable_schema()->mutable_embedder()->set_model("test-model");
    v1::CompactionTrigger* trigger = request.mutable_settings()->mutable_compaction();
    trigger->set_max_bytes(1 << 10);
    trigger->set_max_age_ms(10 + Below(40));
    const auto response = catalog.Create(request);
    ASSERT_TRUE(response.ok()) << response.status();
    Target& target = targets_.emplace_back();
    target.id = ParseCollectionId(response->collection().id()).value();
    target.schema = response->collection().schema();
  }

  // Runs the workloads to their ends, or until one fails.
  void RunWorkloads() {
    std::vector<Target*> targets;
    for (Target& target : targets_) targets.push_back(&target);
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < kFrontends * kWorkloadsPerFrontend; ++i) {
      threads.emplace_back([this, i, targets] {
        Workload workload(absl::StrCat("workload ", i), Frontend(i % kFrontends), Log(),
                          Compaction(), targets, seed_ + i);
        for (uint64_t step = 0; step < kStepsPerWorkload && !failed_; ++step) {
          if (const absl::Status status = workload.Step(); !status.ok()) {
            ADD_FAILURE() << status;
            failed_ = true;
          }
          ++steps_;
          steps_.notify_one();
        }
        --running_;
        ++steps_;
        steps_.notify_one();
      });
    }
    DisturbUntilDone();
  }

  void DisturbUntilDone() {
    for (uint64_t next = Below(kMostStepsUndisturbed); running_ > 0;) {
      const uint64_t steps = steps_;
      if (steps < next) {
        steps_.wait(steps);
        continue;
      }
      if (const absl::Status status = Disturb(); !status.ok()) {
        ADD_FAILURE() << status;
        failed_ = true;
        return;
      }
      next = steps_ + Below(kMostStepsUndisturbed);
    }
    if (hanging_) cluster_->Signal(*hanging_, SIGCONT);
    embedder_.Set(Well());
  }

  // Restarts a process, or lets a compactor hang (until the next disturbance: perhaps for longer
  // than its lease), or trims a log, or has the embedder be away or refuse more (also until then).
  absl::Status Disturb() {
    if (hanging_) cluster_->Signal(*std::exchange(hanging_, std::nullopt), SIGCONT);
    embedder_.Set(Well());
    const uint64_t which = Below(cluster_->processes() + 5);
    if (which < cluster_->processes()) {
      ++restarts_;
      return cluster_->Restart(which, Below(3) == 0 ? SIGTERM : SIGKILL);
    }
    if (which == cluster_->processes()) {
      hanging_ = cluster_->compactor(Below(kCompactors));
      cluster_->Signal(*hanging_, SIGSTOP);
      return absl::OkStatus();
    }
    if (which <= cluster_->processes() + 3) {
      ++spells_;
      embedder_.Set(which == cluster_->processes() + 1 ? Refusing() : Away());
      return absl::OkStatus();
    }
    Target& target = targets_[Below(targets_.size())];
    SLUICE_ASSIGN_OR_RETURN(const v1::DescribeLogResponse log, Log().Describe(target.id));
    return Log().Trim(target.id, SeqId(log.applied_seq_id())).status();
  }

  void CheckReads(const Target& target, Model* model) {
    const std::vector<std::string> errors = target.timeline.Replay(model);
    for (size_t i = 0; i < std::min<size_t>(errors.size(), 5); ++i) ADD_FAILURE() << errors[i];
    EXPECT_EQ(errors.size(), 0u);
  }

  // Once everything is applied, the log's own numbers are the model's.
  void CheckLog(const Target& target, const Model& model) {
    v1::CountRequest count;
    count.mutable_collection()->set_id(target.id.ToString());
    count.mutable_level()->set_kind(v1::ReadLevel::KIND_AT_LEAST);
    count.mutable_level()->set_seq_id(model.tail().value);
    const auto counted = Frontend(0).Count(count);
    ASSERT_TRUE(counted.ok()) << counted.status();
    EXPECT_EQ(counted->count(), model.rows().size());

    const auto log = Log().Describe(target.id);
    ASSERT_TRUE(log.ok()) << log.status();
    EXPECT_EQ(log->tail_seq_id(), model.tail().value);
    EXPECT_EQ(log->applied_seq_id(), model.tail().value);
    EXPECT_EQ(log->live_count(), model.rows().size());
    EXPECT_EQ(log->no_effect().adds(), model.no_effect().at(v1::OPERATION_ADD));
    EXPECT_EQ(log->no_effect().updates(), model.no_effect().at(v1::OPERATION_UPDATE));
    EXPECT_EQ(log->no_effect().deletes(), model.no_effect().at(v1::OPERATION_DELETE));
    // It was compacted often, and merged: the list is changed far more often than it is long.
    EXPECT_GT(log->segments_version(), 50u);
    EXPECT_LT(log->segments_size(), 20);
    std::printf("%s: %llu records, %zu rows, %d segments after %llu changes of the list\n",
                target.id.ToString().c_str(), static_cast<unsigned long long>(model.tail().value),
                model.rows().size(), log->segments_size(),
                static_cast<unsigned long long>(log->segments_version()));
  }

  // So that some vectors are owed and refused in the end.
  void WriteWhileTheEmbedderIsIll(Target& target) {
    for (const Behaviour& ill : {Refusing(), Away()}) {
      embedder_.Set(ill);
      Workload workload("the last workload", Frontend(0), Log(), Compaction(), {&target},
                        seed_ + 100);
      for (int step = 0; step < 50 && !HasFailure(); ++step) {
        const absl::Status done = workload.Step();
        EXPECT_TRUE(done.ok()) << done;
      }
    }
  }

  std::vector<v1::MissingVector> Missing(const Target& target) {
    v1::ListMissingVectorsRequest request;
    request.set_collection_id(target.id.ToString());
    std::vector<v1::MissingVector> missing;
    do {
      const auto page = Compaction().ListMissingVectors(request);
      EXPECT_TRUE(page.ok()) << page.status();
      if (!page.ok()) break;
      missing.insert(missing.end(), page->missing().begin(), page->missing().end());
      request.set_after(page->next());
    } while (!request.after().empty());
    return missing;
  }

  // Once the embedder is there for good: what is missing is retried until nothing is owed.
  void SettleMissing(const Target& target) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    bool owes = true;
    for (bool first = true; owes; first = false) {
      ASSERT_LT(std::chrono::steady_clock::now(), until) << cluster_->ErrorOutput();
      v1::RetryMissingVectorsRequest retry;
      retry.set_collection_id(target.id.ToString());
      owes = false;
      for (const v1::MissingVector& missing : Missing(target)) {
        const bool owed = missing.reason() == v1::MISSING_REASON_OWED;
        owes |= owed;
        if (owed || first) retry.add_ids(missing.id());
        if (retry.ids_size() == 1000) break;
      }
      if (retry.ids().empty()) continue;
      owes = true;
      ASSERT_TRUE(Compaction().RetryMissingVectors(retry).ok());
    }
  }

  // Invariants 7 and 8: in the end the rows that wait for a vector are those whose text is refused,
  // and these are listed; besides, perhaps, those of which somebody gave up the vector.
  void CheckMissing(const Target& target, const Model& model) {
    v1::GetRequest request;
    request.mutable_collection()->set_id(target.id.ToString());
    request.mutable_include()->set_vector(true);
    request.mutable_include()->set_document(true);
    request.mutable_include()->set_uri(true);
    request.mutable_include()->set_metadata(true);
    size_t rows = 0;
    do {
      const auto page = Frontend(0).Get(request);
      ASSERT_TRUE(page.ok()) << page.status();
      for (const v1::Row& row : page->rows()) {
        ++rows;
        EXPECT_EQ(model.Check(row, SeqId(UINT64_MAX)), "") << row.ShortDebugString();
      }
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    EXPECT_EQ(rows, model.rows().size());
    std::set<std::string> listed;
    for (const v1::MissingVector& missing : Missing(target)) {
      EXPECT_EQ(missing.reason(), v1::MISSING_REASON_REFUSED) << missing.ShortDebugString();
      listed.insert(missing.id());
    }
    std::set<std::string> refused;
    for (const auto& [id, row] : model.rows()) {
      if (row.refused && (listed.contains(id) || !model.IsGivenUp(id, row))) refused.insert(id);
    }
    EXPECT_EQ(listed, refused);
    std::printf(
        "%zu texts were embedded elsewhere; %llu times one was found owed, %llu times refused; "
        "%zu rows are refused in the end\n",
        embedder_.embedded().size(), static_cast<unsigned long long>(target.found_owed),
        static_cast<unsigned long long>(target.found_refused), refused.size());
  }

  const uint64_t seed_;
  std::mt19937_64 random_;
  EmbedderServer embedder_{Well()};
  std::unique_ptr<Cluster> cluster_;
  // Does not move what is in it.
  std::deque<Target> targets_;
  std::atomic<uint64_t> steps_ = 0;
  std::atomic<size_t> running_ = kFrontends * kWorkloadsPerFrontend;
  std::atomic<bool> failed_ = false;
  size_t restarts_ = 0;
  size_t spells_ = 0;
  std::optional<size_t> hanging_;
};

TEST_F(SystemTest, GetCountAndQueryAnswerAsTheModelDoesAtEveryStep) {
  const auto metric = static_cast<v1::Metric>(1 + Below(3));
  CreateCollection("texts", metric, "hashing");
  CreateCollection("vectors", metric == v1::METRIC_L2 ? v1::METRIC_COSINE : v1::METRIC_L2, "");
  CreateCollection("elsewhere", metric, "served");
  RunWorkloads();
  WriteWhileTheEmbedderIsIll(targets_.back());
  std::printf("%zu restarts, %zu spells of the embedder\n", restarts_, spells_);
  for (const Target& target : targets_) {
    Model model(target.schema);
    CheckReads(target, &model);
    if (!HasFailure()) CheckLog(target, model);
    if (HasFailure() || !IsEmbeddedElsewhere(target.schema)) continue;
    embedder_.Set(Well());
    SettleMissing(target);
    if (!HasFailure()) CheckMissing(target, model);
  }
  if (!HasFailure()) {
    const absl::Status stopped = cluster_->Stop();
    EXPECT_TRUE(stopped.ok()) << stopped;
  }
  if (HasFailure()) std::printf("%s", cluster_->ErrorOutput().c_str());
}

}  // namespace
}  // namespace sluice::model

// The compactor against a scripted log: how each kind of failure ends.
#include "services/compactor/compactor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <future>

#include "common/objects/folder_store.h"
#include "common/server/metrics.h"
#include "services/compactor/compactor_fixture.h"

namespace sluice::compactor {
namespace {

using namespace std::chrono_literals;

TEST_F(CompactorTest, CommitsWhatItReadAndReleasesTheLease) {
  Push({"a", "b", "a"});
  Start();
  log_.Grant(Claim());
  ASSERT_TRUE(AwaitRelease());
  ASSERT_EQ(log_.commits.size(), 1u);
  const v1::CommitRequest& commit = log_.commits[0];
  EXPECT_EQ(commit.number(), 1u);
  EXPECT_EQ(commit.compaction().from_seq_id(), 0u);
  EXPECT_EQ(commit.compaction().to_seq_id(), 3u);
  EXPECT_EQ(commit.compaction().live_delta(), 2);
  EXPECT_EQ(commit.compaction().no_effect().adds(), 1u);
  EXPECT_EQ(commit.compaction().segment().rows(), 2u);
  EXPECT_EQ(commit.compaction().segment().vectors(), 2u);
  EXPECT_EQ(log_.releases[0].reason(), v1::RELEASE_REASON_DONE);
  EXPECT_TRUE(compactor_->Ready().ok());
  EXPECT_TRUE(compactor_->Alive().ok());
}

TEST_F(CompactorTest, ABacklogIsWorkedOffInSeveralCommitsOfOneLease) {
  settings_.batch_records = 2;
  Push({"a", "b", "c", "a", "e"});
  Start();
  log_.Grant(Claim());
  ASSERT_TRUE(AwaitRelease());
  ASSERT_EQ(log_.commits.size(), 3u);
  for (uint64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(log_.commits[i].number(), i + 1);
    EXPECT_EQ(log_.commits[i].compaction().from_seq_id(), 2 * i);
  }
  // The second sees what the first wrote.
  EXPECT_EQ(log_.commits[1].compaction().no_effect().adds(), 1u);
}

TEST_F(CompactorTest, ALongBacklogLeavesOthersTheirTurn) {
  settings_.batch_records = 1;
  Push(std::vector<std::string>(40, "a"));
  Start();
  log_.Grant(Claim());
  ASSERT_TRUE(AwaitRelease());
  EXPECT_EQ(log_.commits.size(), 32u);
  EXPECT_EQ(log_.releases[0].reason(), v1::RELEASE_REASON_DONE);
}

TEST_F(CompactorTest, ATurnEndsWithItsTime) {
  settings_.batch_records = 1;
  settings_.turn_ms = 1;
  Push(std::vector<std::string>(10, "a"));
  log_.on_commit = [](const v1::CommitRequest&) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(2);
    while (std::chrono::steady_clock::now() < until) {
    }
    return absl::OkStatus();
  };
  Start();
  log_.Grant(Claim());
  ASSERT_TRUE(AwaitRelease());
  EXPECT_LE(log_.commits.size(), 2u) << "the batch at hand is the last";
  EXPECT_EQ(log_.releases[0].reason(), v1::RELEASE_REASON_DONE);
}

TEST_F(CompactorTest, RecordsWithoutEffectAreCommittedWithoutASegment) {
  v1::Append append;
  append.set_first_seq_id(1);
  *append.add_records() = Record(v1::OPERATION_DELETE, "a");
  log_.appends.push_back(append);
  Start();
  log_.Grant(Claim());
  ASSERT_TRUE(AwaitRelease());
  ASSERT_EQ(log_.commits.size(), 1u);
  EXPECT_FALSE(log_.commits[0].compaction().has_segment());
  EXPECT_EQ(log_.commits[0].compaction().no_effect().deletes(), 1u);
}

TEST_F(CompactorTest, ADimensionFirstSeenAfterTheClaimIsTakenFromTheRecords) {
  v1::ClaimResponse claim = Claim();
  claim.clear_schema();
  claim.set_dimension(0);
  v1::Append append;
  append.set_first_seq_id(1);
  *append.add_records() = Record(v1::OPERATION_ADD, "a");
  SetVector(std::vector<float>{1, 2, 3}, append.mutable_records(0)->mutable_vector());
  log_.appends.push_back(append);
  Start();
  log_.Grant(claim);
  ASSERT_TRUE(AwaitRelease());
  ASSERT_EQ(log_.commits.size(), 1u);
  EXPECT_EQ(log_.commits[0].compaction().segment().vectors(), 1u);
}

// Invariant 6: a fenced worker drops its work and says nothing.
TEST_F(CompactorTest, ALostLeaseEndsTheWorkWithoutARelease) {
  log_.on_commit = [](const v1::CommitRequest&) {
    return MakeError(Reason::LEASE_LOST, "taken over");
  };
  Push({"a"});
  Start();
  log_.Grant(Claim());
  ASSERT_TRUE(log_.Await([](const FakeLog& log) { return log.commits.size() == 1; }));
  compactor_->BeginDrain();
  compactor_->FinishDrain(std::chrono::steady_clock::now() + 10s);
  EXPECT_TRUE(log_.releases.empty());
}

TEST_F(CompactorTest, ALeaseIsRenewedWhileWorkGoesOn) {
  settings_.lease_ms = 90;
  Push({"a"});
  std::promise<void> renewed;
  log_.on_commit = [wait = renewed.get_future().share()](const v1::CommitRequest&) {
    wait.wait();
    return absl::OkStatus();
  };
  Start();
  log_.Grant(Claim());
  EXPECT_TRUE(log_.Await([](const FakeLog& log) { return log.renewals >= 3; }));
  renewed.set_value();
  EXPECT_TRUE(AwaitRelease());
}

TEST_F(CompactorTest, ACommitWithoutAnAnswerIsRepeatedAsItWas) {
  int attempts = 0;
  log_.on_commit = [&](const v1::CommitRequest&) {
    return ++attempts < 3 ? absl::UnavailableError("the answer was lost") : absl::OkStatus();
  };
  Push({"a"});
  Start();
  log_.Grant(Claim());
  ASSERT_TRUE(AwaitRelease());
  ASSERT_EQ(log_.commits.size(), 3u);
  EXPECT_EQ(log_.commits[0].SerializeAsString(), log_.commits[2].SerializeAsString());
  EXPECT_EQ(log_.releases[0].reason(), v1::RELEASE_REASON_DONE);
}

TEST_F(CompactorTest, AMissingSegmentIsAFailureOfTheCollection) {
  v1::ClaimResponse claim = Claim();
  v1::SegmentInfo& segment = *claim.add_segments();
  segment.set_token(3);
  segment.set_number(1);
  Push({"a"});
  Start();
  log_.Grant(claim);
  ASSERT_TRUE(AwaitRelease());
  EXPECT_TRUE(log_.commits.empty());
  EXPECT_EQ(log_.releases[0].reason(), v1::RELEASE_REASON_COLLECTION);
  EXPECT_GT(log_.releases[0].retry_after_ms(), 0u);
  EXPECT_FALSE(log_.releases[0].message().empty());
}

TEST_F(CompactorTest, AnAppendThatDoesNotContinueTheLastIsAFailureOfTheCollection) {
  Push({"a", "b"});
  log_.appends[1].set_first_seq_id(3);
  Start();
  log_.Grant(Claim());
  ASSERT_TRUE(AwaitRelease());
  EXPECT_TRUE(log_.commits.empty());
  EXPECT_EQ(log_.releases[0].reason(), v1::RELEASE_REASON_COLLECTION);
}

TEST_F(CompactorTest, AnObjectStoreThatFailsIsInfrastructure) {
  Push({"a"});
  Start();
  // Where the collection's folder would go, there is a file.
  std::ofstream(folder_.path() / collection_.ToString()) << "in the way";
  log_.Grant(Claim());
  ASSERT_TRUE(AwaitRelease());
  EXPECT_TRUE(log_.commits.empty());
  EXPECT_EQ(log_.releases[0].reason(), v1::RELEASE_REASON_INFRASTRUCTURE);
  EXPECT_GT(log_.releases[0].retry_after_ms(), 0u);
}

TEST_F(CompactorTest, AnEmbedderItDoesNotHaveIsAFailureOfTheCollection) {
  v1::ClaimResponse claim = Claim();
  claim.mutable_schema()->mutable_embedder()->set_kind("of the future");
  Push({"a"});
  Start();
  log_.Grant(claim);
  ASSERT_TRUE(AwaitRelease());
  EXPECT_EQ(log_.releases[0].reason(), v1::RELEASE_REASON_COLLECTION);
}

TEST_F(CompactorTest, AnEmbedderThatCannotBeIsRefusedAtStart) {
  settings_.embedders["hashing"].Declare(declared_, "compactor.embedders.hashing");
  settings_.embedders["hashing"].endpoints = "127.0.0.1:1";
  compactor_.emplace(settings_, registry_);
  EXPECT_TRUE(absl::IsInvalidArgument(compactor_->Start(log_.Channel())));
  settings_.embedders.clear();
  settings_.embedders["no-endpoint"].Declare(declared_, "compactor.embedders.no-endpoint");
  compactor_.emplace(settings_, registry_);
  const absl::Status refused = compactor_->Start(log_.Channel());
  EXPECT_TRUE(absl::IsInvalidArgument(refused));
  EXPECT_THAT(std::string(refused.message()), ::testing::HasSubstr("no-endpoint"));
}

TEST_F(CompactorTest, AStopFinishesTheBatchAtHandAndReleasesTheLease) {
  settings_.batch_records = 1;
  Push({"a", "b", "c"});
  std::promise<void> stopping;
  log_.on_commit = [wait = stopping.get_future().share()](const v1::CommitRequest&) {
    wait.wait();
    return absl::OkStatus();
  };
  Start();
  log_.Grant(Claim());
  ASSERT_TRUE(log_.Await([](const FakeLog& log) { return log.commits.size() == 1; }));
  compactor_->BeginDrain();
  stopping.set_value();
  compactor_->FinishDrain(std::chrono::steady_clock::now() + 10s);
  ASSERT_EQ(log_.releases.size(), 1u);
  EXPECT_EQ(log_.releases[0].reason(), v1::RELEASE_REASON_STOPPING);
  EXPECT_EQ(log_.commits.size(), 1u);
}

TEST_F(CompactorTest, AMergeReplacesItsInputs) {
  settings_.batch_records = 1;
  Push({"a", "b", "c", "d", "e", "f", "g", "h"});
  Start();
  log_.Grant(Claim());
  ASSERT_TRUE(AwaitRelease());
  v1::ClaimResponse claim = Claim(v1::LEASE_KIND_MERGE);
  claim.mutable_lease()->set_token(6);
  for (const v1::CommitRequest& commit : log_.commits)
    *claim.add_segments() = commit.compaction().segment();
  const size_t before = log_.commits.size();
  log_.Grant(claim);
  ASSERT_TRUE(log_.Await([](const FakeLog& log) { return log.releases.size() == 2; }));
  ASSERT_EQ(log_.commits.size(), before + 1);
  const v1::MergeWork& merge = log_.commits.back().merge();
  ASSERT_GT(merge.inputs_size(), 1);
  EXPECT_EQ(merge.output().rows(), static_cast<uint64_t>(merge.inputs_size()));
  EXPECT_EQ(merge.output().after_seq_id(), merge.inputs(0).after_seq_id());
  EXPECT_EQ(merge.output().up_to_seq_id(), merge.inputs(merge.inputs_size() - 1).up_to_seq_id());
  EXPECT_EQ(merge.output().token(), 6u);
}

TEST_F(CompactorTest, GarbageIsDeletedBeforeTheLogIsTold) {
  Push({"a"});
  v1::GarbageEntry entry;
  entry.set_key("k");
  entry.set_collection_id(collection_.ToString());
  entry.set_incarnation(kIncarnation.value);
  entry.mutable_segment()->set_token(5);
  entry.mutable_segment()->set_number(1);
  v1::GarbageEntry unknown = entry;
  unknown.set_key("of the future");
  unknown.clear_what();
  settings_.garbage_interval_ms = 3'600'000;
  Start();
  log_.Grant(Claim());
  ASSERT_TRUE(AwaitRelease());
  compactor_.reset();

  log_.garbage = {unknown, entry};
  settings_.garbage_interval_ms = 10;
  Start();
  ASSERT_TRUE(log_.Await([](const FakeLog& log) { return !log.collected.empty(); }));
  compactor_.reset();
  EXPECT_EQ(log_.collected[0], "k");
  const auto objects = FolderStore::Open(folder_.path());
  ASSERT_TRUE(objects.ok());
  EXPECT_TRUE(objects->List(collection_.ToString())->empty());
  EXPECT_EQ(std::count(log_.collected.begin(), log_.collected.end(), "of the future"), 0);
}

TEST_F(CompactorTest, IsNotReadyWhileTheLogDoesNotAnswer) {
  settings_.log_address = "127.0.0.1:1";
  Start();
  EXPECT_FALSE(compactor_->Ready().ok());
  EXPECT_TRUE(compactor_->Alive().ok());
}

TEST_F(CompactorTest, AFaultOfNoKnownStageIsRefused) {
  settings_.fault = "kill:nowhere";
  compactor_.emplace(settings_, registry_);
  EXPECT_TRUE(absl::IsInvalidArgument(compactor_->Start(log_.Channel())));
}

TEST_F(CompactorTest, MetricsFollowTheRulesOfNaming) {
  const Metrics metrics(registry_);
  const EmbedderMetrics embedder_metrics(registry_, "e");
  EXPECT_THAT(server::LintMetrics(registry_, "compactor"), ::testing::IsEmpty());
}

std::string Readme() {
  std::ifstream file(SLUICE_SOURCE_DIR "/services/compactor/README.md");
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_F(CompactorTest, TheReadmeHoldsEverySettingStageAndMetric) {
  const std::string readme = Readme();
  server::Settings declared;
  CompactorSettings settings;
  settings.Declare(declared, "127.0.0.1:7701");
  EXPECT_THAT(readme, ::testing::HasSubstr(declared.Reference()));
  for (const std::string_view stage : kStageNames)
    EXPECT_THAT(readme, ::testing::HasSubstr("`" + std::string(stage) + "`"));
  const Metrics metrics(registry_);
  const EmbedderMetrics embedder_metrics(registry_, "e");
  for (const prometheus::MetricFamily& family : registry_.Collect()) {
    EXPECT_THAT(readme, ::testing::HasSubstr("`" + family.name + "`"));
  }
}

}  // namespace
}  // namespace sluice::compactor

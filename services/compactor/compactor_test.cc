// The compactor against a scripted log: how each kind of failure ends.
#include "services/compactor/compactor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <future>

#include "common/objects/folder_store.h"
#include "common/server/metrics.h"
#include "services/compactor/fake_log.h"
#include "tests/embedder/embedder_server.h"
#include "tests/support/temp_folder.h"

namespace sluice::compactor {
namespace {

using namespace std::chrono_literals;
using testing::FakeLog;

constexpr Incarnation kIncarnation(77);

v1::OperationRecord Record(v1::Operation operation, const std::string& id) {
  v1::OperationRecord record;
  record.set_id(id);
  record.set_operation(operation);
  return record;
}

class CompactorTest : public ::testing::Test {
 protected:
  CompactorTest() {
    settings_.Declare(declared_, "");
    settings_.objects = folder_.path();
    settings_.vector_cache = vectors_.path() / "vectors";
    settings_.workers = 1;
    settings_.lease_ms = 30'000;
    settings_.claim_wait_ms = 50;
    settings_.garbage_interval_ms = 20;
  }

  void Start() {
    compactor_.emplace(settings_, registry_);
    const absl::Status started = compactor_->Start(log_.Channel());
    ASSERT_TRUE(started.ok()) << started;
  }

  v1::ClaimResponse Claim(v1::LeaseKind kind = v1::LEASE_KIND_COMPACTION) const {
    v1::ClaimResponse claim;
    claim.mutable_lease()->set_collection_id(collection_.ToString());
    claim.mutable_lease()->set_kind(kind);
    claim.mutable_lease()->set_token(5);
    claim.mutable_lease()->set_incarnation(kIncarnation.value);
    claim.mutable_schema()->mutable_embedder()->set_kind("hashing");
    claim.set_dimension(16);
    claim.set_id_hash_key("0123456789abcdef");
    return claim;
  }

  // One append of one record for each id.
  void Push(const std::vector<std::string>& ids) {
    for (const std::string& id : ids) {
      v1::Append append;
      append.set_first_seq_id(log_.appends.size() + 1);
      *append.add_records() = Record(v1::OPERATION_ADD, id);
      append.mutable_records(0)->set_document("text of " + id);
      log_.appends.push_back(append);
    }
  }

  bool AwaitRelease() {
    return log_.Await([](const FakeLog& log) { return !log.releases.empty(); });
  }

  sluice::testing::TempFolder folder_;
  sluice::testing::TempFolder vectors_;
  FakeLog log_;
  server::Settings declared_;
  CompactorSettings settings_;
  prometheus::Registry registry_;
  const CollectionId collection_{Uuid::Random()};
  std::optional<Compactor> compactor_;
};

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

// A collection whose embedder is a server.
class EmbedderElsewhere : public CompactorTest {
 protected:
  EmbedderElsewhere() {
    embed::EmbedderSettings& embedder = settings_.embedders["served"];
    embedder.Declare(declared_, "compactor.embedders.served");
    embedder.endpoints = server_.grpc_address();
    embedder.deadline_ms = 5'000;
    settings_.embed_patience_ms = 200;
    sluice::testing::Behaviour behaviour;
    behaviour.dimension = 16;
    server_.Set(behaviour);
  }
  v1::ClaimResponse Claim(uint64_t token = 5) const {
    v1::ClaimResponse claim = CompactorTest::Claim();
    claim.mutable_lease()->set_token(token);
    v1::Embedder& embedder = *claim.mutable_schema()->mutable_embedder();
    embedder.set_kind("served");
    embedder.set_model("test-model");
    embedder.set_document_prefix("passage: ");
    return claim;
  }
  void Misbehave(sluice::testing::Behaviour::Wrong wrong) {
    sluice::testing::Behaviour behaviour;
    behaviour.dimension = 16;
    behaviour.wrong = wrong;
    server_.Set(behaviour);
  }
  // Of the first release.
  v1::ReleaseRequest Released() {
    EXPECT_TRUE(AwaitRelease());
    return log_.releases.empty() ? v1::ReleaseRequest() : log_.releases[0];
  }

  sluice::testing::EmbedderServer server_;
};

TEST_F(EmbedderElsewhere, GetsEachDocumentOnceWithItsPrefix) {
  Push({"a", "b", "a"});
  Start();
  log_.Grant(Claim());
  ASSERT_TRUE(AwaitRelease());
  ASSERT_EQ(log_.commits.size(), 1u);
  EXPECT_EQ(log_.commits[0].compaction().segment().vectors(), 2u);
  EXPECT_THAT(server_.embedded(),
              ::testing::UnorderedElementsAre("passage: text of a", "passage: text of b"));
}

TEST_F(EmbedderElsewhere, IsNotAskedForATextAgain) {
  Push({"a", "b"});
  Start();
  log_.Grant(Claim());
  ASSERT_TRUE(AwaitRelease());
  // Another process, the same folder; and nobody to ask.
  compactor_.reset();
  Misbehave(sluice::testing::Behaviour::Wrong::kUnavailable);
  Start();
  log_.Grant(Claim(6));
  ASSERT_TRUE(log_.Await([](const FakeLog& log) { return log.commits.size() == 2; }));
  EXPECT_EQ(log_.commits[1].compaction().segment().vectors(), 2u);
  EXPECT_EQ(log_.commits[1].compaction().embedded(), 2u);
  EXPECT_EQ(server_.embedded().size(), 2u);
}

TEST_F(EmbedderElsewhere, IsAskedForWhatIsNewAmongKnownTexts) {
  Push({"b", "d"});
  Start();
  log_.Grant(Claim());
  ASSERT_TRUE(AwaitRelease());
  Push({"a", "c", "e"});
  log_.Grant(Claim(6));
  ASSERT_TRUE(log_.Await([](const FakeLog& log) { return log.commits.size() == 2; }));
  EXPECT_EQ(log_.commits[1].compaction().segment().vectors(), 5u);
  EXPECT_EQ(log_.commits[1].compaction().embedded(), 5u);
  EXPECT_EQ(server_.embedded().size(), 5u);
}

TEST_F(EmbedderElsewhere, IsAskedAgainWhereNothingIsToBeKept) {
  Push({"a"});
  Start();
  for (size_t i = 1; i <= 2; ++i) {
    v1::ClaimResponse claim = Claim(4 + i);
    claim.set_keep_nothing(true);
    log_.Grant(claim);
    ASSERT_TRUE(log_.Await([i](const FakeLog& log) { return log.releases.size() == i; }));
  }
  EXPECT_EQ(server_.embedded().size(), 2u);
}

TEST_F(EmbedderElsewhere, IsAskedAgainIfTheSchemaNamesNoModel) {
  Push({"a"});
  Start();
  for (size_t i = 1; i <= 2; ++i) {
    v1::ClaimResponse claim = Claim(4 + i);
    claim.mutable_schema()->mutable_embedder()->clear_model();
    log_.Grant(claim);
    ASSERT_TRUE(log_.Await([i](const FakeLog& log) { return log.releases.size() == i; }));
  }
  EXPECT_EQ(server_.embedded().size(), 2u);
}

TEST_F(EmbedderElsewhere, KnownTextsCountWhereRefusedOnesAreJudged) {
  constexpr int kTexts = 9'000;
  constexpr int kRefused = 100;
  v1::Append append;
  append.set_first_seq_id(1);
  for (int i = 0; i < kTexts; ++i) {
    v1::OperationRecord& record = *append.add_records();
    record = Record(v1::OPERATION_ADD, std::to_string(i));
    record.set_document(absl::StrCat(i < kRefused ? sluice::testing::kRefusedMark : "text", i));
  }
  log_.appends.push_back(append);
  Start();
  for (size_t i = 1; i <= 2; ++i) {
    v1::ClaimResponse claim = Claim(4 + i);
    claim.mutable_embed_window()->set_texts(kTexts);
    log_.Grant(claim);
    ASSERT_TRUE(log_.Await([i](const FakeLog& log) { return log.releases.size() == i; }));
    EXPECT_EQ(log_.releases.back().reason(), v1::RELEASE_REASON_DONE);
  }
}

TEST_F(EmbedderElsewhere, IsAskedWithoutACacheThatCannotBeUsed) {
  std::ofstream(settings_.vector_cache) << "a file";
  Push({"a"});
  Start();
  log_.Grant(Claim());
  ASSERT_TRUE(AwaitRelease());
  EXPECT_EQ(log_.commits.size(), 1u);
}

TEST_F(EmbedderElsewhere, ThatIsAwayIsInfrastructureAndHoldsUpNobodyElse) {
  Misbehave(sluice::testing::Behaviour::Wrong::kUnavailable);
  Push({"a"});
  Start();
  log_.Grant(Claim());
  const v1::ReleaseRequest released = Released();
  EXPECT_TRUE(log_.commits.empty());
  EXPECT_EQ(released.reason(), v1::RELEASE_REASON_INFRASTRUCTURE);
  EXPECT_GT(released.retry_after_ms(), 0u);
  EXPECT_THAT(released.message(), ::testing::HasSubstr("Model is not healthy"));
  // The one worker goes on with a collection of another embedder.
  log_.Grant(CompactorTest::Claim());
  EXPECT_TRUE(log_.Await([](const FakeLog& log) { return log.commits.size() == 1; }));
}

TEST_F(EmbedderElsewhere, OfAnotherDimensionIsAFailureOfTheCollection) {
  v1::ClaimResponse claim = Claim();
  claim.set_dimension(24);
  Push({"a"});
  Start();
  log_.Grant(claim);
  EXPECT_EQ(Released().reason(), v1::RELEASE_REASON_COLLECTION);
  EXPECT_TRUE(log_.commits.empty());
}

// Invariant 7.
TEST_F(EmbedderElsewhere, ThatRefusesATextIsToldOfInTheSameCommit) {
  const std::string bad = std::string("b") + sluice::testing::kRefusedMark;
  Push({"a", bad, "c"});
  Start();
  log_.Grant(Claim());
  ASSERT_TRUE(AwaitRelease());
  ASSERT_EQ(log_.commits.size(), 1u);
  const v1::CompactionWork& work = log_.commits[0].compaction();
  EXPECT_EQ(work.segment().rows(), 3u);
  EXPECT_EQ(work.segment().vectors(), 2u);
  EXPECT_EQ(work.embedded(), 2u);
  ASSERT_EQ(work.missing_size(), 1);
  EXPECT_EQ(work.missing(0).id(), bad);
  EXPECT_EQ(work.missing(0).reason(), v1::MISSING_REASON_REFUSED);
  EXPECT_FALSE(work.missing(0).words().empty());
  EXPECT_EQ(work.missing(0).seq_id(), 2u);
}

TEST_F(EmbedderElsewhere, ThatRefusesMoreThanAFewIsAFailureOfTheCollection) {
  std::vector<std::string> ids;
  for (int i = 0; i < 101; ++i) {
    ids.push_back(std::to_string(i) + sluice::testing::kRefusedMark);
  }
  Push(ids);
  Start();
  log_.Grant(Claim());
  const v1::ReleaseRequest released = Released();
  EXPECT_EQ(released.reason(), v1::RELEASE_REASON_COLLECTION);
  EXPECT_TRUE(log_.commits.empty());
}

TEST_F(EmbedderElsewhere, ThatIsAwayForLongIsOwedAndThenAsked) {
  settings_.owe_after_ms = 0;
  Misbehave(sluice::testing::Behaviour::Wrong::kUnavailable);
  Push({"a", "b"});
  Start();
  log_.Grant(Claim());
  ASSERT_TRUE(AwaitRelease());
  EXPECT_EQ(log_.releases[0].reason(), v1::RELEASE_REASON_DONE);
  ASSERT_EQ(log_.commits.size(), 1u);
  const v1::CompactionWork owing = log_.commits[0].compaction();
  EXPECT_EQ(owing.segment().rows(), 2u);
  EXPECT_EQ(owing.segment().vectors(), 0u);
  ASSERT_EQ(owing.missing_size(), 2);
  EXPECT_EQ(owing.missing(0).reason(), v1::MISSING_REASON_OWED);

  // Back: what is owed is filled in although nothing is new, once the embedder is looked at again.
  compactor_.reset();
  Misbehave(sluice::testing::Behaviour::Wrong::kNothing);
  log_.missing.assign(owing.missing().begin(), owing.missing().end());
  v1::ClaimResponse claim = Claim();
  claim.mutable_lease()->set_token(6);
  claim.set_applied_seq_id(2);
  claim.set_tail_seq_id(2);
  claim.set_missing_vectors(2);
  claim.set_owed_vectors(2);
  *claim.add_segments() = owing.segment();
  Start();
  log_.Grant(claim);
  ASSERT_TRUE(log_.Await([](const FakeLog& log) { return log.releases.size() == 2; }));
  ASSERT_EQ(log_.commits.size(), 2u);
  const v1::CompactionWork& filling = log_.commits[1].compaction();
  EXPECT_EQ(filling.from_seq_id(), 2u);
  EXPECT_EQ(filling.to_seq_id(), 2u);
  EXPECT_EQ(filling.segment().vectors(), 2u);
  EXPECT_EQ(filling.settled().size(), 32u);
  EXPECT_EQ(filling.missing_size(), 0);
}

TEST_F(EmbedderElsewhere, ThatHangsDoesNotHoldUpAStop) {
  Misbehave(sluice::testing::Behaviour::Wrong::kHang);
  settings_.embedders["served"].deadline_ms = 600'000;
  Push({"a"});
  Start();
  log_.Grant(Claim());
  ASSERT_TRUE(log_.Await([](const FakeLog& log) { return log.pulls > 0; }));
  compactor_->BeginDrain();
  compactor_->FinishDrain(std::chrono::steady_clock::now() + 30s);
  ASSERT_EQ(log_.releases.size(), 1u);
  EXPECT_EQ(log_.releases[0].reason(), v1::RELEASE_REASON_STOPPING);
  EXPECT_TRUE(log_.commits.empty());
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

// A compaction whose embedder is a server: what it is asked, and how each of its failures ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "services/compactor/compactor_fixture.h"
#include "tests/embedder/embedder_server.h"

namespace sluice::compactor {
namespace {

using namespace std::chrono_literals;

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
  ids.reserve(101);
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

}  // namespace
}  // namespace sluice::compactor

#include "services/log/figures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/log/log_machine_fixture.h"

namespace sluice::log {
namespace {

class FiguresTest : public LogMachineTest {
 protected:
  WorkFigures Measure() {
    const auto figures = MeasureWork(Snapshot(machine_.store()), machine_.time_us, &stalls_);
    EXPECT_TRUE(figures.ok()) << figures.status();
    return *figures;
  }
  // Applies what there is, in a lease of its own.
  void Compact(const std::vector<std::pair<std::string, v1::MissingReason>>& missing = {}) {
    PushAndWait();
    const ClaimAnswer claim = Claim();
    ASSERT_TRUE(claim.granted);
    v1::CommitRequest commit = CompactionOf(claim, 1, State().applied(), State().tail());
    for (const auto& [id, reason] : missing) {
      v1::MissingVector& row = *commit.mutable_compaction()->add_missing();
      row.set_id(id);
      row.set_reason(reason);
    }
    ASSERT_TRUE(Commit(commit).ok());
    ASSERT_TRUE(Release(LeaseOf(claim)).ok());
  }

  StallWatch stalls_;
};

TEST_F(FiguresTest, LagAndWaitingWorkAreThoseOfWhatIsNotApplied) {
  EXPECT_EQ(Measure().lag.records, 0u);
  ASSERT_TRUE(Push({Record("a", "text"), Record("b", "text")}).ok());
  machine_.time_us += 5 * kSecond;
  WorkFigures figures = Measure();
  EXPECT_EQ(figures.lag.records, 2u);
  EXPECT_EQ(figures.lag.bytes, State().tail_bytes());
  EXPECT_EQ(figures.lag.tokens, 0u) << "nobody embeds them";
  EXPECT_EQ(figures.lag.oldest_seconds, 5);
  ASSERT_EQ(figures.worst_lag.size(), 1u);
  EXPECT_EQ(figures.worst_lag[0].collection, id_);
  EXPECT_EQ(figures.compactions.collections, 0u) << "it is not due yet";
  machine_.time_us += 8 * kSecond;
  figures = Measure();
  EXPECT_EQ(figures.compactions.collections, 1u);
  EXPECT_EQ(figures.compactions.longest_seconds, 3);
  EXPECT_EQ(figures.merges.collections, 0u);
  ASSERT_TRUE(Claim().granted);
  EXPECT_EQ(Measure().compactions.collections, 0u) << "somebody has it";
  EXPECT_EQ(Measure().lag.records, 2u);
}

TEST_F(FiguresTest, TokensAreTheBytesOfCollectionsWithAnEmbedderAtFourEach) {
  const CollectionId embedded = NewCollectionId();
  pb::Command open;
  open.mutable_open_log()->set_collection_id(std::string(embedded.view()));
  open.mutable_open_log()->mutable_schema()->mutable_embedder()->set_kind("hashing");
  ASSERT_TRUE(machine_.Apply(Command(open)).ok());
  ASSERT_TRUE(Push({Record("a", "text")}).ok());
  ASSERT_TRUE(machine_.Apply(PushOf(embedded, {}, {Record("a", std::string(4000, 'x'))})).ok());
  const Lag lag = Measure().lag;
  EXPECT_GE(lag.tokens, 1000u);
  EXPECT_LE(lag.tokens, 1010u);
}

TEST_F(FiguresTest, ACollectionIsStalledOnceNothingWasAppliedForFiveMinutesAlthoughItWasDue) {
  ASSERT_TRUE(Push({Record("a"), Record("b")}).ok());
  EXPECT_EQ(Measure().stalled, 0u);
  machine_.time_us += StallWatch::kStalledAfterUs;
  EXPECT_EQ(Measure().stalled, 0u) << "it has come due just now, as far as anybody looked";
  machine_.time_us += StallWatch::kStalledAfterUs / 2;
  EXPECT_EQ(Measure().stalled, 0u);
  // Whoever has it.
  const ClaimAnswer claim = Claim();
  ASSERT_TRUE(claim.granted);
  machine_.time_us += StallWatch::kStalledAfterUs / 2;
  EXPECT_EQ(Measure().stalled, 1u);
  ASSERT_TRUE(Commit(CompactionOf(claim, 1, 0, 1)).ok());
  EXPECT_EQ(Measure().stalled, 0u);
  machine_.time_us += StallWatch::kStalledAfterUs;
  EXPECT_EQ(Measure().stalled, 1u);
  ASSERT_TRUE(Commit(CompactionOf(claim, 2, 1, 2)).ok());
  EXPECT_EQ(Measure().stalled, 0u);
}

TEST_F(FiguresTest, ACollectionIsFailingUntilItsWorkSucceeds) {
  PushAndWait();
  ASSERT_TRUE(Release(LeaseOf(Claim()), v1::RELEASE_REASON_COLLECTION, 1000).ok());
  EXPECT_EQ(Measure().failing, 1u);
  machine_.time_us += kSecond;
  ASSERT_TRUE(Commit(CompactionOf(Claim(), 1, 0, 1)).ok());
  EXPECT_EQ(Measure().failing, 0u);
}

TEST_F(FiguresTest, SegmentsAreCountedThroughCommitsAndDeletion) {
  ASSERT_TRUE(Push({Record("a")}).ok());
  EXPECT_TRUE(Measure().most_segments.empty()) << "how many there are is not known of every store";
  for (int i = 0; i < 3; ++i) Compact();
  EXPECT_EQ(Measure().segments, 3u);
  EXPECT_EQ(State().segments(), 3u);
  ASSERT_TRUE(Push({Record("a")}).ok());
  const WorkFigures figures = Measure();
  ASSERT_EQ(figures.most_segments.size(), 1u);
  EXPECT_EQ(figures.most_segments[0].count, 3u);

  ASSERT_TRUE(Delete().ok());
  EXPECT_EQ(Measure().segments, 3u) << "they are there for a while";
  machine_.time_us += machine_.policy.grace_us();
  Collect(Garbage(0));
  EXPECT_EQ(Measure().segments, 0u);
}

TEST_F(FiguresTest, MissingVectorsAreCountedAlsoWhereNothingIsDue) {
  Compact({{"a", v1::MISSING_REASON_OWED},
           {"b", v1::MISSING_REASON_REFUSED},
           {"c", v1::MISSING_REASON_FAILING}});
  WorkFigures figures = Measure();
  EXPECT_EQ(figures.owed_vectors, 1u);
  EXPECT_EQ(figures.refused_vectors, 2u);
  pb::Command drop;
  drop.mutable_drop_missing()->set_collection_id(std::string(id_.view()));
  drop.mutable_drop_missing()->add_ids("a");
  ASSERT_TRUE(machine_.Apply(Command(drop)).ok());
  ASSERT_TRUE(Due(DueKind::kCompaction).empty());
  figures = Measure();
  EXPECT_EQ(figures.owed_vectors, 0u);
  EXPECT_EQ(figures.refused_vectors, 2u);
  ASSERT_EQ(figures.most_missing_vectors.size(), 1u);
  EXPECT_EQ(figures.most_missing_vectors[0].collection, id_);
  EXPECT_EQ(figures.most_missing_vectors[0].count, 2u);
}

}  // namespace
}  // namespace sluice::log

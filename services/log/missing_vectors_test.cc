// Rows that lack the vector of their document: listed, counted, settled, looked at again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/coding.h"
#include "common/segment/id_hash.h"
#include "services/log/log_machine_fixture.h"

namespace sluice::log {
namespace {

class MissingVectorsTest : public LogMachineTest {
 protected:
  // A commit of the next record, by which `ids` miss their vectors.
  Result CommitMissing(const std::vector<std::string>& ids, v1::MissingReason reason,
                       const std::vector<std::string>& settled = {}) {
    const uint64_t applied = State().applied();
    PushAndWait();
    return Commit(Missing(Claim(), applied, applied + 1, ids, reason, settled));
  }
  // The lease is released afterwards.
  Result Commit(const v1::CommitRequest& request) {
    const Result result = LogMachineTest::Commit(request);
    EXPECT_TRUE(Release(request.lease()).ok());
    return result;
  }
  v1::CommitRequest Missing(const ClaimAnswer& claim, uint64_t from, uint64_t to,
                            const std::vector<std::string>& ids, v1::MissingReason reason,
                            const std::vector<std::string>& settled = {}) {
    v1::CommitRequest request = CompactionOf(claim, 1, from, to);
    v1::CompactionWork& work = *request.mutable_compaction();
    work.set_live_delta(0);
    for (const std::string& id : ids) {
      v1::MissingVector& missing = *work.add_missing();
      missing.set_id(id);
      missing.set_reason(reason);
      missing.set_words("because");
    }
    for (const std::string& id : settled) {
      const IdHash hash = IdHasher(State().id_hash_key())(id);
      PutBigEndian64(work.mutable_settled(), hash.high);
      PutBigEndian64(work.mutable_settled(), hash.low);
    }
    return request;
  }
  std::vector<std::string> Listed(v1::MissingReason reason = v1::MISSING_REASON_UNSPECIFIED) {
    std::vector<std::string> ids;
    std::string after;
    do {
      const auto page = *ReadMissingVectors(Snapshot(machine_.store()), id_, reason, after, 2);
      for (const v1::MissingVector& missing : page.missing) {
        EXPECT_EQ(missing.words(), "because");
        EXPECT_NE(missing.since_time_us(), 0);
        ids.push_back(missing.id());
      }
      after = page.next;
    } while (!after.empty());
    std::sort(ids.begin(), ids.end());
    EXPECT_TRUE(reason != v1::MISSING_REASON_UNSPECIFIED ||
                ids.size() == State().missing_vectors());
    return ids;
  }
  Result Retry(const std::vector<std::string>& ids) {
    pb::Command command;
    command.mutable_retry_missing()->set_collection_id(std::string(id_.view()));
    for (const std::string& id : ids) command.mutable_retry_missing()->add_ids(id);
    return machine_.Apply(Command(command));
  }
  Result Drop(const std::vector<std::string>& ids) {
    pb::Command command;
    command.mutable_drop_missing()->set_collection_id(std::string(id_.view()));
    for (const std::string& id : ids) command.mutable_drop_missing()->add_ids(id);
    return machine_.Apply(Command(command));
  }
};

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST_F(MissingVectorsTest, AreListedByReasonInPagesAndCounted) {  // invariant 7
  ASSERT_TRUE(CommitMissing({"a", "b", "c"}, v1::MISSING_REASON_REFUSED).ok());
  ASSERT_TRUE(CommitMissing({"d"}, v1::MISSING_REASON_FAILING).ok());
  ASSERT_TRUE(CommitMissing({"e"}, v1::MISSING_REASON_OWED).ok());
  EXPECT_THAT(Listed(), ElementsAre("a", "b", "c", "d", "e"));
  EXPECT_THAT(Listed(v1::MISSING_REASON_REFUSED), ElementsAre("a", "b", "c"));
  EXPECT_THAT(Listed(v1::MISSING_REASON_OWED), ElementsAre("e"));
  EXPECT_EQ(State().owed_vectors(), 1u);
}

TEST_F(MissingVectorsTest, OneThatIsCommittedAgainIsOneAndOneThatIsSettledIsNone) {
  ASSERT_TRUE(CommitMissing({"a", "b"}, v1::MISSING_REASON_OWED).ok());
  ASSERT_TRUE(CommitMissing({"a"}, v1::MISSING_REASON_REFUSED).ok());
  EXPECT_THAT(Listed(), ElementsAre("a", "b"));
  EXPECT_EQ(State().owed_vectors(), 1u);
  ASSERT_TRUE(CommitMissing({}, v1::MISSING_REASON_OWED, {"a", "b", "never"}).ok());
  EXPECT_THAT(Listed(), IsEmpty());
  EXPECT_EQ(State().owed_vectors(), 0u);
}

TEST_F(MissingVectorsTest, OwedOnesMakeTheLogDueAndAreFilledInWithoutNewRecords) {
  ASSERT_TRUE(CommitMissing({"a", "b"}, v1::MISSING_REASON_OWED).ok());
  ASSERT_EQ(Due(DueKind::kCompaction).size(), 1);
  EXPECT_EQ(Due(DueKind::kCompaction)[0].due_us, machine_.time_us + 30 * kSecond);
  EXPECT_FALSE(Claim().granted);
  machine_.time_us += 30 * kSecond;
  ClaimAnswer claim = Claim();
  ASSERT_TRUE(claim.granted);
  v1::CommitRequest fill = Missing(claim, 1, 1, {}, v1::MISSING_REASON_OWED, {"a"});
  ASSERT_TRUE(Commit(fill).ok());
  EXPECT_THAT(Listed(), ElementsAre("b"));
  // There is more to fill in: at once, in a segment of its own.
  claim = Claim();
  ASSERT_TRUE(claim.granted);
  ASSERT_TRUE(Commit(Missing(claim, 1, 1, {}, v1::MISSING_REASON_OWED, {"b"})).ok());
  EXPECT_TRUE(Due(DueKind::kCompaction).empty());
  EXPECT_EQ(State().applied(), 1u);
  const auto segments = *ReadSegments(Snapshot(machine_.store()), id_);
  ASSERT_EQ(segments.size(), 3u);
  for (uint64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(segments[i].up_to_seq_id(), 1u);
    EXPECT_EQ(segments[i].fill(), i);
  }
  EXPECT_EQ(segments[1].after_seq_id(), 1u);
}

TEST_F(MissingVectorsTest, SegmentsOfFillsAreMergedLikeAnyOther) {
  ASSERT_TRUE(CommitMissing({"a", "b"}, v1::MISSING_REASON_OWED).ok());
  for (const char* id : {"a", "b"}) {
    machine_.time_us += 30 * kSecond;
    ASSERT_TRUE(Commit(Missing(Claim(), 1, 1, {}, v1::MISSING_REASON_OWED, {id})).ok());
  }
  const auto inputs = *ReadSegments(Snapshot(machine_.store()), id_);
  ASSERT_EQ(inputs.size(), 3u);
  const ClaimAnswer claim = Claim(v1::LEASE_KIND_MERGE);
  ASSERT_TRUE(claim.granted);
  v1::CommitRequest merge;
  *merge.mutable_lease() = LeaseOf(claim, v1::LEASE_KIND_MERGE);
  merge.set_number(1);
  *merge.mutable_merge()->add_inputs() = inputs[0];
  *merge.mutable_merge()->add_inputs() = inputs[1];
  *merge.mutable_merge()->mutable_output() = SegmentOf(claim, 1, 0, 1, 1);
  ASSERT_TRUE(LogMachineTest::Commit(merge).ok());
  const auto merged = *ReadSegments(Snapshot(machine_.store()), id_);
  ASSERT_EQ(merged.size(), 2u);
  EXPECT_EQ(merged[0].token(), claim.token.value);
  EXPECT_EQ(merged[0].fill(), 1u);
  EXPECT_EQ(merged[1].fill(), 2u);
}

TEST_F(MissingVectorsTest, ACommitWithoutRecordsThatSettlesNothingIsRefused) {
  ASSERT_TRUE(CommitMissing({"a"}, v1::MISSING_REASON_OWED).ok());
  machine_.time_us += 30 * kSecond;
  const ClaimAnswer claim = Claim();
  EXPECT_EQ(ReasonIn(LogMachineTest::Commit(Missing(claim, 1, 1, {}, v1::MISSING_REASON_OWED))),
            Reason::INVALID_REQUEST);
  v1::CommitRequest odd = Missing(claim, 1, 1, {}, v1::MISSING_REASON_OWED, {"a"});
  odd.mutable_compaction()->mutable_settled()->pop_back();
  EXPECT_EQ(ReasonIn(LogMachineTest::Commit(odd)), Reason::INVALID_REQUEST);
  v1::CommitRequest without = Missing(claim, 1, 1, {"b"}, v1::MISSING_REASON_OWED);
  without.mutable_compaction()->clear_segment();
  EXPECT_EQ(ReasonIn(LogMachineTest::Commit(without)), Reason::INVALID_REQUEST);
  v1::CommitRequest unknown = Missing(claim, 1, 1, {"b"}, static_cast<v1::MissingReason>(9));
  EXPECT_EQ(ReasonIn(LogMachineTest::Commit(unknown)), Reason::INVALID_REQUEST);
  EXPECT_THAT(Listed(), ElementsAre("a"));
}

TEST_F(MissingVectorsTest, ARetryMakesThemOwedAndTheLogDueAtOnce) {
  ASSERT_TRUE(CommitMissing({"a", "b"}, v1::MISSING_REASON_REFUSED).ok());
  EXPECT_TRUE(Due(DueKind::kCompaction).empty());
  ASSERT_TRUE(Retry({"a", "never"}).ok());
  EXPECT_THAT(Listed(v1::MISSING_REASON_OWED), ElementsAre("a"));
  EXPECT_TRUE(Claim().granted);
}

TEST_F(MissingVectorsTest, DroppedOnesAreNotListedAnyMore) {
  ASSERT_TRUE(CommitMissing({"a"}, v1::MISSING_REASON_REFUSED).ok());
  ASSERT_TRUE(CommitMissing({"b"}, v1::MISSING_REASON_OWED).ok());
  ASSERT_TRUE(Drop({"a", "b"}).ok());
  ASSERT_TRUE(Drop({"a", "b"}).ok());
  EXPECT_THAT(Listed(), IsEmpty());
  EXPECT_TRUE(Due(DueKind::kCompaction).empty());
}

TEST_F(MissingVectorsTest, TheWindowCountsTextsAndIsHalved) {
  PushAndWait();
  v1::CommitRequest request = Missing(Claim(), 0, 1, {"a", "b"}, v1::MISSING_REASON_REFUSED);
  request.mutable_compaction()->set_embedded(98);
  ASSERT_TRUE(Commit(request).ok());
  EXPECT_EQ(State().embed_window().texts(), 100u);
  EXPECT_EQ(State().embed_window().refused(), 2u);
  PushAndWait();
  request = Missing(Claim(), 1, 2, {"c"}, v1::MISSING_REASON_OWED);
  request.mutable_compaction()->set_embedded(30'000);
  ASSERT_TRUE(Commit(request).ok());
  EXPECT_EQ(State().embed_window().texts(), 15'050u);
  EXPECT_EQ(State().embed_window().refused(), 1u);
}

TEST_F(MissingVectorsTest, GoWithTheWholeCollection) {
  ASSERT_TRUE(CommitMissing({"a"}, v1::MISSING_REASON_OWED).ok());
  ASSERT_TRUE(Delete().ok());
  EXPECT_TRUE(Due(DueKind::kCompaction).empty());
  machine_.time_us += 2 * machine_.policy.grace_us();
  Collect(Garbage());
  for (const auto& [key, value] : machine_.LogicalRows()) {
    EXPECT_NE(RowTypeOf(key), RowType::kMissing);
  }
}

}  // namespace
}  // namespace sluice::log

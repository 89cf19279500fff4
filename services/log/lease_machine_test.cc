// Leases of one log and the commits under them: compactions, then merges.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "services/log/due.h"
#include "services/log/log_machine_fixture.h"

namespace sluice::log {
namespace {

TEST_F(LogMachineTest, ALogIsDueByAgeAndAtOnceBySize) {
  EXPECT_TRUE(Due(DueKind::kCompaction).empty());
  ASSERT_TRUE(Push({Record("a")}).ok());
  ASSERT_EQ(Due(DueKind::kCompaction).size(), 1);
  EXPECT_EQ(Due(DueKind::kCompaction)[0].due_us, machine_.time_us + 10 * kSecond);
  machine_.time_us += kSecond;
  ASSERT_TRUE(Push({Record("b", std::string(1 << 20, 'x'))}).ok());
  ASSERT_EQ(Due(DueKind::kCompaction).size(), 1);
  EXPECT_EQ(Due(DueKind::kCompaction)[0].due_us, machine_.time_us);
  const int64_t since = machine_.time_us;
  machine_.time_us += kSecond;
  ASSERT_TRUE(Push({Record("c")}).ok());
  EXPECT_EQ(Due(DueKind::kCompaction)[0].due_us, since);  // it keeps its place
}

TEST_F(LogMachineTest, AClaimIsGrantedOnceAndOnlyWhenDue) {
  ASSERT_TRUE(Push({Record("a")}).ok());
  EXPECT_FALSE(Claim().granted);
  machine_.time_us += 10 * kSecond;
  const ClaimAnswer claim = Claim();
  EXPECT_TRUE(claim.granted);
  EXPECT_EQ(claim.expires_us, machine_.time_us + 30 * kSecond);
  EXPECT_FALSE(Claim().granted);
  EXPECT_EQ(Due(DueKind::kCompaction)[0].due_us, claim.expires_us);
}

TEST_F(LogMachineTest, ACommitMovesAppliedAndTheSegmentsTogether) {  // invariant 5
  ASSERT_TRUE(Push({Record("a"), Record("b")}).ok());
  PushAndWait();
  const ClaimAnswer claim = Claim();
  v1::CommitRequest request = CompactionOf(claim, 1, 0, 2);
  request.mutable_compaction()->mutable_no_effect()->set_adds(4);
  const Result result = Commit(request);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(std::get<v1::CommitResponse>(*result).applied_seq_id(), 2);
  const pb::LogState state = State();
  EXPECT_EQ(state.applied(), 2);
  EXPECT_EQ(state.live_count(), 1);
  EXPECT_EQ(state.no_effect().adds(), 4);
  EXPECT_EQ(state.segments_version(), 2);
  const auto segments = *ReadSegments(Snapshot(machine_.store()), id_);
  ASSERT_EQ(segments.size(), 1);
  EXPECT_EQ(segments[0].up_to_seq_id(), 2);
}

TEST_F(LogMachineTest, UnappliedBytesAndAgeFollowACommitIntoTheMiddleOfAnAppend) {
  ASSERT_TRUE(Push({Record("a")}).ok());
  machine_.time_us += kSecond;
  const int64_t second = machine_.time_us;
  ASSERT_TRUE(Push({Record("b"), Record("c", "longer"), Record("d")}).ok());
  machine_.time_us += 11 * kSecond;
  const ClaimAnswer claim = Claim();
  const uint64_t tail_bytes = State().tail_bytes();
  ASSERT_TRUE(Commit(CompactionOf(claim, 1, 0, 3)).ok());
  EXPECT_EQ(State().oldest_unapplied_us(), second);
  v1::PushLogsRequest last;
  *last.add_records() = Record("d");
  EXPECT_EQ(tail_bytes - State().applied_bytes(), last.ByteSizeLong());
  ASSERT_TRUE(Commit(CompactionOf(claim, 2, 3, 4)).ok());
  EXPECT_EQ(State().oldest_unapplied_us(), 0);
  EXPECT_EQ(State().applied_bytes(), tail_bytes);
  EXPECT_TRUE(Due(DueKind::kCompaction).empty());
}

TEST_F(LogMachineTest, ACommitAfterAPushOfTheSameGroupFindsItsPlace) {
  PushAndWait();
  const ClaimAnswer claim = Claim();
  pb::Command commit;
  commit.mutable_commit()->set_collection_id(std::string(id_.view()));
  *commit.mutable_commit()->mutable_request() = CompactionOf(claim, 1, 0, 2);
  const auto results =
      machine_.ApplyGroup({PushOf(id_, {}, {Record("b"), Record("c")}), Command(commit)});
  ASSERT_TRUE(results[1].ok()) << results[1].status();
  EXPECT_EQ(State().applied(), 2);
  EXPECT_EQ(State().oldest_unapplied_us(), machine_.time_us);
}

TEST_F(LogMachineTest, ARepeatedCommitGetsItsFirstAnswerEvenAfterTheLeaseEnded) {  // invariant 6
  PushAndWait();
  const ClaimAnswer claim = Claim();
  const v1::CommitRequest request = CompactionOf(claim, 1, 0, 1);
  const auto first = std::get<v1::CommitResponse>(*Commit(request));
  const auto again = std::get<v1::CommitResponse>(*Commit(request));
  EXPECT_EQ(again.SerializeAsString(), first.SerializeAsString());
  ASSERT_TRUE(Release(LeaseOf(claim)).ok());
  const auto late = std::get<v1::CommitResponse>(*Commit(request));
  EXPECT_EQ(late.SerializeAsString(), first.SerializeAsString());
  EXPECT_EQ(State().live_count(), 1);
}

TEST_F(LogMachineTest, AfterAnotherClaimTheFirstLeaseIsLost) {  // invariant 6
  PushAndWait();
  const ClaimAnswer first = Claim();
  machine_.time_us += 31 * kSecond;
  const ClaimAnswer second = Claim();
  ASSERT_TRUE(second.granted);
  EXPECT_GT(second.token, first.token);
  EXPECT_EQ(ReasonIn(Commit(CompactionOf(first, 1, 0, 1))), Reason::LEASE_LOST);
  EXPECT_TRUE(Release(LeaseOf(first)).ok());
  EXPECT_TRUE(Commit(CompactionOf(second, 1, 0, 1)).ok());
}

TEST_F(LogMachineTest, ALeaseThatRanOutButThatNobodyTookCanBeRenewedAndCommitted) {  // invariant 6
  PushAndWait();
  const ClaimAnswer claim = Claim();
  machine_.time_us += 3600 * kSecond;
  pb::Command command;
  auto& renew = *command.mutable_renew();
  renew.set_collection_id(std::string(id_.view()));
  renew.set_kind(v1::LEASE_KIND_COMPACTION);
  renew.set_token(claim.token.value);
  renew.set_lease_ms(1000);
  EXPECT_EQ(std::get<RenewAnswer>(*machine_.Apply(Command(command))).expires_us,
            machine_.time_us + kSecond);
  machine_.time_us += 3600 * kSecond;
  EXPECT_TRUE(Commit(CompactionOf(claim, 1, 0, 1)).ok());
}

TEST_F(LogMachineTest, CommitsThatDoNotFitAreRefusedAndChangeNothing) {  // invariants 5, 6
  ASSERT_TRUE(Push({Record("a"), Record("b")}).ok());
  PushAndWait();
  const ClaimAnswer claim = Claim();
  const auto before = machine_.LogicalRows();
  struct Case {
    std::string what;
    Reason reason;
    v1::CommitRequest request;
  };
  std::vector<Case> cases;
  const auto add = [&](std::string what, Reason reason, auto change) {
    v1::CommitRequest request = CompactionOf(claim, 1, 0, 2);
    change(request);
    cases.push_back({std::move(what), reason, std::move(request)});
  };
  add("a token never granted", Reason::LEASE_LOST,
      [](auto& r) { r.mutable_lease()->set_token(9); });
  add("the other kind", Reason::LEASE_LOST,
      [](auto& r) { r.mutable_lease()->set_kind(v1::LEASE_KIND_MERGE); });
  add("no kind", Reason::INVALID_REQUEST,
      [](auto& r) { r.mutable_lease()->set_kind(v1::LEASE_KIND_UNSPECIFIED); });
  add("another incarnation", Reason::INCARNATION_CHANGED,
      [](auto& r) { r.mutable_lease()->set_incarnation(99); });
  add("a number too many", Reason::COMMIT_OUT_OF_ORDER, [](auto& r) { r.set_number(2); });
  add("number 0", Reason::COMMIT_OUT_OF_ORDER, [](auto& r) { r.set_number(0); });
  add("no work", Reason::INVALID_REQUEST, [](auto& r) { r.clear_work(); });
  add("another beginning", Reason::APPLIED_MOVED,
      [](auto& r) { r.mutable_compaction()->set_from_seq_id(1); });
  add("beyond the tail", Reason::INVALID_REQUEST,
      [](auto& r) { r.mutable_compaction()->set_to_seq_id(4); });
  add("nothing", Reason::INVALID_REQUEST,
      [](auto& r) { r.mutable_compaction()->set_to_seq_id(0); });
  add("fewer than no rows", Reason::INVALID_REQUEST,
      [](auto& r) { r.mutable_compaction()->set_live_delta(INT64_MIN); });
  add("a segment of another token", Reason::INVALID_REQUEST,
      [](auto& r) { r.mutable_compaction()->mutable_segment()->set_token(8); });
  add("a segment without a number", Reason::INVALID_REQUEST,
      [](auto& r) { r.mutable_compaction()->mutable_segment()->set_number(0); });
  add("a segment that covers something else", Reason::INVALID_REQUEST,
      [](auto& r) { r.mutable_compaction()->mutable_segment()->set_up_to_seq_id(3); });
  for (const Case& c : cases) {
    EXPECT_EQ(ReasonIn(Commit(c.request)), c.reason) << c.what;
  }
  EXPECT_EQ(machine_.LogicalRows(), before);
  ASSERT_TRUE(Commit(CompactionOf(claim, 1, 0, 2)).ok());
  EXPECT_EQ(ReasonIn(Commit(CompactionOf(claim, 3, 2, 3))), Reason::COMMIT_OUT_OF_ORDER);
}

TEST_F(LogMachineTest, AnEndedTokenIsGarbageThatNamesWhatItCommitted) {  // invariant 11
  ASSERT_TRUE(Push({Record("b")}).ok());
  PushAndWait();
  const ClaimAnswer claim = Claim();
  v1::CommitRequest request = CompactionOf(claim, 1, 0, 1);
  request.mutable_compaction()->mutable_segment()->set_number(7);
  ASSERT_TRUE(Commit(request).ok());
  ASSERT_TRUE(Commit(CompactionOf(claim, 2, 1, 2, /*entries=*/0)).ok());
  EXPECT_TRUE(Garbage().empty());
  ASSERT_TRUE(Release(LeaseOf(claim)).ok());
  EXPECT_TRUE(Garbage(machine_.policy.grace_us() - 1).empty());
  const auto garbage = Garbage(machine_.policy.grace_us());
  ASSERT_EQ(garbage.size(), 1);
  EXPECT_EQ(garbage[0].ended_token().token(), claim.token.value);
  EXPECT_THAT(garbage[0].ended_token().committed_objects(), testing::ElementsAre(7));
  Collect(garbage);
  EXPECT_EQ(Garbage().size(), 1) << "it is not due yet";
  machine_.time_us += machine_.policy.grace_us();
  Collect(garbage);
  EXPECT_TRUE(Garbage().empty());
  EXPECT_FALSE(*Snapshot(machine_.store()).Get(TokenKey(id_, claim.token)));
}

// However old what is left of its backlog is.
TEST_F(LogMachineTest, ACollectionThatHadItsTurnStandsBehindThoseThatWereDueByThen) {
  ASSERT_TRUE(Push({Record("a")}).ok());
  PushAndWait();
  machine_.time_us += 100 * kSecond;
  EXPECT_LT(Due(DueKind::kCompaction)[0].due_us, machine_.time_us - 99 * kSecond);
  const ClaimAnswer claim = Claim();
  machine_.time_us += kSecond;
  ASSERT_TRUE(Commit(CompactionOf(claim, 1, 0, 1)).ok());
  ASSERT_TRUE(Release(LeaseOf(claim)).ok());
  EXPECT_EQ(Due(DueKind::kCompaction)[0].due_us, machine_.time_us);
  const int64_t since = machine_.time_us;
  machine_.time_us += kSecond;
  ASSERT_TRUE(Push({Record("b", std::string(1 << 20, 'x'))}).ok());
  EXPECT_EQ(Due(DueKind::kCompaction)[0].due_us, since);
}

TEST_F(LogMachineTest, ReleasesSayWhenTheCollectionIsDueAgain) {
  PushAndWait();
  ClaimAnswer claim = Claim();
  ASSERT_TRUE(Release(LeaseOf(claim), v1::RELEASE_REASON_STOPPING).ok());
  claim = Claim();
  ASSERT_TRUE(claim.granted);
  ASSERT_TRUE(Release(LeaseOf(claim), v1::RELEASE_REASON_INFRASTRUCTURE, 5000).ok());
  EXPECT_EQ(State().failures(), 0);
  EXPECT_EQ(Due(DueKind::kCompaction)[0].due_us, machine_.time_us + 5 * kSecond);
  EXPECT_FALSE(Claim().granted);
  machine_.time_us += 5 * kSecond;
  claim = Claim();
  ASSERT_TRUE(Release(LeaseOf(claim), v1::RELEASE_REASON_COLLECTION, 1000).ok());
  EXPECT_EQ(State().failures(), 1);
  EXPECT_EQ(State().last_failure(), "why");
  machine_.time_us += kSecond;
  claim = Claim();
  ASSERT_TRUE(Commit(CompactionOf(claim, 1, 0, 1)).ok());
  EXPECT_EQ(State().failures(), 0);
  EXPECT_EQ(State().last_failure(), "");
}

class MergeTest : public LogMachineTest {
 protected:
  // Compacts record by record until a merge is due.
  void MakeSegments(int count) {
    for (int i = 0; i < count; ++i) {
      PushAndWait();
      const ClaimAnswer claim = Claim();
      ASSERT_TRUE(claim.granted);
      ASSERT_TRUE(Commit(CompactionOf(claim, 1, State().applied(), State().tail())).ok());
      ASSERT_TRUE(Release(LeaseOf(claim)).ok());
    }
  }
  // A compaction of a log in which so many records of nearly a megabyte are unapplied.
  ClaimAnswer ClaimBehind(int megabytes) {
    for (int i = 0; i < megabytes; ++i) {
      v1::OperationRecord record = Record("a");
      record.set_document(std::string(900'000, 'x'));
      EXPECT_TRUE(Push({record}).ok());
    }
    const ClaimAnswer claim = Claim();
    EXPECT_TRUE(claim.granted);
    return claim;
  }
  std::vector<v1::SegmentInfo> Segments() { return *ReadSegments(Snapshot(machine_.store()), id_); }
  v1::CommitRequest MergeOf(const ClaimAnswer& claim, size_t from, size_t to) {
    v1::CommitRequest request;
    *request.mutable_lease() = LeaseOf(claim, v1::LEASE_KIND_MERGE);
    request.set_number(1);
    const auto segments = Segments();
    for (size_t i = from; i < to; ++i) *request.mutable_merge()->add_inputs() = segments[i];
    *request.mutable_merge()->mutable_output() =
        SegmentOf(claim, 1, segments[from].after_seq_id(), segments[to - 1].up_to_seq_id(), 2);
    return request;
  }
};

TEST_F(MergeTest, AMergeThatSucceedsDoesNotHideCompactionsThatFail) {
  MakeSegments(16);
  PushAndWait();
  const ClaimAnswer failing = Claim();
  ASSERT_TRUE(failing.granted);
  ASSERT_TRUE(Release(LeaseOf(failing), v1::RELEASE_REASON_COLLECTION, 1000).ok());
  const ClaimAnswer merging = Claim(v1::LEASE_KIND_MERGE);
  ASSERT_TRUE(merging.granted);
  ASSERT_TRUE(Commit(MergeOf(merging, 0, 3)).ok());
  EXPECT_EQ(State().failures(), 1);
  EXPECT_EQ(State().last_failure(), "why");
}

TEST_F(MergeTest, MergesWaitWhileMuchIsUnapplied) {
  const ClaimAnswer claim = ClaimBehind(40);
  for (uint64_t number = 1; number <= 12; ++number) {
    ASSERT_TRUE(Commit(CompactionOf(claim, number, number - 1, number)).ok());
    EXPECT_TRUE(Due(DueKind::kMerge).empty());
  }
  ASSERT_TRUE(Commit(CompactionOf(claim, 13, 12, 13)).ok());
  EXPECT_FALSE(Due(DueKind::kMerge).empty());
}

TEST_F(MergeTest, MergesWaitNoLongerOnceLittleIsUnapplied) {
  const ClaimAnswer claim = ClaimBehind(24);
  for (uint64_t number = 1; number <= 3; ++number) {
    ASSERT_TRUE(Commit(CompactionOf(claim, number, number - 1, number)).ok());
  }
  EXPECT_TRUE(Due(DueKind::kMerge).empty());
  ASSERT_TRUE(Commit(CompactionOf(claim, 4, 3, 20)).ok());
  EXPECT_FALSE(Due(DueKind::kMerge).empty());
}

TEST_F(MergeTest, AMergeTakesItsInputsPlaceAndTheyBecomeGarbage) {  // invariants 6, 11
  MakeSegments(16);
  ASSERT_FALSE(Due(DueKind::kMerge).empty());
  const ClaimAnswer claim = Claim(v1::LEASE_KIND_MERGE);
  ASSERT_TRUE(claim.granted);
  const uint64_t live = State().live_count();
  const uint64_t version = State().segments_version();
  const size_t tokens = Garbage().size();
  ASSERT_TRUE(Commit(MergeOf(claim, 1, 4)).ok());
  const auto segments = Segments();
  ASSERT_EQ(segments.size(), 14);
  EXPECT_EQ(segments[1].after_seq_id(), 1);
  EXPECT_EQ(segments[1].up_to_seq_id(), 4);
  EXPECT_EQ(segments[2].after_seq_id(), 4);
  EXPECT_EQ(State().live_count(), live);
  EXPECT_EQ(State().segments_version(), version + 1);
  EXPECT_EQ(State().garbage_objects(), 3);
  EXPECT_EQ(Garbage().size(), tokens + 3);
  machine_.time_us += machine_.policy.grace_us();
  Collect(Garbage(0));
  EXPECT_EQ(State().garbage_objects(), 0);
}

class DeadRowsTest : public MergeTest {
 protected:
  // A compaction of a record that replaces or deletes so many rows of the segment.
  void Kill(const v1::SegmentInfo& segment, uint64_t rows) {
    PushAndWait();
    const ClaimAnswer claim = Claim();
    v1::CommitRequest request = CompactionOf(claim, 1, State().applied(), State().tail());
    v1::DeadRows& dead = *request.mutable_compaction()->add_dead();
    dead.set_token(segment.token());
    dead.set_number(segment.number());
    dead.set_up_to_seq_id(segment.up_to_seq_id());
    dead.set_rows(rows);
    ASSERT_TRUE(Commit(request).ok());
    ASSERT_TRUE(Release(LeaseOf(claim)).ok());
  }
  std::vector<uint64_t> Dead() {
    std::vector<uint64_t> dead;
    for (const v1::SegmentInfo& segment : Segments()) dead.push_back(segment.dead_rows());
    return dead;
  }
};

TEST_F(DeadRowsTest, AreCountedForTheSegmentThatHeldThemAndNeverMoreThanItHas) {
  PushAndWait();
  const ClaimAnswer claim = Claim();
  ASSERT_TRUE(Commit(CompactionOf(claim, 1, 0, 1, 100)).ok());
  ASSERT_TRUE(Release(LeaseOf(claim)).ok());
  Kill(Segments()[0], 60);
  EXPECT_THAT(Dead(), testing::ElementsAre(60, 0));
  Kill(Segments()[0], 60);
  EXPECT_THAT(Dead(), testing::ElementsAre(100, 0, 0));
}

TEST_F(DeadRowsTest, GoToWhatTookTheSegmentsPlaceSinceTheClaim) {
  MakeSegments(16);
  const auto before = Segments();
  const ClaimAnswer merge = Claim(v1::LEASE_KIND_MERGE);
  ASSERT_TRUE(Commit(MergeOf(merge, 1, 4)).ok());
  Kill(before[2], 1);
  EXPECT_EQ(Segments()[1].dead_rows(), 1);
  EXPECT_EQ(Segments()[2].dead_rows(), 0);
}

TEST_F(DeadRowsTest, OfAMergesOutputAreThoseThatDiedSinceItsClaim) {
  MakeSegments(16);
  Kill(Segments()[1], 1);
  const ClaimAnswer merge = Claim(v1::LEASE_KIND_MERGE);
  const v1::CommitRequest request = MergeOf(merge, 1, 4);
  ASSERT_EQ(request.merge().inputs(0).dead_rows(), 1);
  Kill(Segments()[2], 1);
  ASSERT_TRUE(Commit(request).ok());
  EXPECT_EQ(Segments()[1].dead_rows(), 1);
}

TEST_F(DeadRowsTest, MakeAFullSegmentDueForAMerge) {
  PushAndWait();
  const ClaimAnswer claim = Claim();
  ASSERT_TRUE(Commit(CompactionOf(claim, 1, 0, 1, 600'000)).ok());
  ASSERT_TRUE(Release(LeaseOf(claim)).ok());
  Kill(Segments()[0], 300'000);
  EXPECT_TRUE(Due(DueKind::kMerge).empty());
  Kill(Segments()[0], 1);
  EXPECT_FALSE(Due(DueKind::kMerge).empty());
}

// erase_within.
class EraseTest : public DeadRowsTest {
 protected:
  static constexpr int64_t kQuarter = 900 * kSecond;

  EraseTest() {
    pb::Command command;
    auto& update = *command.mutable_update_log_settings();
    update.set_collection_id(std::string(id_.view()));
    update.set_settings_version(2);
    update.mutable_settings()->set_erase_within_ms(4 * kQuarter / kMs);
    EXPECT_TRUE(machine_.Apply(Command(command)).ok());
  }
  pb::ShardState Shard() { return *ReadShardState(Snapshot(machine_.store())); }
  void BeginErasure() {
    pb::Command command;
    command.mutable_begin_erasure();
    ASSERT_TRUE(machine_.Apply(Command(command)).ok());
  }
  void FinishErasure() {
    pb::Command command;
    command.mutable_finish_erasure();
    ASSERT_TRUE(machine_.Apply(Command(command)).ok());
  }
};

TEST_F(EraseTest, ASegmentIsDueToBeWrittenAnewHalfTheTimeAfterSomethingDiedInIt) {
  // So large that it is not merged for its neighbours' sake.
  PushAndWait();
  const ClaimAnswer first = Claim();
  ASSERT_TRUE(Commit(CompactionOf(first, 1, 0, 1, 100)).ok());
  ASSERT_TRUE(Release(LeaseOf(first)).ok());
  Kill(Segments()[0], 1);
  const int64_t died_us = machine_.time_us;
  EXPECT_EQ(Segments()[0].dead_since_us(), died_us);
  machine_.time_us += kSecond;
  MakeSegments(1);
  ASSERT_EQ(Due(DueKind::kMerge).size(), 1);
  EXPECT_EQ(Due(DueKind::kMerge)[0].due_us, died_us + 2 * kQuarter);
  machine_.time_us = died_us + 2 * kQuarter;
  EXPECT_EQ(EraseDeadBefore(State(), machine_.time_us), died_us);
  const ClaimAnswer claim = Claim(v1::LEASE_KIND_MERGE);
  ASSERT_TRUE(claim.granted);
  ASSERT_TRUE(Commit(MergeOf(claim, 0, 1)).ok());
  EXPECT_EQ(Segments()[0].dead_rows(), 0);
  // The object goes after a quarter, though the grace time is longer.
  ASSERT_GT(machine_.policy.grace_us(), kQuarter);
  const auto segments_due_in = [&](int64_t in_us) {
    const auto due = Garbage(in_us);
    return std::count_if(due.begin(), due.end(), [](const auto& e) { return e.has_segment(); });
  };
  EXPECT_EQ(segments_due_in(kQuarter - 1), 0);
  EXPECT_EQ(segments_due_in(kQuarter), 1);
}

TEST_F(EraseTest, WhatIsAppliedIsTrimmedInTheFirstQuarterAndErasedInTheNext) {
  MakeSegments(1);
  machine_.time_us += kQuarter;
  ASSERT_TRUE(Retain().ok());
  EXPECT_EQ(State().trim(), 1);
  EXPECT_EQ(Shard().erase_due_us(), machine_.time_us + kQuarter);
}

TEST_F(EraseTest, WhatIsTrimmedWhileAnErasureRunsIsLeftToTheNext) {
  MakeSegments(2);
  ASSERT_TRUE(Trim(1).ok());
  const int64_t first_due_us = Shard().erase_due_us();
  BeginErasure();
  EXPECT_TRUE(Shard().erasing());
  EXPECT_EQ(Shard().erase_due_us(), 0);
  machine_.time_us += kSecond;
  ASSERT_TRUE(Trim(2).ok());
  FinishErasure();
  EXPECT_FALSE(Shard().erasing());
  EXPECT_EQ(Shard().erase_due_us(), first_due_us + kSecond);
}

TEST_F(EraseTest, WhatDiesWhileASegmentIsWrittenAnewIsDueHalfTheTimeLater) {
  MakeSegments(1);
  Kill(Segments()[0], 1);
  machine_.time_us += 2 * kQuarter;
  const ClaimAnswer claim = Claim(v1::LEASE_KIND_MERGE);
  ASSERT_TRUE(claim.granted);
  const int64_t granted_us = machine_.time_us;
  v1::CommitRequest request = MergeOf(claim, 0, 1);
  request.mutable_merge()->mutable_output()->set_entries(5);
  request.mutable_merge()->mutable_output()->set_rows(5);
  // Of more rows than died before, so that another can.
  ASSERT_EQ(request.merge().inputs(0).dead_rows(), 1);
  request.mutable_merge()->mutable_inputs(0)->set_dead_rows(0);
  ASSERT_TRUE(Commit(request).ok());
  EXPECT_EQ(Segments()[0].dead_rows(), 1);
  EXPECT_EQ(Segments()[0].dead_since_us(), granted_us);
}

TEST_F(EraseTest, TheSettingReachesWhatWasTrimmedBeforeAndRepeatedPushes) {
  const RequestId request_id = NewRequestId();
  ASSERT_TRUE(Push({Record("a")}, request_id).ok());
  machine_.time_us += 11 * kSecond;
  const ClaimAnswer claim = Claim();
  ASSERT_TRUE(Commit(CompactionOf(claim, 1, 0, 1)).ok());
  ASSERT_TRUE(Trim(1).ok());
  BeginErasure();
  FinishErasure();
  ASSERT_TRUE(Push({Record("a")}, request_id).ok());
  EXPECT_NE(Shard().erase_due_us(), 0);
  BeginErasure();
  FinishErasure();
  pb::Command command;
  auto& update = *command.mutable_update_log_settings();
  update.set_collection_id(std::string(id_.view()));
  update.set_settings_version(3);
  update.mutable_settings()->set_erase_within_ms(8 * kQuarter / kMs);
  ASSERT_TRUE(machine_.Apply(Command(command)).ok());
  EXPECT_EQ(Shard().erase_due_us(), machine_.time_us + 2 * kQuarter);
}

TEST_F(MergeTest, WithoutThatSettingNothingIsToBeErased) {
  MakeSegments(2);
  ASSERT_TRUE(Trim(1).ok());
  EXPECT_EQ(ReadShardState(Snapshot(machine_.store()))->erase_due_us(), 0);
  EXPECT_EQ(EraseDeadBefore(State(), machine_.time_us), 0);
}

TEST_F(MergeTest, ADeletedCollectionIsErasedAfterItsGraceTime) {
  MakeSegments(1);
  ASSERT_TRUE(Delete().ok());
  machine_.time_us += machine_.policy.grace_us();
  Collect(Garbage(0));
  const pb::ShardState shard = *ReadShardState(Snapshot(machine_.store()));
  EXPECT_GT(shard.erase_due_us(), machine_.time_us);
  EXPECT_LE(shard.erase_due_us(), machine_.time_us + 24 * 3600 * kSecond);
}

TEST_F(MergeTest, AMergeCommutesWithACompactionsCommit) {  // invariant 6
  MakeSegments(16);
  const ClaimAnswer merge = Claim(v1::LEASE_KIND_MERGE);
  const v1::CommitRequest merged = MergeOf(merge, 0, 3);
  MakeSegments(1);
  ASSERT_TRUE(Commit(merged).ok());
  EXPECT_EQ(Segments().size(), 15);
  EXPECT_EQ(Segments().back().up_to_seq_id(), State().applied());
}

TEST_F(MergeTest, MergesOfSegmentsThatAreGoneOrNoNeighboursAreRefused) {  // invariant 6
  MakeSegments(16);
  const ClaimAnswer claim = Claim(v1::LEASE_KIND_MERGE);
  v1::CommitRequest gone = MergeOf(claim, 0, 2);
  gone.mutable_merge()->mutable_inputs(1)->set_number(99);
  EXPECT_EQ(ReasonIn(Commit(gone)), Reason::INPUT_GONE);
  v1::CommitRequest apart = MergeOf(claim, 0, 2);
  *apart.mutable_merge()->mutable_inputs(1) = Segments()[5];
  EXPECT_EQ(ReasonIn(Commit(apart)), Reason::INVALID_REQUEST);
  v1::CommitRequest swapped = MergeOf(claim, 0, 2);
  swapped.mutable_merge()->mutable_inputs()->SwapElements(0, 1);
  EXPECT_EQ(ReasonIn(Commit(swapped)), Reason::INVALID_REQUEST);
  v1::CommitRequest empty = MergeOf(claim, 0, 2);
  empty.mutable_merge()->clear_inputs();
  EXPECT_EQ(ReasonIn(Commit(empty)), Reason::INVALID_REQUEST);
  v1::CommitRequest wrong = MergeOf(claim, 0, 2);
  wrong.mutable_merge()->mutable_output()->set_up_to_seq_id(3);
  EXPECT_EQ(ReasonIn(Commit(wrong)), Reason::INVALID_REQUEST);
  EXPECT_EQ(Segments().size(), 16);
}

TEST_F(MergeTest, AMergeThatLeavesNothingRemovesItsInputs) {
  MakeSegments(16);
  v1::CommitRequest request = MergeOf(Claim(v1::LEASE_KIND_MERGE), 0, 2);
  request.mutable_merge()->clear_output();
  ASSERT_TRUE(Commit(request).ok());
  EXPECT_EQ(Segments().size(), 14);
}

}  // namespace
}  // namespace sluice::log

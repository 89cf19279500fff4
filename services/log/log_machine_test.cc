// Pushes, trims and deletes of one log; leases and their commits: lease_machine_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/log/log_machine_fixture.h"

namespace sluice::log {
namespace {

TEST_F(LogMachineTest, AppendsGetDenseSeqIdsAndTheTimeOfTheirCommand) {  // invariant 2
  const auto one = std::get<PushAnswer>(*Push({Record("a"), Record("b")}));
  machine_.time_us += 7;
  const auto two = std::get<PushAnswer>(*Push({Record("c")}));
  EXPECT_EQ(one.first, SeqId(1));
  EXPECT_EQ(two.first, SeqId(3));
  EXPECT_EQ(two.tail, SeqId(3));
  EXPECT_EQ(two.commit_time_us, one.commit_time_us + 7);
  EXPECT_EQ(State().tail(), 3);
}

TEST_F(LogMachineTest, ARepeatedAppendGetsTheFirstSeqIdsAndAddsNothing) {  // invariant 3
  const RequestId request_id = NewRequestId();
  const auto first = std::get<PushAnswer>(*Push({Record("a"), Record("b")}, request_id));
  ASSERT_TRUE(Push({Record("c")}).ok());
  const auto again = std::get<PushAnswer>(*Push({Record("a"), Record("b")}, request_id));
  EXPECT_TRUE(again.duplicate);
  EXPECT_EQ(again.first, first.first);
  EXPECT_EQ(again.count, 2);
  EXPECT_EQ(again.commit_time_us, first.commit_time_us);
  EXPECT_EQ(again.tail, SeqId(3));
}

TEST_F(LogMachineTest, MoreLogsInTurnThanAreKeptDecodedStayWhatTheyAre) {  // invariant 2
  constexpr size_t kLogs = 10'500;
  std::vector<CollectionId> ids;
  std::vector<Command> opens;
  for (size_t i = 0; i < kLogs; ++i) {
    ids.push_back(NewCollectionId());
    opens.push_back(OpenLogOf(ids.back()));
  }
  machine_.ApplyGroup(std::move(opens));
  for (uint64_t round = 1; round <= 3; ++round) {
    for (size_t i = 0; i < kLogs; i += 500) {
      std::vector<Command> group;
      for (size_t j = i; j < i + 500; ++j) group.push_back(PushOf(ids[j], {}, {Record("a")}));
      for (const Result& result : machine_.ApplyGroup(std::move(group))) {
        ASSERT_TRUE(result.ok()) << result.status();
        ASSERT_EQ(std::get<PushAnswer>(*result).first, SeqId(round));
      }
    }
  }
}

TEST_F(LogMachineTest, ARepeatWithinTheSameGroupIsADuplicateToo) {  // invariant 3
  const RequestId request_id = NewRequestId();
  const auto results = machine_.ApplyGroup(
      {PushOf(id_, request_id, {Record("a")}), PushOf(id_, request_id, {Record("a")})});
  EXPECT_FALSE(std::get<PushAnswer>(*results[0]).duplicate);
  EXPECT_TRUE(std::get<PushAnswer>(*results[1]).duplicate);
  EXPECT_EQ(State().tail(), 1);
}

TEST_F(LogMachineTest, ARequestIdWithOtherContentOrInAnotherCollectionIsRefused) {  // invariant 3
  const RequestId request_id = NewRequestId();
  ASSERT_TRUE(Push({Record("a")}, request_id).ok());
  EXPECT_EQ(ReasonIn(Push({Record("b")}, request_id)), Reason::REQUEST_ID_REUSED);
  const CollectionId other = NewCollectionId();
  ASSERT_TRUE(machine_.Apply(OpenLogOf(other)).ok());
  EXPECT_EQ(ReasonIn(machine_.Apply(PushOf(other, request_id, {Record("a")}))),
            Reason::REQUEST_ID_REUSED);
}

TEST_F(LogMachineTest, PastTheWindowARequestIdIsRefusedAndItsRowForgotten) {  // invariant 3
  const RequestId request_id = NewRequestId();
  ASSERT_TRUE(Push({Record("a")}, request_id).ok());
  machine_.time_us += machine_.policy.dedupe_window_us() - kMs;
  EXPECT_TRUE(std::get<PushAnswer>(*Push({Record("a")}, request_id)).duplicate);
  machine_.time_us += 2 * kMs + kSecond;
  EXPECT_EQ(ReasonIn(Push({Record("a")}, request_id)), Reason::REQUEST_ID_EXPIRED);
  EXPECT_FALSE(*Snapshot(machine_.store()).Get(DedupeKey(request_id)));
  EXPECT_EQ(State().tail(), 1);
}

TEST_F(LogMachineTest, TheHorizonNeverMovesBackWhenTheWindowGrows) {  // invariant 3
  const RequestId request_id = NewRequestId();
  ASSERT_TRUE(Push({Record("a")}, request_id).ok());
  machine_.time_us += machine_.policy.dedupe_window_us() + kSecond;
  ASSERT_TRUE(Push({Record("b")}).ok());
  machine_.policy.set_dedupe_window_us(10 * machine_.policy.dedupe_window_us());
  machine_.Configure();
  EXPECT_EQ(ReasonIn(Push({Record("a")}, request_id)), Reason::REQUEST_ID_EXPIRED);
}

// A clock that was ahead for a while: what it made the log forget stays refused, all else is judged
// by the clock as it is now.
TEST_F(LogMachineTest, AClockThatWasAheadCostsOnlyWhatItMadeForgotten) {  // invariant 3
  const RequestId before = NewRequestId();
  const v1::OperationRecord record = Record("a");
  ASSERT_TRUE(Push({record}, before).ok());
  const RequestId not_in = NewRequestId();

  constexpr int64_t kDay = 86'400 * kSecond;
  machine_.time_us += kDay;
  const RequestId of_a_wrong_clock = NewRequestId();
  ASSERT_TRUE(Push({record}, of_a_wrong_clock).ok());
  EXPECT_EQ(ReasonIn(Push({record}, not_in)), Reason::REQUEST_ID_EXPIRED);

  // The shard's time stands where it was; the clock is right again.
  machine_.ahead_us = kDay - kSecond;
  const auto now = [&](int64_t ahead_ms) { return NewRequestId(ahead_ms - kDay / kMs); };
  EXPECT_EQ(ReasonIn(Push({record}, before)), Reason::REQUEST_ID_EXPIRED) << "it was forgotten";
  const RequestId after = now(1'000);
  EXPECT_FALSE(std::get<PushAnswer>(*Push({record}, after)).duplicate);
  EXPECT_TRUE(std::get<PushAnswer>(*Push({record}, after)).duplicate);
  EXPECT_EQ(ReasonIn(Push({record}, of_a_wrong_clock)), Reason::REQUEST_ID_IN_FUTURE);

  // Once the clock gets there, what came by the wrong one is known still, and then forgotten.
  machine_.ahead_us = 0;
  EXPECT_TRUE(std::get<PushAnswer>(*Push({record}, of_a_wrong_clock)).duplicate);
  EXPECT_EQ(ReasonIn(Push({record}, after)), Reason::REQUEST_ID_EXPIRED);
  machine_.time_us += machine_.policy.dedupe_window_us() + 2 * kSecond;
  ASSERT_TRUE(Push({record}).ok());
  EXPECT_EQ(machine_.shard().dedupe_bytes(), 0);
  EXPECT_EQ(State().tail(), 4);
}

// What a store of an earlier version forgot stays refused.
TEST_F(LogMachineTest, TheHorizonOfAnEarlierVersionIsKept) {  // invariant 3
  pb::ShardState state = machine_.shard();
  state.set_dedupe_horizon_ms(machine_.time_us / kMs - 5'000);
  state.set_dedupe_swept(DedupeKeyAt(machine_.time_us / kMs - 7'000));
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  ASSERT_TRUE(machine_.store().db()->Put(options, ShardKey(), state.SerializeAsString()).ok());
  ASSERT_TRUE(machine_.store().Flush().ok());
  machine_.Reopen();
  EXPECT_EQ(ReasonIn(Push({Record("a")}, NewRequestId(-5'001))), Reason::REQUEST_ID_EXPIRED);
  EXPECT_TRUE(Push({Record("a")}, NewRequestId(-5'000)).ok());
}

TEST_F(LogMachineTest, AtItsByteLimitNewRequestIdsAreRefusedAndNoneIsForgottenEarly) {  // 3 and 9
  machine_.policy.set_dedupe_max_bytes(1'000);
  machine_.Configure();
  std::vector<RequestId> in;
  Result result = Done{};
  const RequestId first = NewRequestId(-100'000);
  for (RequestId id = first; (result = Push({Record("a")}, id)).ok(); id = NewRequestId()) {
    in.push_back(id);
    ASSERT_LE(machine_.shard().dedupe_bytes(), 1'000);
  }
  EXPECT_GT(in.size(), 5);
  EXPECT_EQ(ReasonIn(result), Reason::OVERLOADED);
  EXPECT_EQ(ErrorMetadata(result.status(), "limit"), "dedupe");
  EXPECT_EQ(OutcomeOf(result.status()), Outcome::kNotIn);
  EXPECT_EQ(RetryAfter(result.status()), std::chrono::seconds(60)) << "at most";
  EXPECT_TRUE(Push({Record("a")}).ok()) << "without a request id";
  for (const RequestId& id : in) {
    EXPECT_TRUE(std::get<PushAnswer>(*Push({Record("a")}, id)).duplicate);
  }
  // The first is forgotten once it is out of the window, and makes room for one.
  machine_.time_us += machine_.policy.dedupe_window_us() - 99 * kSecond;
  EXPECT_TRUE(Push({Record("a")}, NewRequestId()).ok());
  EXPECT_EQ(ReasonIn(Push({Record("a")}, NewRequestId())), Reason::OVERLOADED);
}

TEST_F(LogMachineTest, ManyExpiredRowsAreForgottenInBoundedSteps) {
  std::vector<RequestId> ids;
  std::vector<Command> group;
  for (int i = 0; i < 700; ++i) {
    ids.push_back(NewRequestId());
    group.push_back(PushOf(id_, ids.back(), {Record("a")}));
  }
  machine_.ApplyGroup(std::move(group));
  machine_.time_us += machine_.policy.dedupe_window_us() + 2 * kSecond;
  const auto left = [&] {
    const Snapshot snapshot(machine_.store());
    return std::count_if(ids.begin(), ids.end(), [&](const RequestId& id) {
      return snapshot.Get(DedupeKey(id))->has_value();
    });
  };
  ASSERT_TRUE(Push({Record("b")}).ok());
  EXPECT_GT(left(), 0);
  ASSERT_TRUE(Push({Record("b")}).ok());
  ASSERT_TRUE(Push({Record("b")}).ok());
  EXPECT_EQ(left(), 0);
}

TEST_F(LogMachineTest, ARequestIdMoreThanAMinuteAheadIsRefused) {
  EXPECT_TRUE(Push({Record("a")}, NewRequestId(59'000)).ok());
  EXPECT_EQ(ReasonIn(Push({Record("a")}, NewRequestId(62'000))), Reason::REQUEST_ID_IN_FUTURE);
}

TEST_F(LogMachineTest, TheFirstVectorDecidesTheDimension) {
  ASSERT_TRUE(Push({Record("a"), Record("b", "t", 3)}).ok());
  EXPECT_EQ(State().dimension(), 3);
  const Result other = Push({Record("c"), Record("d"), Record("e", "t", 4)});
  EXPECT_EQ(ReasonIn(other), Reason::DIMENSION_MISMATCH);
  EXPECT_EQ(ErrorMetadata(other.status(), "record"), "2");
  EXPECT_EQ(State().tail(), 2);
}

TEST_F(LogMachineTest, TooManyUnappliedBytesAreRefusedAsBacklog) {  // invariant 9
  pb::Command command;
  auto& update = *command.mutable_update_log_settings();
  update.set_collection_id(std::string(id_.view()));
  update.mutable_settings()->set_max_backlog_bytes(100);
  update.set_settings_version(2);
  ASSERT_TRUE(machine_.Apply(Command(command)).ok());
  ASSERT_TRUE(Push({Record("a", std::string(50, 'x'))}).ok());
  EXPECT_EQ(ReasonIn(Push({Record("a", std::string(50, 'x'))})), Reason::BACKLOG);
}

TEST_F(LogMachineTest, UnknownDeletedOrRestoredLogsRefusePushes) {
  EXPECT_EQ(ReasonIn(machine_.Apply(PushOf(NewCollectionId(), {}, {Record("a")}))),
            Reason::COLLECTION_NOT_FOUND);
  EXPECT_TRUE(Push({Record("a")}, {}, Incarnation(machine_.incarnation)).ok());
  EXPECT_EQ(ReasonIn(Push({Record("a")}, {}, Incarnation(99))), Reason::INCARNATION_CHANGED);
  ASSERT_TRUE(Delete().ok());
  EXPECT_TRUE(Delete().ok());
  EXPECT_EQ(ReasonIn(Push({Record("a")})), Reason::COLLECTION_DELETED);
  EXPECT_EQ(ReasonIn(machine_.Apply(OpenLogOf(id_))), Reason::COLLECTION_DELETED);
}

TEST_F(LogMachineTest, OnlyWhatIsAppliedCanBeTrimmed) {  // invariant 7
  ASSERT_TRUE(Push({Record("a"), Record("b"), Record("c")}).ok());
  PushAndWait();
  ASSERT_TRUE(Commit(CompactionOf(Claim(), 1, 0, 3)).ok());
  EXPECT_EQ(ReasonIn(Trim(4)), Reason::NOT_APPLIED);
  EXPECT_EQ(std::get<TrimAnswer>(*Trim(2)).trim, SeqId(2));
  EXPECT_EQ(std::get<TrimAnswer>(*Trim(1)).trim, SeqId(2));
  EXPECT_EQ(State().trim(), 2);
  EXPECT_LT(State().trim_bytes(), State().applied_bytes());
}

TEST_F(LogMachineTest, ADeletedLogGoesInTwoStepsAfterTheGraceTime) {  // invariant 11
  PushAndWait();
  const ClaimAnswer claim = Claim();
  ASSERT_TRUE(Commit(CompactionOf(claim, 1, 0, 1)).ok());
  ASSERT_TRUE(Delete().ok());
  for (const DueKind kind : {DueKind::kCompaction, DueKind::kMerge, DueKind::kTrim}) {
    EXPECT_TRUE(Due(kind).empty());
  }
  EXPECT_EQ(ReasonIn(Commit(CompactionOf(claim, 2, 1, 2))), Reason::COLLECTION_DELETED);
  EXPECT_EQ(ReadSegments(Snapshot(machine_.store()), id_)->size(), 1);
  const auto garbage = Garbage(machine_.policy.grace_us());
  ASSERT_EQ(garbage.size(), 1);
  EXPECT_TRUE(garbage[0].whole_collection());
  machine_.time_us += machine_.policy.grace_us();
  Collect(garbage);
  EXPECT_TRUE(ReadSegments(Snapshot(machine_.store()), id_)->empty());
  EXPECT_EQ(ReadLog(Snapshot(machine_.store()), id_).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonIn(Push({Record("a")})), Reason::COLLECTION_DELETED);
}

}  // namespace
}  // namespace sluice::log

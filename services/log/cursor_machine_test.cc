// Cursors and retention of one log: what moves, what is trimmed, what is lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/record/limits.h"
#include "services/log/log_machine_fixture.h"
#include "services/log/retention.h"

namespace sluice::log {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int64_t kMinute = 60 * kSecond;
constexpr int64_t kDay = 24 * 60 * kMinute;

// On a log_only log, unless told otherwise.
class CursorMachineTest : public LogMachineTest {
 protected:
  explicit CursorMachineTest(bool log_only = true)
      : collection_(log_only ? NewCollectionId() : id_) {
    if (!log_only) return;
    EXPECT_TRUE(machine_.Apply(OpenLogOf(collection_, {}, true)).ok());
  }

  void PushMany(int appends, size_t bytes = 10, int records = 1) {
    const std::vector<v1::OperationRecord> all(static_cast<size_t>(records),
                                               Record("id", std::string(bytes, 'x')));
    for (int i = 0; i < appends; ++i) {
      ASSERT_TRUE(machine_.Apply(PushOf(collection_, {}, all)).ok());
    }
  }

  Result Commit(const std::string& name, uint64_t seq_id,
                std::optional<uint64_t> expected = std::nullopt, const RequestId& request_id = {},
                uint64_t incarnation = 0) {
    pb::Command command;
    auto& commit = *command.mutable_commit_cursor();
    commit.set_collection_id(std::string(collection_.view()));
    commit.set_name(name);
    commit.set_seq_id(seq_id);
    if (expected) commit.set_expected(*expected);
    commit.set_incarnation(incarnation);
    if (!request_id.is_nil()) commit.set_request_id(std::string(request_id.view()));
    return machine_.Apply(Command(command));
  }
  Result Rollback(const std::string& name, uint64_t seq_id) {
    pb::Command command;
    auto& rollback = *command.mutable_rollback_cursor();
    rollback.set_collection_id(std::string(collection_.view()));
    rollback.set_name(name);
    rollback.set_seq_id(seq_id);
    return machine_.Apply(Command(command));
  }
  Result DeleteCursor(const std::string& name) {
    pb::Command command;
    command.mutable_delete_cursor()->set_collection_id(std::string(collection_.view()));
    command.mutable_delete_cursor()->set_name(name);
    return machine_.Apply(Command(command));
  }
  Result TrimLog(uint64_t up_to) {
    pb::Command command;
    command.mutable_trim()->set_collection_id(std::string(collection_.view()));
    command.mutable_trim()->set_up_to_seq_id(up_to);
    return machine_.Apply(Command(command));
  }
  Result RetainLog() {
    pb::Command command;
    command.mutable_retain()->set_collection_id(std::string(collection_.view()));
    return machine_.Apply(Command(command));
  }
  // What housekeeping does: retains for as long as that is due.
  void DoWhatIsDue() {
    for (auto due = Due(DueKind::kTrim); !due.empty() && due[0].due_us <= machine_.time_us;
         due = Due(DueKind::kTrim)) {
      const Result retained = RetainLog();
      ASSERT_TRUE(retained.ok()) << retained.status();
      for (const auto& cursor : std::get<RetainAnswer>(*retained).lost) lost_.push_back(cursor);
    }
  }
  void Set(uint64_t max_age_ms, uint64_t max_bytes) {
    pb::Command command;
    auto& update = *command.mutable_update_log_settings();
    update.set_collection_id(std::string(collection_.view()));
    update.mutable_settings()->mutable_retention()->set_max_age_ms(max_age_ms);
    update.mutable_settings()->mutable_retention()->set_max_bytes(max_bytes);
    update.set_settings_version(++version_);
    ASSERT_TRUE(machine_.Apply(Command(command)).ok());
  }

  pb::LogState Log() { return *ReadLog(Snapshot(machine_.store()), collection_); }
  pb::CursorState Cursor(const std::string& name) {
    const auto cursor = ReadCursor(Snapshot(machine_.store()), collection_, name);
    EXPECT_TRUE(cursor.ok()) << cursor.status();
    return cursor.value_or(pb::CursorState());
  }
  uint64_t At(const std::string& name) { return Cursor(name).seq_id(); }

  const CollectionId collection_;
  uint64_t version_ = 1;
  std::vector<v1::Cursor> lost_;
};

TEST_F(CursorMachineTest, ACursorIsMadeByItsFirstCommitAndMovesForward) {
  PushMany(5);
  const auto made = std::get<CursorAnswer>(*Commit("c", 2)).cursor;
  EXPECT_EQ(made.seq_id(), 2);
  EXPECT_EQ(made.state(), v1::CURSOR_STATE_ACTIVE);
  EXPECT_EQ(made.created_time_us(), machine_.time_us);
  EXPECT_EQ(made.incarnation(), machine_.incarnation);
  machine_.time_us += kSecond;
  const auto moved = std::get<CursorAnswer>(*Commit("c", 5)).cursor;
  EXPECT_EQ(moved.seq_id(), 5);
  EXPECT_EQ(moved.moved_time_us(), made.created_time_us() + kSecond);
  EXPECT_EQ(At("c"), 5);
  EXPECT_EQ(Log().cursors(), 1);
}

TEST_F(CursorMachineTest, ACursorGoesBackOnlyByRollback) {
  PushMany(5);
  ASSERT_TRUE(Commit("c", 4).ok());
  const Result back = Commit("c", 3);
  EXPECT_EQ(ReasonIn(back), Reason::CURSOR_MOVED);
  EXPECT_EQ(ErrorMetadata(back.status(), "seq_id"), "4");
  EXPECT_EQ(At("c"), 4);
  EXPECT_EQ(ReasonIn(Rollback("c", 5)), Reason::CURSOR_MOVED) << "forward is a commit's";
  ASSERT_TRUE(Rollback("c", 1).ok());
  EXPECT_EQ(At("c"), 1);
  EXPECT_EQ(Log().slowest_cursor(), 1);
  EXPECT_EQ(ReasonIn(Rollback("absent", 1)), Reason::CURSOR_NOT_FOUND);
}

TEST_F(CursorMachineTest, OfTwoThatExpectTheSameOneIsRefused) {
  PushMany(5);
  ASSERT_TRUE(Commit("c", 1, 0).ok()) << "0 stands for a cursor that is not there";
  EXPECT_EQ(ReasonIn(Commit("c", 1, 0)), Reason::CURSOR_MOVED);
  ASSERT_TRUE(Commit("c", 3, 1).ok());
  const Result second = Commit("c", 3, 1);
  EXPECT_EQ(ReasonIn(second), Reason::CURSOR_MOVED) << "also where it would move to the same place";
  EXPECT_EQ(ErrorMetadata(second.status(), "seq_id"), "3");
  EXPECT_EQ(ReasonIn(Commit("absent", 3, 1)), Reason::CURSOR_NOT_FOUND);
  EXPECT_EQ(Log().cursors(), 1);
}

TEST_F(CursorMachineTest, ACommitRepeatedWithItsRequestIdIsAnsweredAsTheFirst) {  // invariant 10
  PushMany(5);
  const RequestId request_id(Uuid::Random());
  ASSERT_TRUE(Commit("c", 3, 0, request_id).ok());
  EXPECT_TRUE(Commit("c", 3, 0, request_id).ok());
  EXPECT_EQ(ReasonIn(Commit("c", 3, 0, RequestId(Uuid::Random()))), Reason::CURSOR_MOVED);
  ASSERT_TRUE(Commit("c", 4, 3).ok());
  EXPECT_EQ(ReasonIn(Commit("c", 3, 0, request_id)), Reason::CURSOR_MOVED);
}

TEST_F(CursorMachineTest, ACursorStandsWithinWhatTheLogHolds) {
  PushMany(5);
  EXPECT_EQ(ReasonIn(Commit("c", 6)), Reason::BEYOND_TAIL);
  ASSERT_TRUE(TrimLog(3).ok());
  EXPECT_EQ(ReasonIn(Commit("c", 2)), Reason::TRIMMED);
  EXPECT_EQ(Log().cursors(), 0);
  ASSERT_TRUE(Commit("c", 5).ok());
  EXPECT_EQ(ReasonIn(Rollback("c", 2)), Reason::TRIMMED);
  ASSERT_TRUE(Rollback("c", 3).ok());
}

TEST_F(CursorMachineTest, ALogHasSoManyCursorsAndNoMore) {  // invariant 9
  PushMany(1);
  for (uint64_t i = 0; i < kMaxCursors; ++i) {
    ASSERT_TRUE(Commit("c" + std::to_string(i), 1).ok());
  }
  EXPECT_EQ(ReasonIn(Commit("more", 1)), Reason::TOO_MANY_CURSORS);
  EXPECT_TRUE(Commit("c7", 1).ok());
  ASSERT_TRUE(DeleteCursor("c7").ok());
  EXPECT_TRUE(DeleteCursor("c7").ok()) << "repeated";
  EXPECT_TRUE(Commit("more", 1).ok());
  EXPECT_EQ(Log().cursors(), kMaxCursors);
}

TEST_F(CursorMachineTest, TrimmingNeverPassesTheSlowestCursor) {  // invariant 4
  PushMany(9);
  ASSERT_TRUE(Commit("fast", 9).ok());
  ASSERT_TRUE(Commit("slow", 4).ok());
  const Result refused = TrimLog(5);
  EXPECT_EQ(ReasonIn(refused), Reason::CURSOR_BEHIND);
  EXPECT_EQ(ErrorMetadata(refused.status(), "cursor"), "slow");
  EXPECT_EQ(ErrorMetadata(refused.status(), "seq_id"), "4");
  EXPECT_TRUE(TrimLog(4).ok());
  ASSERT_TRUE(DeleteCursor("slow").ok());
  EXPECT_EQ(std::get<TrimAnswer>(*TrimLog(9)).trim, SeqId(9));
  EXPECT_EQ(ReasonIn(TrimLog(10)), Reason::BEYOND_TAIL);
}

TEST_F(CursorMachineTest, TheSlowestIsKnownWhicheverCursorMoves) {
  PushMany(9);
  const auto slowest = [&] { return Log().slowest_cursor(); };
  ASSERT_TRUE(Commit("a", 5).ok());
  EXPECT_EQ(slowest(), 5);
  ASSERT_TRUE(Commit("b", 3).ok());
  ASSERT_TRUE(Commit("c", 3).ok());
  EXPECT_EQ(slowest(), 3);
  ASSERT_TRUE(Commit("b", 7).ok());
  EXPECT_EQ(slowest(), 3);
  ASSERT_TRUE(Commit("c", 8).ok());
  EXPECT_EQ(slowest(), 5);
  ASSERT_TRUE(DeleteCursor("a").ok());
  EXPECT_EQ(slowest(), 7);
  ASSERT_TRUE(Rollback("c", 2).ok());
  EXPECT_EQ(slowest(), 2);
  ASSERT_TRUE(DeleteCursor("b").ok());
  ASSERT_TRUE(DeleteCursor("c").ok());
  EXPECT_FALSE(Log().has_slowest_cursor());
}

TEST_F(CursorMachineTest, RetentionByAgeLetsGoAtTheAgeAndUpToAnEighthLater) {
  Set(/*max_age_ms=*/8'000, /*max_bytes=*/0);
  for (int second = 0; second < 40; ++second) {
    PushMany(1);
    DoWhatIsDue();
    // One record a second: those of the last eight seconds are kept, of nine at most.
    const uint64_t kept = Log().tail() - Log().trim();
    EXPECT_GE(kept, std::min<uint64_t>(8, Log().tail())) << second;
    EXPECT_LE(kept, 10) << second;
    machine_.time_us += kSecond;
  }
  EXPECT_LE(Log().marks_size(), 10);
  machine_.time_us += 10 * kSecond;
  DoWhatIsDue();
  EXPECT_EQ(Log().trim(), Log().tail()) << "a log left alone is trimmed too";
  EXPECT_TRUE(Due(DueKind::kTrim).empty());
  EXPECT_EQ(Log().oldest_kept_us(), 0);
}

TEST_F(CursorMachineTest, RetentionByBytesKeepsAtMostThatAndSevenEighthsOfIt) {
  Set(/*max_age_ms=*/0, /*max_bytes=*/80'000);
  for (int i = 0; i < 300; ++i) {
    PushMany(1, 980);
    DoWhatIsDue();
    const uint64_t kept = Log().tail_bytes() - Log().trim_bytes();
    EXPECT_LE(kept, 80'000);
    if (i < 80) continue;
    EXPECT_GE(kept, 69'000);
  }
  EXPECT_LE(Log().marks_size(), 10);
}

TEST_F(CursorMachineTest, ALogOnlyLogKeepsSevenDaysAndAnyBytesUnlessToldOtherwise) {
  PushMany(10, 1 << 20);
  machine_.time_us += 7 * kDay - kSecond;
  DoWhatIsDue();
  EXPECT_EQ(Log().trim(), 0);
  machine_.time_us += kDay;
  DoWhatIsDue();
  EXPECT_EQ(Log().trim(), 10);
}

TEST_F(CursorMachineTest, ALogOnlyLogIsNeverDueForCompactionAndHasNoBacklog) {  // invariant 9
  pb::Command command;
  auto& update = *command.mutable_update_log_settings();
  update.set_collection_id(std::string(collection_.view()));
  update.mutable_settings()->set_max_backlog_bytes(100);
  update.set_settings_version(++version_);
  ASSERT_TRUE(machine_.Apply(Command(command)).ok());
  PushMany(3, 1000);
  machine_.time_us += kDay;
  PushMany(4, 1 << 20);
  EXPECT_THAT(Due(DueKind::kCompaction), IsEmpty());
  EXPECT_EQ(Log().oldest_unapplied_us(), 0);
}

TEST_F(CursorMachineTest, WhatRetentionLetsGoIsKeptUntilTheSlowestCursorHasPassed) {  // invariant 4
  Set(/*max_age_ms=*/8'000, /*max_bytes=*/0);
  PushMany(10);
  ASSERT_TRUE(Commit("c", 4).ok());
  machine_.time_us += 10 * kSecond;
  DoWhatIsDue();
  EXPECT_EQ(Log().trim(), 4);
  EXPECT_EQ(Log().let_go(), 10);
  EXPECT_TRUE(IsPinned(Log()));
  EXPECT_EQ(PinnedBytes(Log()), Log().tail_bytes() - Log().trim_bytes());
  ASSERT_TRUE(Commit("c", 7).ok());
  DoWhatIsDue();
  EXPECT_EQ(Log().trim(), 7);
  ASSERT_TRUE(Commit("c", 10).ok());
  DoWhatIsDue();
  EXPECT_EQ(Log().trim(), 10);
  EXPECT_EQ(PinnedBytes(Log()), 0);
  EXPECT_THAT(lost_, IsEmpty());
}

TEST_F(CursorMachineTest, ACursorThatPinsForTooLongIsLost) {
  Set(/*max_age_ms=*/8'000, /*max_bytes=*/0);
  PushMany(5);
  ASSERT_TRUE(Commit("c", 2).ok());
  ASSERT_TRUE(Commit("d", 5).ok());
  machine_.time_us += 8 * kSecond + machine_.policy.max_pinned_us() - 1;
  DoWhatIsDue();
  EXPECT_EQ(At("c"), 2);
  EXPECT_EQ(Log().trim(), 2);
  EXPECT_THAT(lost_, IsEmpty());
  ASSERT_EQ(Due(DueKind::kTrim).size(), 1) << "it comes due by itself";
  EXPECT_EQ(Due(DueKind::kTrim)[0].due_us, machine_.time_us + 1);
  machine_.time_us += 1;
  DoWhatIsDue();
  ASSERT_EQ(lost_.size(), 1);
  EXPECT_EQ(lost_[0].name(), "c");
  EXPECT_EQ(lost_[0].state(), v1::CURSOR_STATE_LOST);
  EXPECT_EQ(lost_[0].loss(), v1::CURSOR_LOSS_AGE);
  EXPECT_EQ(Log().trim(), 5);
  EXPECT_EQ(Cursor("c").lost_us(), machine_.time_us);
  EXPECT_EQ(Cursor("d").loss(), v1::CURSOR_LOSS_UNSPECIFIED);
  EXPECT_EQ(Log().cursors(), 2);

  const Result commit = Commit("c", 5);
  EXPECT_EQ(ReasonIn(commit), Reason::CURSOR_LOST);
  EXPECT_EQ(ErrorMetadata(commit.status(), "loss"), "AGE");
  EXPECT_EQ(ErrorMetadata(commit.status(), "first_seq_id"), "6");
  EXPECT_EQ(ReasonIn(Rollback("c", 2)), Reason::TRIMMED);
  ASSERT_TRUE(Rollback("c", 5).ok()) << "one that is lost may go anywhere";
  PushMany(1);
  EXPECT_TRUE(Commit("c", 6).ok());
}

TEST_F(CursorMachineTest, ACursorThatPinsTooManyBytesIsLostAndNoneThatDoesNot) {
  machine_.policy.set_max_pinned_bytes(50'000);
  machine_.Configure();
  Set(/*max_age_ms=*/0, /*max_bytes=*/10'000);
  PushMany(100, 980);
  // With some 10 of the 100 kept by retention, 90 are let go; "b" pins 40 of them, "a" more.
  ASSERT_TRUE(Commit("a", 20).ok());
  ASSERT_TRUE(Commit("a2", 30).ok());
  ASSERT_TRUE(Commit("b", 50).ok());
  DoWhatIsDue();
  std::vector<std::string> lost;
  for (const auto& cursor : lost_) {
    lost.push_back(cursor.name());
    EXPECT_EQ(cursor.loss(), v1::CURSOR_LOSS_BYTES);
  }
  EXPECT_THAT(lost, ElementsAre("a", "a2"));
  EXPECT_EQ(Log().trim(), 50);
  EXPECT_EQ(Log().slowest_cursor(), 50);
  EXPECT_LE(PinnedBytes(Log()), 50'000);
  EXPECT_GT(PinnedBytes(Log()), 30'000);
  machine_.time_us += kMinute;
  PushMany(20, 980);
  DoWhatIsDue();
  EXPECT_EQ(lost_.size(), 3) << "pushes let more go, and the cursor stands still";
}

TEST_F(CursorMachineTest, AfterARestoreACursorIsUsedOnlyOnceItIsRolledBack) {
  PushMany(5);
  EXPECT_EQ(ReasonIn(Commit("c", 1, std::nullopt, {}, 99)), Reason::INCARNATION_CHANGED);
  ASSERT_TRUE(Commit("c", 3, std::nullopt, {}, machine_.incarnation).ok());
  // A row of another incarnation, as a restored backup has.
  pb::CursorState restored = Cursor("c");
  restored.set_incarnation(99);
  rocksdb::WriteBatch batch;
  ASSERT_TRUE(batch.Put(CursorKey(collection_, "c"), restored.SerializeAsString()).ok());
  ASSERT_TRUE(machine_.store().Write(&batch).ok());
  ASSERT_TRUE(machine_.store().Flush().ok());
  machine_.Reopen();
  EXPECT_EQ(ReasonIn(Commit("c", 4)), Reason::INCARNATION_CHANGED);
  EXPECT_EQ(ReasonIn(Rollback("c", 4)), Reason::CURSOR_MOVED);
  ASSERT_TRUE(Rollback("c", 3).ok());
  EXPECT_TRUE(Commit("c", 4).ok());
}

TEST_F(CursorMachineTest, ADeletedLogsCursorsGoWithIt) {  // invariant 11
  PushMany(2);
  ASSERT_TRUE(Commit("c", 1).ok());
  pb::Command command;
  command.mutable_delete_log()->set_collection_id(std::string(collection_.view()));
  ASSERT_TRUE(machine_.Apply(Command(command)).ok());
  EXPECT_EQ(ReasonIn(Commit("c", 2)), Reason::COLLECTION_DELETED);
  EXPECT_THAT(Due(DueKind::kTrim), IsEmpty());
  EXPECT_EQ(At("c"), 1);
  machine_.time_us += machine_.policy.grace_us();
  Collect(Garbage());
  EXPECT_EQ(ReasonOf(ReadCursor(Snapshot(machine_.store()), collection_, "c").status()),
            Reason::CURSOR_NOT_FOUND);
}

TEST_F(CursorMachineTest, TheSpaceOfWhatIsTrimmedComesBackAndOfWhatIsPinnedDoesNot) {
  Set(/*max_age_ms=*/8'000, /*max_bytes=*/0);
  PushMany(100, 50'000);
  PushMany(2000, 1000);
  ASSERT_TRUE(Commit("c", 0).ok());
  const auto disk_bytes = [&] {
    EXPECT_TRUE(machine_.store().Flush().ok());
    EXPECT_TRUE(machine_.store().Compact().ok());
    return machine_.store().DiskBytes();
  };
  machine_.time_us += kMinute;
  DoWhatIsDue();
  const uint64_t pinned = disk_bytes();
  EXPECT_GT(pinned, 5'000'000);
  ASSERT_TRUE(Commit("c", 2100).ok());
  DoWhatIsDue();
  EXPECT_EQ(Log().trim(), 2100);
  EXPECT_LT(disk_bytes(), 100'000);
}

class IndexedRetentionTest : public CursorMachineTest {
 protected:
  IndexedRetentionTest() : CursorMachineTest(/*log_only=*/false) {}

  // Moves `applied` to the tail.
  void Apply() {
    machine_.time_us += 11 * kSecond;
    const ClaimAnswer claim = Claim();
    ASSERT_TRUE(claim.granted);
    const pb::LogState log = Log();
    ASSERT_TRUE(LogMachineTest::Commit(CompactionOf(claim, 1, log.applied(), log.tail(), 0)).ok());
    ASSERT_TRUE(Release(LeaseOf(claim)).ok());
  }
};

TEST_F(IndexedRetentionTest, OnlyWhatIsAppliedPassesAndByDefaultItIsTheShardsToSayForHowLong) {
  PushMany(3);
  machine_.time_us += kDay;
  EXPECT_THAT(Due(DueKind::kTrim), IsEmpty()) << "nothing is applied";
  Apply();
  PushMany(2);
  machine_.time_us += machine_.policy.trim_delay_us();
  DoWhatIsDue();
  EXPECT_EQ(Log().trim(), 0);
  machine_.time_us += machine_.policy.trim_delay_us() / 8;
  DoWhatIsDue();
  EXPECT_EQ(Log().trim(), 3);
  EXPECT_NE(Log().oldest_kept_us(), 0);
}

TEST_F(IndexedRetentionTest, PastTheShardsBytesItIsTrimmedAtOnce) {
  PushMany(3, machine_.policy.trim_bytes() / 2);
  Apply();
  ASSERT_EQ(Due(DueKind::kTrim).size(), 1);
  EXPECT_EQ(Due(DueKind::kTrim)[0].due_us, machine_.time_us);
  DoWhatIsDue();
  EXPECT_EQ(Log().trim(), 3);
}

TEST_F(IndexedRetentionTest, ACollectionsOwnRetentionTakesThePlaceOfTheShards) {
  Set(/*max_age_ms=*/86'400'000, /*max_bytes=*/100 << 20);
  PushMany(3, machine_.policy.trim_bytes() / 2);
  Apply();
  machine_.time_us += 2 * machine_.policy.trim_delay_us();
  DoWhatIsDue();
  EXPECT_EQ(Log().trim(), 0);
  Set(/*max_age_ms=*/1'000, /*max_bytes=*/0);
  DoWhatIsDue();
  EXPECT_EQ(Log().trim(), 3) << "a setting made shorter takes effect at once";
}

TEST_F(IndexedRetentionTest, ACursorHoldsWhatTheIndexHasPassed) {
  PushMany(4);
  ASSERT_TRUE(Commit("c", 2).ok());
  Apply();
  machine_.time_us += 2 * machine_.policy.trim_delay_us();
  DoWhatIsDue();
  EXPECT_EQ(Log().trim(), 2);
  EXPECT_EQ(ReasonIn(TrimLog(3)), Reason::CURSOR_BEHIND);
  EXPECT_EQ(ReasonIn(TrimLog(5)), Reason::NOT_APPLIED);
  EXPECT_LE(Due(DueKind::kTrim)[0].due_us,
            machine_.time_us + machine_.policy.max_pinned_us() + kDay);
}

}  // namespace
}  // namespace sluice::log

// Pins: what a backup names is not collected while the backup is there, and only that.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/log/log_machine_fixture.h"

namespace sluice::log {
namespace {

constexpr int64_t kGrace = 3'600 * kSecond;

class PinsTest : public LogMachineTest {
 protected:
  uint64_t Begin() {
    pb::Command command;
    command.mutable_begin_pin();
    return std::get<PinAnswer>(*machine_.Apply(Command(command))).number;
  }
  Result Seal(uint64_t pin) {
    pb::Command command;
    command.mutable_seal_pin()->set_number(pin);
    return machine_.Apply(Command(command));
  }
  Result End(uint64_t pin) {
    pb::Command command;
    command.mutable_end_pin()->set_number(pin);
    return machine_.Apply(Command(command));
  }
  std::vector<Pin> Pins() { return *ReadPins(Snapshot(machine_.store())); }

  // Pushes one record, and compacts it into a segment.
  void Compact() {
    PushAndWait();
    const ClaimAnswer claim = Claim();
    ASSERT_TRUE(claim.granted);
    const pb::LogState state = State();
    ASSERT_TRUE(Commit(CompactionOf(claim, 1, state.applied(), state.tail())).ok());
    ASSERT_TRUE(Release(LeaseOf(claim)).ok());
  }
  // Merges the last two segments into one.
  void Merge() {
    while (ReadSegments(Snapshot(machine_.store()), id_)->size() < 4) Compact();
    const auto segments = *ReadSegments(Snapshot(machine_.store()), id_);
    const ClaimAnswer claim = Claim(v1::LEASE_KIND_MERGE);
    ASSERT_TRUE(claim.granted);
    v1::CommitRequest request;
    *request.mutable_lease() = LeaseOf(claim, v1::LEASE_KIND_MERGE);
    request.set_number(1);
    const v1::SegmentInfo& first = segments[segments.size() - 2];
    const v1::SegmentInfo& second = segments.back();
    *request.mutable_merge()->add_inputs() = first;
    *request.mutable_merge()->add_inputs() = second;
    *request.mutable_merge()->mutable_output() =
        SegmentOf(claim, 1, first.after_seq_id(), second.up_to_seq_id(), 2);
    const Result merged = Commit(request);
    ASSERT_TRUE(merged.ok()) << merged.status();
    ASSERT_TRUE(Release(LeaseOf(claim, v1::LEASE_KIND_MERGE)).ok());
  }
  // Segments that may be collected once every grace time is over; in all time, but for kHeld.
  std::vector<uint64_t> Collectable() {
    std::vector<uint64_t> tokens;
    const Snapshot snapshot(machine_.store());
    const auto entries = ReadGarbage(snapshot, kHeld - 1, 100'000);
    EXPECT_TRUE(entries.ok());
    for (const auto& entry : entries.value_or(std::vector<v1::GarbageEntry>())) {
      if (entry.has_segment()) tokens.push_back(entry.segment().token());
    }
    return tokens;
  }
  size_t Held() {
    size_t held = 0;
    const Snapshot snapshot(machine_.store());
    auto it = snapshot.Scan(EncodeGarbageKey({.due_us = kHeld}),
                            PrefixEnd(TypePrefix(RowType::kGarbage)));
    for (; it.Valid(); it.Next()) ++held;
    return held;
  }
};

TEST_F(PinsTest, WhatWasReferredToWhenABackupBeganIsHeldUntilItEnds) {  // invariant 11
  for (int i = 0; i < 4; ++i) Compact();
  const uint64_t pin = Begin();
  Merge();
  EXPECT_TRUE(Collectable().empty());
  ASSERT_TRUE(Seal(pin).ok());
  machine_.time_us += 100 * kGrace;
  EXPECT_TRUE(Collectable().empty());
  EXPECT_EQ(Held(), 2u);

  const Result ended = End(pin);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_FALSE(std::get<PinAnswer>(*ended).more);
  EXPECT_TRUE(Pins().empty());
  // In two steps, as ever.
  const auto due_at_once = Garbage(kGrace - 1);
  EXPECT_FALSE(std::any_of(due_at_once.begin(), due_at_once.end(),
                           [](const auto& entry) { return entry.has_segment(); }));
  EXPECT_EQ(Collectable().size(), 2u);
  Collect(Garbage());
  machine_.time_us += 2 * kGrace;
  Collect(Garbage());
  EXPECT_EQ(State().garbage_objects(), 0u);
}

TEST_F(PinsTest, ASegmentMergedAwayAfterTheBackupIsHeld) {
  for (int i = 0; i < 4; ++i) Compact();
  ASSERT_TRUE(Seal(Begin()).ok());
  Merge();
  EXPECT_EQ(Held(), 2u);
  EXPECT_TRUE(Collectable().empty());
}

TEST_F(PinsTest, WhatABackupDoesNotNameIsNotHeld) {
  for (int i = 0; i < 4; ++i) Compact();
  Merge();  // garbage from before
  const uint64_t pin = Begin();
  ASSERT_TRUE(Seal(pin).ok());
  Compact();  // segments from after
  Compact();
  Merge();
  EXPECT_EQ(Collectable().size(), 4u);
  EXPECT_EQ(Held(), 0u);
}

TEST_F(PinsTest, ABackupThatWasNotCompletedHoldsWhatComesLaterToo) {
  for (int i = 0; i < 4; ++i) Compact();
  Begin();
  Compact();
  Compact();
  Merge();
  EXPECT_TRUE(Collectable().empty());
  ASSERT_EQ(Pins().size(), 1u);
  EXPECT_EQ(Pins()[0].state.sealed_epoch(), 0u);
}

TEST_F(PinsTest, WhatTwoBackupsHoldGoesWithTheSecond) {
  for (int i = 0; i < 4; ++i) Compact();
  const uint64_t first = Begin();
  ASSERT_TRUE(Seal(first).ok());
  const uint64_t second = Begin();
  ASSERT_TRUE(Seal(second).ok());
  EXPECT_NE(first, second);
  Merge();
  ASSERT_TRUE(End(first).ok());
  EXPECT_TRUE(Collectable().empty());
  ASSERT_TRUE(End(second).ok());
  EXPECT_EQ(Collectable().size(), 2u);
}

TEST_F(PinsTest, HeldGarbageIsNotCollectedEvenByName) {
  for (int i = 0; i < 4; ++i) Compact();
  Begin();
  Merge();
  pb::Command command;
  const Snapshot snapshot(machine_.store());
  auto it =
      snapshot.Scan(EncodeGarbageKey({.due_us = kHeld}), PrefixEnd(TypePrefix(RowType::kGarbage)));
  for (; it.Valid(); it.Next()) {
    command.mutable_collect_garbage()->add_keys(std::string(it.key()));
  }
  machine_.time_us += 100 * kGrace;
  ASSERT_TRUE(machine_.Apply(Command(command)).ok());
  EXPECT_EQ(Held(), 2u);
}

TEST_F(PinsTest, ADeletedCollectionIsHeldAndOneThatIsYoungerThanTheBackupIsNot) {
  Compact();
  const uint64_t pin = Begin();
  ASSERT_TRUE(Seal(pin).ok());
  const CollectionId young = NewCollectionId();
  ASSERT_TRUE(machine_.Apply(OpenLogOf(young)).ok());
  ASSERT_TRUE(Delete().ok());
  pb::Command command;
  command.mutable_delete_log()->set_collection_id(std::string(young.view()));
  ASSERT_TRUE(machine_.Apply(Command(command)).ok());
  const auto whole = [&] {
    std::vector<std::string> ids;
    for (const auto& entry : Garbage()) {
      if (entry.whole_collection()) ids.push_back(entry.collection_id());
    }
    return ids;
  };
  EXPECT_EQ(whole(), std::vector{young.ToString()});
  ASSERT_TRUE(End(pin).ok());
  EXPECT_EQ(whole().size(), 2u);
  machine_.time_us += 2 * kGrace;
  Collect(Garbage());
  const auto row = *Snapshot(machine_.store()).Get(LogKey(id_));
  pb::LogState state;
  ASSERT_TRUE(row && state.ParseFromString(*row));
  EXPECT_TRUE(state.purged());
}

// An ended lease's objects are not held: those that it committed are not among its garbage.
TEST_F(PinsTest, WhatAnEndedLeaseCommittedIsNotItsGarbage) {
  ASSERT_TRUE(Seal(Begin()).ok());
  Compact();
  const auto entries = Garbage();
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_THAT(entries[0].ended_token().committed_objects(), testing::ElementsAre(1));
}

TEST_F(PinsTest, MoreThanOneCommandLetsGoOfIsLetGoOfInSeveral) {
  for (int i = 0; i < 4; ++i) Compact();
  const uint64_t pin = Begin();
  // As many deleted collections as one command looks at, and more.
  constexpr int kCollections = 10'005;
  for (int i = 0; i < kCollections; i += 100) {
    std::vector<Command> group;
    for (int j = i; j < std::min(i + 100, kCollections); ++j) {
      const CollectionId id = NewCollectionId();
      group.push_back(OpenLogOf(id));
      pb::Command command;
      command.mutable_delete_log()->set_collection_id(std::string(id.view()));
      group.push_back(Command(command));
    }
    machine_.ApplyGroup(std::move(group));
  }
  EXPECT_EQ(Held(), size_t{kCollections});
  EXPECT_TRUE(std::get<PinAnswer>(*End(pin)).more);
  ASSERT_EQ(Pins().size(), 1u);
  EXPECT_TRUE(Pins()[0].state.ending());
  // What becomes garbage meanwhile is not held.
  Merge();
  EXPECT_EQ(Collectable().size(), 2u);
  EXPECT_FALSE(std::get<PinAnswer>(*End(pin)).more);
  EXPECT_EQ(Held(), 0u);
  EXPECT_TRUE(Pins().empty());
}

TEST_F(PinsTest, PinsThatAreNotThereAreRefused) {
  EXPECT_EQ(ReasonIn(Seal(1)), Reason::BACKUP_NOT_FOUND);
  EXPECT_EQ(ReasonIn(End(1)), Reason::BACKUP_NOT_FOUND);
  const uint64_t pin = Begin();
  ASSERT_TRUE(End(pin).ok());
  EXPECT_EQ(ReasonIn(End(pin)), Reason::BACKUP_NOT_FOUND);
  EXPECT_GT(Begin(), pin);  // numbers are not used again
}

TEST_F(PinsTest, PinsAreBounded) {
  std::vector<Command> group;
  pb::Command begin;
  begin.mutable_begin_pin();
  for (int i = 0; i < 1'000; ++i) group.emplace_back(begin);
  for (const Result& result : machine_.ApplyGroup(std::move(group))) ASSERT_TRUE(result.ok());
  EXPECT_EQ(ReasonIn(machine_.Apply(Command(begin))), Reason::TOO_MANY_BACKUPS);
}

TEST_F(PinsTest, SegmentsSayTheIncarnationTheyWereWrittenUnder) {
  Compact();
  const auto segments = *ReadSegments(Snapshot(machine_.store()), id_);
  ASSERT_EQ(segments.size(), 1u);
  EXPECT_EQ(segments[0].incarnation(), machine_.incarnation);
}

}  // namespace
}  // namespace sluice::log

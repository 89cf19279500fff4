#include "services/log/shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rocksdb/env.h>

#include <atomic>
#include <fstream>
#include <future>
#include <iterator>
#include <mutex>
#include <thread>

#include "common/base/clock.h"
#include "common/errors/errors.h"
#include "services/log/append_reader.h"
#include "services/log/faulty_files.h"
#include "services/log/full_disk.h"
#include "services/log/reader.h"
#include "services/log/test_support.h"

namespace sluice::log {
namespace {

RequestId NewRequestId() { return RequestId(Uuid::TimeOrdered(NowMicros() / 1000)); }

ShardOptions SmallShard(const std::filesystem::path& folder) {
  ShardOptions options;
  options.folder = folder;
  options.journal_file_bytes = 1 << 20;
  options.store.memtable_bytes = 1 << 20;
  options.seal_after = std::chrono::milliseconds(5);
  options.probe_every = std::chrono::milliseconds(5);
  return options;
}

std::unique_ptr<Shard> OpenShard(ShardOptions options) {
  auto shard = Shard::Open(std::move(options));
  EXPECT_TRUE(shard.ok()) << shard.status();
  return shard.ok() ? *std::move(shard) : nullptr;
}

PushAnswer MustPush(Shard& shard, Command command) {
  const Result result = shard.ProposeAndWait(std::move(command));
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? std::get<PushAnswer>(*result) : PushAnswer();
}

std::vector<std::string> DocumentsOf(const Shard& shard, const CollectionId& collection) {
  const Snapshot snapshot(shard.store());
  const auto state = ReadLog(snapshot, collection);
  EXPECT_TRUE(state.ok()) << state.status();
  if (!state.ok()) return {};
  AppendReader reader(snapshot, collection, SeqId(state->trim()), SeqId(state->tail()));
  std::vector<std::string> documents;
  for (AppendSlice slice;;) {
    const auto more = reader.Next(&slice);
    EXPECT_TRUE(more.ok()) << more.status();
    if (!more.ok() || !*more) return documents;
    v1::Append append;
    EXPECT_TRUE(
        append.ParseFromArray(slice.records.data(), static_cast<int>(slice.records.size())));
    for (const auto& record : append.records()) documents.push_back(record.document());
  }
}

class ShardTest : public testing::Test {
 protected:
  TemporaryFolder folder_;
  const CollectionId collection_ = NewCollectionId();
};

TEST_F(ShardTest, SeqIdsAreDenseAndStartAtOne) {  // invariant 2
  const auto shard = OpenShard(SmallShard(folder_.path()));
  ASSERT_TRUE(shard->ProposeAndWait(OpenLogOf(collection_)).ok());
  const PushAnswer one = MustPush(*shard, PushOf(collection_, NewRequestId(), {Record("a")}));
  EXPECT_EQ(one.first, SeqId(1));
  const PushAnswer two =
      MustPush(*shard, PushOf(collection_, NewRequestId(), {Record("b"), Record("c")}));
  EXPECT_EQ(two.first, SeqId(2));
  EXPECT_EQ(two.tail, SeqId(3));
  EXPECT_EQ(two.incarnation, shard->incarnation());
}

TEST_F(ShardTest, WhatWasAnsweredIsThereAfterReopening) {  // invariant 1
  const RequestId id = NewRequestId();
  {
    const auto shard = OpenShard(SmallShard(folder_.path()));
    ASSERT_TRUE(shard->ProposeAndWait(OpenLogOf(collection_)).ok());
    MustPush(*shard, PushOf(collection_, id, {Record("a", "one"), Record("b", "two")}));
  }
  const auto shard = OpenShard(SmallShard(folder_.path()));
  EXPECT_EQ(DocumentsOf(*shard, collection_), (std::vector<std::string>{"one", "two"}));
  const PushAnswer again =
      MustPush(*shard, PushOf(collection_, id, {Record("a", "one"), Record("b", "two")}));
  EXPECT_TRUE(again.duplicate);
  EXPECT_EQ(again.first, SeqId(1));
}

TEST_F(ShardTest, AFolderInUseIsRefused) {
  const auto shard = OpenShard(SmallShard(folder_.path()));
  const auto second = Shard::Open(SmallShard(folder_.path()));
  ASSERT_FALSE(second.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
  EXPECT_THAT(std::string(second.status().message()),
              testing::HasSubstr("in use by another process"));
}

TEST_F(ShardTest, AFolderOfANewerFormatIsRefusedAndNotTouched) {
  std::ofstream(folder_.path() / "FORMAT") << "sluice-log 2\n";
  const auto shard = Shard::Open(SmallShard(folder_.path()));
  ASSERT_FALSE(shard.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(shard.status())) << shard.status();
  EXPECT_THAT(std::string(shard.status().message()), testing::HasSubstr("format 2"));
  const std::filesystem::directory_iterator files(folder_.path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

TEST_F(ShardTest, PolicyAndIncarnationAreKeptAndThePolicyFollowsTheOptions) {
  Incarnation incarnation;
  {
    const auto shard = OpenShard(SmallShard(folder_.path()));
    incarnation = shard->incarnation();
    EXPECT_NE(incarnation, Incarnation(0));
  }
  ShardOptions options = SmallShard(folder_.path());
  options.grace = std::chrono::seconds(7);
  const auto shard = OpenShard(options);
  EXPECT_EQ(shard->incarnation(), incarnation);
  const auto state = ReadShardState(Snapshot(shard->store()));
  EXPECT_EQ(state->policy().grace_us(), 7'000'000);
}

TEST_F(ShardTest, TheShardsTimeNeverGoesBack) {
  std::atomic<int64_t> clock = NowMicros();
  ShardOptions options = SmallShard(folder_.path());
  options.clock = [&] { return clock.load(); };
  int64_t last = 0;
  {
    const auto shard = OpenShard(options);
    ASSERT_TRUE(shard->ProposeAndWait(OpenLogOf(collection_)).ok());
    last = MustPush(*shard, PushOf(collection_, {}, {Record("a")})).commit_time_us;
    clock -= 3'600'000'000;
    EXPECT_EQ(MustPush(*shard, PushOf(collection_, {}, {Record("a")})).commit_time_us, last);
  }
  const auto shard = OpenShard(options);
  EXPECT_EQ(MustPush(*shard, PushOf(collection_, {}, {Record("a")})).commit_time_us, last);
}

TEST_F(ShardTest, TimeGoesOnAfterTheClockWasSetBack) {
  std::atomic<int64_t> clock = NowMicros();
  ShardOptions options = SmallShard(folder_.path());
  options.clock = [&] { return clock.load(); };
  constexpr int64_t kHour = 3'600'000'000;
  int64_t last = 0;
  {
    const auto shard = OpenShard(options);
    ASSERT_TRUE(shard->ProposeAndWait(OpenLogOf(collection_)).ok());
    last = MustPush(*shard, PushOf(collection_, {}, {Record("a")})).commit_time_us;
  }
  clock -= kHour;
  const auto shard = OpenShard(options);
  EXPECT_EQ(shard->Now(), last);
  clock += kHour / 2;
  EXPECT_EQ(shard->Now(), last + kHour / 4);
  EXPECT_EQ(MustPush(*shard, PushOf(collection_, {}, {Record("a")})).commit_time_us,
            last + kHour / 4);
  clock += 3 * kHour / 2;
  EXPECT_EQ(shard->Now(), clock) << "the clock has caught up";
}

// Invariant 3, also across a restart.
TEST_F(ShardTest, RequestIdsAreJudgedByTheCorrectedClock) {
  constexpr int64_t kDay = 86'400'000'000;
  std::atomic<int64_t> offset = 0;
  ShardOptions options = SmallShard(folder_.path());
  options.clock = [&] { return NowMicros() + offset; };
  const RequestId before = NewRequestId();
  {
    const auto shard = OpenShard(options);
    ASSERT_TRUE(shard->ProposeAndWait(OpenLogOf(collection_)).ok());
    MustPush(*shard, PushOf(collection_, before, {Record("a")}));
    offset = kDay;
    const auto late = shard->ProposeAndWait(PushOf(collection_, NewRequestId(), {Record("b")}));
    EXPECT_EQ(ReasonOf(late.status()), Reason::REQUEST_ID_EXPIRED);
  }
  const auto shard = OpenShard(options);
  EXPECT_GT(shard->ReadClock().clock_us - shard->ReadClock().wall_us, kDay / 2);
  const int64_t time_us = shard->Now();
  const ClockReading reading = shard->CorrectClock();
  EXPECT_EQ(reading.clock_us, reading.wall_us);
  EXPECT_GE(reading.time_us, time_us) << "it never goes back";
  const RequestId after = NewRequestId();
  EXPECT_FALSE(MustPush(*shard, PushOf(collection_, after, {Record("b")})).duplicate);
  EXPECT_TRUE(MustPush(*shard, PushOf(collection_, after, {Record("b")})).duplicate);
  const auto again = shard->ProposeAndWait(PushOf(collection_, before, {Record("a")}));
  EXPECT_EQ(ReasonOf(again.status()), Reason::REQUEST_ID_EXPIRED);
  EXPECT_EQ(DocumentsOf(*shard, collection_).size(), 2);
}

TEST_F(ShardTest, TooManyBytesInFlightAreRefusedAtOnceWithADelay) {  // invariant 9
  std::mutex held;
  ShardOptions options = SmallShard(folder_.path());
  options.max_inflight.node_bytes = 2000;
  std::unique_lock hold(held, std::defer_lock);
  options.on_moved = [&](std::span<const LogPositions> moved) {
    if (moved[0].tail > SeqId(0)) const std::lock_guard wait(held);
  };
  const auto shard = OpenShard(options);
  ASSERT_TRUE(shard->ProposeAndWait(OpenLogOf(collection_)).ok());
  hold.lock();
  std::atomic<int> answered = 0;
  // The applier stops before it answers the first group; the next ones pile up.
  int accepted = 0;
  absl::Status refusal;
  for (int i = 0; i < 10; ++i) {
    bool refused = false;
    shard->Propose(PushOf(collection_, {}, {Record("a", std::string(300, 'x'))}),
                   [&](Result result) {
                     if (!result.ok()) {
                       refused = true;
                       refusal = result.status();
                     }
                     ++answered;
                   });
    accepted += refused ? 0 : 1;
  }
  EXPECT_GT(accepted, 0);
  EXPECT_LT(accepted, 10);
  EXPECT_EQ(ReasonOf(refusal), Reason::OVERLOADED);
  EXPECT_EQ(OutcomeOf(refusal), Outcome::kNotIn);
  EXPECT_TRUE(RetryAfter(refusal));
  hold.unlock();
  shard->Stop();
  EXPECT_EQ(answered, 10);
  EXPECT_EQ(shard->InflightBytes(), 0);
}

TEST_F(ShardTest, AfterStopProposalsAreRefusedAsDraining) {
  const auto shard = OpenShard(SmallShard(folder_.path()));
  shard->Stop();
  const Result result = shard->ProposeAndWait(OpenLogOf(collection_));
  EXPECT_EQ(ReasonOf(result.status()), Reason::DRAINING);
  EXPECT_EQ(OutcomeOf(result.status()), Outcome::kNotIn);
}

TEST_F(ShardTest, SubscribersHearOfTheLogsThatAGroupMoved) {
  std::mutex mutex;
  std::vector<LogPositions> heard;
  ShardOptions options = SmallShard(folder_.path());
  options.on_moved = [&](std::span<const LogPositions> moved) {
    const std::lock_guard lock(mutex);
    heard.insert(heard.end(), moved.begin(), moved.end());
  };
  const auto shard = OpenShard(options);
  ASSERT_TRUE(shard->ProposeAndWait(OpenLogOf(collection_)).ok());
  MustPush(*shard, PushOf(collection_, {}, {Record("a"), Record("b")}));
  shard->Stop();
  ASSERT_EQ(heard.size(), 2);
  EXPECT_EQ(heard[1].collection, collection_);
  EXPECT_EQ(heard[1].tail, SeqId(2));
  EXPECT_EQ(heard[1].incarnation, shard->incarnation());
}

// Invariants 9 and 10: a disk that fails makes the shard read-only until it works again.
TEST_F(ShardTest, AFailingJournalIsSaidHonestlyAndRecoversByItself) {
  FaultyFiles files;
  std::atomic<bool> broken = false;
  files.fails = [&](std::string_view call, const auto&) { return broken && call == "sync"; };
  ShardOptions options = SmallShard(folder_.path());
  options.files = &files;
  const auto shard = OpenShard(options);
  ASSERT_TRUE(shard->ProposeAndWait(OpenLogOf(collection_)).ok());
  const RequestId first = NewRequestId();
  MustPush(*shard, PushOf(collection_, first, {Record("a", "one")}));
  broken = true;
  const RequestId unknown = NewRequestId();
  Result failed = shard->ProposeAndWait(PushOf(collection_, unknown, {Record("b", "two")}));
  // The idle seal may have met the failure before the push did.
  if (ReasonOf(failed.status()) == Reason::COMMIT_UNKNOWN) {
    EXPECT_EQ(OutcomeOf(failed.status()), Outcome::kUnknown);
  } else {
    EXPECT_EQ(ReasonOf(failed.status()), Reason::READ_ONLY);
    EXPECT_EQ(OutcomeOf(failed.status()), Outcome::kNotIn);
  }
  do {
    failed = shard->ProposeAndWait(PushOf(collection_, NewRequestId(), {Record("c", "three")}));
    ASSERT_FALSE(failed.ok());
  } while (ReasonOf(failed.status()) != Reason::READ_ONLY);
  EXPECT_EQ(OutcomeOf(failed.status()), Outcome::kNotIn);
  EXPECT_EQ(ReasonOf(shard->Writable()), Reason::READ_ONLY);
  EXPECT_EQ(DocumentsOf(*shard, collection_), std::vector<std::string>{"one"});  // still readable
  broken = false;
  Result retried = failed;
  while (!retried.ok()) {
    retried = shard->ProposeAndWait(PushOf(collection_, unknown, {Record("b", "two")}));
  }
  EXPECT_FALSE(std::get<PushAnswer>(*retried).duplicate);
  EXPECT_TRUE(shard->Writable().ok());
  EXPECT_EQ(DocumentsOf(*shard, collection_), (std::vector<std::string>{"one", "two"}));
}

// Invariant 9: nothing that was accepted is lost.
TEST_F(ShardTest, AStoreThatCannotWriteMakesTheShardReadOnlyUntilItCan) {
  const auto disk = std::make_shared<FullDisk>();
  ShardOptions options = SmallShard(folder_.path());
  options.store.files = disk;
  options.store.memtable_bytes = 128 << 10;
  options.max_inflight.node_bytes = 4 << 20;
  const auto shard = OpenShard(options);
  ASSERT_TRUE(shard->ProposeAndWait(OpenLogOf(collection_)).ok());
  disk->full = true;
  std::atomic<size_t> accepted = 0;
  // Until a flush has failed and the next group is not taken any more.
  while (ReasonOf(shard->Writable()) != Reason::READ_ONLY) {
    shard->Propose(PushOf(collection_, NewRequestId(), {Record("a", std::string(3000, 'x'))}),
                   [&](const Result& result) { accepted += result.ok() ? 1 : 0; });
  }
  EXPECT_FALSE(DocumentsOf(*shard, collection_).empty());  // still readable
  disk->full = false;
  const RequestId last = NewRequestId();
  while (!shard->ProposeAndWait(PushOf(collection_, last, {Record("a", "last")})).ok()) {
    std::this_thread::yield();  // still read-only, or busy with what it had accepted
  }
  const std::vector<std::string> documents = DocumentsOf(*shard, collection_);
  EXPECT_EQ(documents.size(), accepted + 1);
  EXPECT_TRUE(documents.back() == "last");
}

TEST_F(ShardTest, WhatWasTrimmedIsErasedFromAllFiles) {
  const std::string small = "a text that goes into a table";
  const std::string large = "and one that goes into a blob file" + std::string(9'000, '.');
  const std::string kept = "what is kept";
  const auto in_files = [&](const std::string& text) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_.path())) {
      if (!entry.is_regular_file()) continue;
      std::ifstream file(entry.path(), std::ios::binary);
      const std::string bytes(std::istreambuf_iterator<char>(file), {});
      if (bytes.find(text) != std::string::npos) return true;
    }
    return false;
  };
  const auto shard = OpenShard(SmallShard(folder_.path()));
  ASSERT_TRUE(shard->ProposeAndWait(OpenLogOf(collection_, {}, /*log_only=*/true)).ok());
  MustPush(*shard, PushOf(collection_, NewRequestId(), {Record("a", small), Record("b", "b")}));
  MustPush(*shard, PushOf(collection_, NewRequestId(), {Record("c", large)}));
  MustPush(*shard, PushOf(collection_, NewRequestId(), {Record("d", kept)}));
  ASSERT_TRUE(shard->store().db()->Flush(rocksdb::FlushOptions()).ok());
  pb::Command trim;
  trim.mutable_trim()->set_collection_id(std::string(collection_.view()));
  trim.mutable_trim()->set_up_to_seq_id(3);
  ASSERT_TRUE(shard->ProposeAndWait(Command(trim)).ok());
  EXPECT_TRUE(in_files(small));
  EXPECT_TRUE(in_files(large));

  std::promise<bool> erased;
  shard->Erase([&](bool ok) { erased.set_value(ok); });
  ASSERT_TRUE(erased.get_future().get());
  // The writer lets the journal's files go when it hears of the flush.
  while (in_files(small) || in_files(large)) std::this_thread::yield();
  EXPECT_TRUE(in_files(kept));
  EXPECT_THAT(DocumentsOf(*shard, collection_), testing::ElementsAre(kept));
}

// Invariant 1: what is durable and was not applied when the shard stopped is applied at the next
// start.
TEST_F(ShardTest, AShardWhoseStoreCannotWriteStopsAndLosesNothing) {
  const auto disk = std::make_shared<FullDisk>();
  ShardOptions options = SmallShard(folder_.path());
  options.store.files = disk;
  options.store.memtable_bytes = 128 << 10;
  options.max_inflight.node_bytes = 4 << 20;
  std::atomic<size_t> accepted = 0;
  std::atomic<size_t> unknown = 0;
  {
    const auto shard = OpenShard(options);
    ASSERT_TRUE(shard->ProposeAndWait(OpenLogOf(collection_)).ok());
    disk->full = true;
    while (ReasonOf(shard->Writable()) != Reason::READ_ONLY) {
      shard->Propose(PushOf(collection_, NewRequestId(), {Record("a", std::string(3000, 'x'))}),
                     [&](const Result& result) {
                       if (result.ok()) ++accepted;
                       if (ReasonOf(result.status()) == Reason::COMMIT_UNKNOWN) ++unknown;
                     });
    }
  }
  disk->full = false;
  const auto shard = OpenShard(options);
  EXPECT_EQ(DocumentsOf(*shard, collection_).size(), accepted + unknown);
}

TEST_F(ShardTest, AShardThatIsReadOnlyStops) {
  FaultyFiles files;
  std::atomic<bool> broken = false;
  files.fails = [&](std::string_view call, const auto&) { return broken && call != "rename"; };
  ShardOptions options = SmallShard(folder_.path());
  options.files = &files;
  {
    const auto shard = OpenShard(options);
    ASSERT_TRUE(shard->ProposeAndWait(OpenLogOf(collection_)).ok());
    broken = true;
    EXPECT_FALSE(shard->ProposeAndWait(PushOf(collection_, {}, {Record("a")})).ok());
  }
  broken = false;
  const auto shard = OpenShard(options);
  EXPECT_TRUE(DocumentsOf(*shard, collection_).empty());
}

TEST_F(ShardTest, TheJournalIsCutBehindWhatTheStorePersisted) {
  const auto shard = OpenShard(SmallShard(folder_.path()));
  ASSERT_TRUE(shard->ProposeAndWait(OpenLogOf(collection_)).ok());
  for (int i = 0; i < 40; ++i) {
    MustPush(*shard, PushOf(collection_, {}, {Record("a", std::string(200'000, 'x'))}));
  }
  ASSERT_TRUE(shard->store().Flush().ok());
  shard->Stop();
  // 8 MB went through files of 1 MiB: what is left are the current one and spares.
  EXPECT_LE(shard->JournalBytes(), 5 << 20);
  EXPECT_EQ(DocumentsOf(*shard, collection_).size(), 40);
}

// Invariant 9. Refused commands go through the journal too, and change next to nothing.
TEST_F(ShardTest, TheJournalIsBoundedAlsoWhenEveryPushIsRefused) {
  const auto shard = OpenShard(SmallShard(folder_.path()));
  v1::CollectionSettings settings;
  settings.set_max_backlog_bytes(10);
  ASSERT_TRUE(shard->ProposeAndWait(OpenLogOf(collection_, settings)).ok());
  for (int i = 0; i < 64; ++i) {
    const Result refused =
        shard->ProposeAndWait(PushOf(collection_, {}, {Record("a", std::string(700'000, 'x'))}));
    ASSERT_EQ(ReasonOf(refused.status()), Reason::BACKLOG);
  }
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (shard->JournalBytes() > 16 << 20 && std::chrono::steady_clock::now() < until) {
    std::this_thread::yield();
  }
  EXPECT_LE(shard->JournalBytes(), 16 << 20);
}

}  // namespace
}  // namespace sluice::log

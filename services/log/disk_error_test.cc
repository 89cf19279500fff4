// Errors of the disk, at every operation in turn, under journal and store: the shard turns
// read-only, says what is wrong, and goes on by itself once the disk works. Nothing that was
// acknowledged is lost, nothing is there in part.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "absl/strings/match.h"
#include "services/log/shard_history.h"
#include "services/log/simulated_disk.h"
#include "tests/support/seed.h"

namespace sluice::log {
namespace {

using Op = SimulatedDisk::Op;

bool Changes(Op op) { return op != Op::kRead && op != Op::kLock; }

class DiskErrorTest : public ::testing::Test {
 protected:
  ShardOptions Options(SimulatedDisk& disk) {
    ShardOptions options;
    options.folder = "/data/log";
    options.journal_file_bytes = 64 << 10;
    options.max_group_bytes = 16 << 10;
    options.store.memtable_bytes = 64 << 10;
    options.store.files = disk.rocks();
    options.store.clock = std::make_shared<ImpatientClock>();
    options.files = disk.files();
    options.seal_after = std::chrono::milliseconds(1);
    options.probe_every = std::chrono::milliseconds(1);
    options.clock = [this] { return clock_ += 100; };
    return options;
  }

  static void AwaitWritable(const Shard& shard) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    absl::Status writable = shard.Writable();
    while (!writable.ok() && std::chrono::steady_clock::now() < until) {
      std::this_thread::yield();
      writable = shard.Writable();
    }
    ASSERT_TRUE(writable.ok()) << writable;
  }

  // The operations after the next `skip` fail with `error` until the shard says so, or so many
  // pushes were answered; then the disk works again, and then the power goes.
  void Survive(uint64_t seed, uint64_t skip, int error,
               const std::function<bool(Op, std::string_view path)>& hit) {
    SCOPED_TRACE("SLUICE_TEST_SEED=" + std::to_string(seed) + ", from operation " +
                 std::to_string(skip) + " on: " + std::strerror(error));
    SimulatedDisk disk(seed);
    ShardHistory history(seed);
    const auto always = [] { return true; };
    std::atomic<uint64_t> before = skip;
    std::atomic<bool> broken = true;
    {
      auto opened = Shard::Open(Options(disk));
      ASSERT_TRUE(opened.ok()) << opened.status();
      Shard& shard = **opened;
      ASSERT_TRUE(history.Open(shard, always));
      disk.SetFaults([&](Op op, std::string_view path) {
        if (!broken || !hit(op, path)) return 0;
        if (before > 0) {
          --before;
          return 0;
        }
        return error;
      });
      const auto writable = [&] { return shard.Writable().ok(); };
      history.Push(shard, 150, writable);
      if (!writable()) {
        ++refusals_;
        const Result refused = shard.ProposeAndWait(OpenLogOf(NewCollectionId()));
        if (!refused.ok()) {
          EXPECT_EQ(ReasonOf(refused.status()), Reason::READ_ONLY) << refused.status();
          EXPECT_EQ(OutcomeOf(refused.status()), Outcome::kNotIn);
          EXPECT_TRUE(RetryAfter(refused.status()));
          EXPECT_TRUE(absl::StrContains(refused.status().message(), std::strerror(error)))
              << refused.status();
        }
        EXPECT_TRUE(ReadLog(Snapshot(shard.store()), history.collection()).ok()) << "still read";
      }
      broken = false;
      ASSERT_NO_FATAL_FAILURE(AwaitWritable(shard));
      history.AwaitAnswers(always);
      history.RetryUnknown(shard, always);
      history.Push(shard, 30, always);
      history.AwaitAnswers(always);
      ASSERT_NO_FATAL_FAILURE(history.Verify(shard));
      // Without a stop in peace.
      disk.CutPowerAfter(0);
    }
    disk.Restart();
    const auto shard = Shard::Open(Options(disk));
    ASSERT_TRUE(shard.ok()) << shard.status();
    ASSERT_NO_FATAL_FAILURE(history.Verify(**shard));
  }

  std::atomic<int64_t> clock_ = NowMicros();
  int refusals_ = 0;
};

// Invariants 1, 2, 9 and 10.
TEST_F(DiskErrorTest, TheShardOutlivesErrorsFromAnyOperationOn) {
  const uint64_t seed = ::sluice::testing::TestSeed();
  for (uint64_t skip = 0; skip < 240 && !HasFailure(); skip += 1 + (seed + skip) % 5) {
    Survive(seed + skip, skip, skip % 2 == 0 ? EIO : ENOSPC,
            [](Op op, std::string_view) { return Changes(op); });
  }
  EXPECT_GT(refusals_, 20);
}

TEST_F(DiskErrorTest, TheShardOutlivesAStoreThatCannotWrite) {
  const uint64_t seed = ::sluice::testing::TestSeed();
  for (uint64_t skip = 0; skip < 60 && !HasFailure(); skip += 1 + (seed + skip) % 3) {
    Survive(seed + skip, skip, skip % 2 == 0 ? EIO : ENOSPC, [](Op op, std::string_view path) {
      return Changes(op) &&
             absl::StrContains(absl::string_view(path.data(), path.size()), "/store");
    });
  }
  EXPECT_GT(refusals_, 5);
}

TEST_F(DiskErrorTest, TheShardOutlivesAManifestThatCannotBeWritten) {
  const uint64_t seed = ::sluice::testing::TestSeed();
  for (uint64_t skip = 0; skip < 8 && !HasFailure(); ++skip) {
    Survive(seed + skip, skip, EIO, [](Op op, std::string_view path) {
      return Changes(op) &&
             absl::StrContains(absl::string_view(path.data(), path.size()), "/MANIFEST");
    });
  }
  EXPECT_GT(refusals_, 0);
}

TEST_F(DiskErrorTest, TheShardOutlivesSyncsThatFail) {
  const uint64_t seed = ::sluice::testing::TestSeed();
  for (uint64_t skip = 0; skip < 40 && !HasFailure(); skip += 1 + (seed + skip) % 3) {
    Survive(seed + skip, skip, EIO, [](Op op, std::string_view) { return op == Op::kSync; });
  }
  EXPECT_GT(refusals_, 5);
}

TEST_F(DiskErrorTest, TheShardOutlivesReadsThatFail) {
  const uint64_t seed = ::sluice::testing::TestSeed();
  for (uint64_t skip = 0; skip < 30 && !HasFailure(); skip += 1 + (seed + skip) % 3) {
    std::atomic<int> failures = 0;
    Survive(seed + skip, skip, EIO, [&](Op op, std::string_view) {
      // Not the test's own.
      return op == Op::kRead && ++failures % 3 == 0;
    });
  }
}

TEST_F(DiskErrorTest, AShardStartsWhereTheDiskIsFull) {
  const uint64_t seed = ::sluice::testing::TestSeed();
  SCOPED_TRACE("SLUICE_TEST_SEED=" + std::to_string(seed));
  SimulatedDisk disk(seed);
  ShardHistory history(seed);
  const auto always = [] { return true; };
  std::unique_ptr<Shard> shard;
  const auto writable = [&] { return shard->Writable().ok(); };
  const auto start = [&] {
    shard.reset();
    auto opened = Shard::Open(Options(disk));
    ASSERT_TRUE(opened.ok()) << opened.status();
    shard = *std::move(opened);
  };
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(history.Open(*shard, always));
  history.Push(*shard, 100, always);
  history.AwaitAnswers(always);
  disk.SetCapacity(disk.UsedBytes() + 10'000);
  history.Push(*shard, 1'000, writable);
  EXPECT_FALSE(writable());
  ASSERT_NO_FATAL_FAILURE(history.Verify(*shard));
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_NO_FATAL_FAILURE(history.Verify(*shard));
  disk.SetCapacity(UINT64_MAX);
  ASSERT_NO_FATAL_FAILURE(AwaitWritable(*shard));
  history.RetryUnknown(*shard, always);
  history.Push(*shard, 30, always);
  history.AwaitAnswers(always);
  ASSERT_NO_FATAL_FAILURE(history.Verify(*shard));
}

}  // namespace
}  // namespace sluice::log

// Power loss under journal and store at once: whatever was synced is there, and nothing else need
// be. The seed decides what is pushed and what is lost; threads still meet as they will.
#include <gtest/gtest.h>

#include <atomic>

#include "services/log/shard_history.h"
#include "services/log/simulated_disk.h"
#include "tests/support/seed.h"

// Each loses power ten times.
#ifndef SLUICE_POWER_LOSS_DISKS
#define SLUICE_POWER_LOSS_DISKS 30
#endif

namespace sluice::log {
namespace {

class PowerLossTest : public ::testing::Test {
 protected:
  // Small, so that files are changed, flushed and given back all the time.
  ShardOptions Options(SimulatedDisk& disk) {
    ShardOptions options;
    options.folder = "/data/log";
    options.journal_file_bytes = 64 << 10;
    options.max_group_bytes = 16 << 10;
    options.store.memtable_bytes = 64 << 10;
    options.store.block_cache_bytes = 1 << 20;
    options.store.files = disk.rocks();
    options.store.clock = std::make_shared<ImpatientClock>();
    options.files = disk.files();
    options.seal_after = std::chrono::milliseconds(1);
    options.probe_every = std::chrono::milliseconds(1);
    options.clock = [this] { return clock_ += 100; };
    return options;
  }

  // Runs a shard into `cuts` power cuts at random operations, one after the other on one disk.
  void Survive(uint64_t seed, int cuts) {
    SCOPED_TRACE("SLUICE_TEST_SEED=" + std::to_string(seed));
    SimulatedDisk disk(seed);
    ShardHistory history(seed);
    const auto powered = [&] { return disk.HasPower(); };
    for (int cut = 0; cut < cuts; ++cut) {
      disk.CutPowerAfter(history.Below(cut % 4 == 3 ? 40 : 400));
      while (disk.HasPower()) {
        auto shard = Shard::Open(Options(disk));
        if (!shard.ok()) {
          ASSERT_FALSE(disk.HasPower()) << shard.status();
          break;
        }
        ASSERT_NO_FATAL_FAILURE(history.Verify(**shard, powered));
        (void)history.Open(**shard, powered);
        history.RetryUnknown(**shard, powered);
        // Now and then it stops in peace.
        const int turns = 1 + static_cast<int>(history.Below(8));
        for (int turn = 0; turn < turns && disk.HasPower(); ++turn) {
          history.Push(**shard, 30, powered);
          history.AwaitAnswers(powered);
          if (disk.HasPower() && history.Below(4) == 0) history.ApplyAndTrim(**shard, powered);
        }
      }
      disk.Restart();
      if (HasFailure()) return;
    }
    const auto shard = Shard::Open(Options(disk));
    ASSERT_TRUE(shard.ok()) << shard.status();
    ASSERT_NO_FATAL_FAILURE(history.Verify(**shard));
    acknowledged_ += history.acknowledged();
  }

  std::atomic<int64_t> clock_ = NowMicros();
  size_t acknowledged_ = 0;
};

// Invariants 1, 2 and 3.
TEST_F(PowerLossTest, WhatWasAcknowledgedIsThereAfterPowerCuts) {
  const uint64_t seed = ::sluice::testing::TestSeed();
  for (uint64_t i = 0; i < SLUICE_POWER_LOSS_DISKS && !HasFailure(); ++i) Survive(seed + i, 10);
  EXPECT_GT(acknowledged_, 1000);
}

}  // namespace
}  // namespace sluice::log

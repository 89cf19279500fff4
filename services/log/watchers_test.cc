#include "services/log/watchers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <semaphore>
#include <thread>
#include <vector>

namespace sluice::log {
namespace {

using What = Watchers::What;

class WatchersTest : public testing::Test {
 protected:
  void Move(SeqId tail, SeqId applied, bool deleted = false) {
    const LogPositions moved[] = {
        {.collection = log_, .tail = tail, .applied = applied, .deleted = deleted}};
    watchers_.Moved(moved);
  }

  const CollectionId log_{Uuid::Random()};
  WorkerPool pool_{2, 16};
  Watchers watchers_{pool_};
  std::binary_semaphore woken_{0};
};

TEST_F(WatchersTest, AWaiterIsWokenOnceWhenItsLogHasPassedWhatItWaitsFor) {
  std::atomic<int> wakes = 0;
  ASSERT_TRUE(watchers_.Wait(log_, watchers_.Epoch(log_), What::kTail, SeqId(5), this, [&] {
    ++wakes;
    woken_.release();
  }));
  Move(SeqId(5), SeqId(0));
  Move(SeqId(6), SeqId(0));
  woken_.acquire();
  Move(SeqId(7), SeqId(0));
  pool_.Stop();
  EXPECT_EQ(wakes, 1);
}

TEST_F(WatchersTest, TailAndAppliedAreWaitedForApart) {
  std::atomic<int> wakes = 0;
  ASSERT_TRUE(watchers_.Wait(log_, watchers_.Epoch(log_), What::kApplied, SeqId(5), this,
                             [&] { ++wakes; }));
  Move(SeqId(100), SeqId(5));
  Move(SeqId(100), SeqId(6));
  pool_.Stop();
  EXPECT_EQ(wakes, 1);
}

TEST_F(WatchersTest, ADeletionWakesWhoeverWaits) {
  ASSERT_TRUE(watchers_.Wait(log_, watchers_.Epoch(log_), What::kApplied, SeqId(1'000), this,
                             [&] { woken_.release(); }));
  Move(SeqId(1), SeqId(0), /*deleted=*/true);
  woken_.acquire();
}

TEST_F(WatchersTest, WhoeverLookedBeforeTheLogMovedIsNotKeptWaiting) {
  const uint64_t epoch = watchers_.Epoch(log_);
  Move(SeqId(1), SeqId(0));
  EXPECT_FALSE(watchers_.Wait(log_, epoch, What::kTail, SeqId(0), this,
                              [] { ADD_FAILURE() << "not kept"; }));
  Move(SeqId(2), SeqId(0));
  pool_.Stop();
}

TEST_F(WatchersTest, AWaiterForgottenInTimeIsLetGo) {
  auto owned = std::make_shared<int>(0);
  ASSERT_TRUE(watchers_.Wait(log_, watchers_.Epoch(log_), What::kTail, SeqId(0), this,
                             [owned] { ADD_FAILURE() << "forgotten"; }));
  watchers_.Forget(log_, this);
  EXPECT_EQ(owned.use_count(), 1);
  Move(SeqId(1), SeqId(0));
  watchers_.Forget(log_, this);
  pool_.Stop();
}

// Readers that look, and wait for what comes, against an applier that moves the log again as soon
// as all have seen the last move: a wake that is lost leaves the test waiting.
TEST_F(WatchersTest, NoMoveIsMissedByReadersThatLookAndThenWait) {
  constexpr uint64_t kMoves = 300;
  constexpr int kReaders = 3;
  std::atomic<uint64_t> stored = 0;
  std::atomic<uint64_t> sightings = 0;
  std::vector<std::jthread> readers;
  for (int r = 0; r < kReaders; ++r) {
    readers.emplace_back([&] {
      std::binary_semaphore woken{0};
      for (uint64_t seen = 0; seen < kMoves;) {
        const uint64_t epoch = watchers_.Epoch(log_);
        if (stored > seen) {
          ++seen;
          ++sightings;
          sightings.notify_one();
        } else if (watchers_.Wait(log_, epoch, What::kTail, SeqId(seen), &woken,
                                  [&] { woken.release(); })) {
          woken.acquire();
        }
      }
    });
  }
  for (uint64_t tail = 1; tail <= kMoves; ++tail) {
    stored = tail;
    Move(SeqId(tail), SeqId(0));
    for (uint64_t n = sightings; n < tail * kReaders; n = sightings) sightings.wait(n);
  }
}

}  // namespace
}  // namespace sluice::log

#include "common/base/executor.h"

#include <gtest/gtest.h>

#include <latch>

namespace sluice {
namespace {

using Clock = std::chrono::steady_clock;

TEST(ExecutorTest, ALongQueueThatMovesIsNotStuck) {
  std::latch first_begun(1), end_first(1), second_begun(1), end_second(1);
  Executor executor(1);
  executor.Post([&] {
    first_begun.count_down();
    end_first.wait();
  });
  executor.Post([&] {
    second_begun.count_down();
    end_second.wait();
  });
  executor.Post([] {});
  first_begun.wait();
  while (executor.StuckFor() < std::chrono::milliseconds(20)) {
  }
  const Clock::time_point moved = Clock::now();
  end_first.count_down();
  second_begun.wait();
  // The third has waited for longer than anything was stuck.
  const auto stuck = executor.StuckFor();
  EXPECT_LE(stuck, Clock::now() - moved);
  end_second.count_down();
}

TEST(ExecutorTest, NothingIsStuckWhereNothingWaits) {
  Executor executor(1);
  EXPECT_EQ(executor.StuckFor(), Clock::duration::zero());
}

TEST(ExecutorTest, WhatIsOfferedRunsOnAThreadThatHasNothingToDoOrNotAtAll) {
  std::latch first_begun(1), second_begun(1), end(1);
  Executor executor(2);
  executor.Post([&] {
    first_begun.count_down();
    end.wait();
  });
  first_begun.wait();
  // The other thread may not have got there yet.
  while (!executor.Offer([&] {
    second_begun.count_down();
    end.wait();
  })) {
  }
  second_begun.wait();
  EXPECT_FALSE(executor.Offer([] { ADD_FAILURE(); }));
  EXPECT_FALSE(executor.HasWaiting());
  executor.Post([] {});
  EXPECT_TRUE(executor.HasWaiting());
  end.count_down();
}

TEST(ExecutorTest, WhatWasPostedIsRunThoughThreadsAreLent) {
  std::latch begun(1), end(1);
  Executor executor(1);
  while (!executor.Offer([&] {
    begun.count_down();
    end.wait();
  })) {
  }
  begun.wait();
  std::latch posted(1);
  executor.Post([&] { posted.count_down(); });
  EXPECT_FALSE(executor.Offer([] { ADD_FAILURE(); }));
  end.count_down();
  posted.wait();
}

}  // namespace
}  // namespace sluice

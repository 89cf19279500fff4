#include "services/frontend/executor.h"

#include <gtest/gtest.h>

#include <latch>

namespace sluice::frontend {
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

}  // namespace
}  // namespace sluice::frontend

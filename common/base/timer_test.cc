#include "common/base/timer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

namespace sluice {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

TEST(Timer, CallsInTheOrderOfTheirTimesWhateverTheOrderTheyCameIn) {
  Timer timer;
  std::vector<int> called;
  std::latch done(3);
  const auto call = [&](int which) {
    return [&, which] {
      called.push_back(which);
      done.count_down();
    };
  };
  const Timer::Clock::time_point soon = Timer::Clock::now() + milliseconds(20);
  timer.At(soon + milliseconds(2), call(3));
  timer.At(soon, call(1));
  timer.At(soon + milliseconds(1), call(2));
  done.wait();
  EXPECT_EQ(called, (std::vector<int>{1, 2, 3}));
}

TEST(Timer, ACallCancelledInTimeIsNeverMadeAndIsLetGoAtOnce) {
  Timer timer;
  auto owned = std::make_shared<int>(0);
  const Timer::Id id =
      timer.At(Timer::Clock::now() + hours(1), [owned] { ADD_FAILURE() << "cancelled"; });
  timer.Cancel(id);
  EXPECT_EQ(owned.use_count(), 1);
  timer.Cancel(id);
  timer.Cancel(Timer::Id());
}

TEST(Timer, ACallMayScheduleAndCancelOthers) {
  Timer timer;
  std::latch done(1);
  const Timer::Id other =
      timer.At(Timer::Clock::now() + hours(1), [] { ADD_FAILURE() << "cancelled"; });
  timer.At(Timer::Clock::now(), [&] {
    timer.Cancel(other);
    timer.At(Timer::Clock::now(), [&] { done.count_down(); });
  });
  done.wait();
}

TEST(Timer, TheDestructorDropsWhatHasNotCome) {
  auto owned = std::make_shared<int>(0);
  {
    Timer timer;
    timer.At(Timer::Clock::now() + hours(1), [owned] { ADD_FAILURE() << "not due yet"; });
  }
  EXPECT_EQ(owned.use_count(), 1);
}

TEST(Timer, FromManyThreadsEachCallIsMadeOnceUnlessCancelled) {
  constexpr int kThreads = 4;
  constexpr int kCalls = 500;
  std::atomic<int> called = 0;
  std::latch due(kThreads * kCalls);
  Timer timer;
  {
    std::vector<std::jthread> threads;
    threads.reserve(kThreads);
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < kCalls; ++i) {
          timer.At(Timer::Clock::now() + std::chrono::microseconds(i), [&] {
            ++called;
            due.count_down();
          });
          timer.Cancel(timer.At(Timer::Clock::now() + hours(1),
                                [] { ADD_FAILURE() << "cancelled in time"; }));
        }
      });
    }
  }
  due.wait();
  EXPECT_EQ(called, kThreads * kCalls);
}

}  // namespace
}  // namespace sluice

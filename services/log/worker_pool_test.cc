#include "services/log/worker_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "common/errors/errors.h"

namespace sluice::log {
namespace {

TEST(WorkerPool, OneThreadRunsTasksInTheOrderTheyCame) {
  std::vector<int> ran;
  WorkerPool pool(1, 100);
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(pool.Run([&ran, i] { ran.push_back(i); }));
  }
  pool.Stop();
  ASSERT_EQ(ran.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(ran[i], i);
}

TEST(WorkerPool, PastItsBoundACallIsRefusedAtOnceAndStreamsAreNot) {  // Invariant 9.
  std::latch began(1);
  std::latch go(1);
  std::atomic<int> ran = 0;
  WorkerPool pool(1, 2);
  ASSERT_TRUE(pool.Run([&] {
    began.count_down();
    go.wait();
  }));
  began.wait();
  EXPECT_TRUE(pool.TryRun([&] { ++ran; }).ok());
  EXPECT_TRUE(pool.TryRun([&] { ++ran; }).ok());
  const absl::Status refused = pool.TryRun([] { ADD_FAILURE() << "refused, and run"; });
  EXPECT_EQ(ReasonOf(refused), Reason::OVERLOADED);
  EXPECT_TRUE(pool.Run([&] { ++ran; }));
  go.count_down();
  pool.Stop();
  EXPECT_EQ(ran, 3);
}

TEST(WorkerPool, StopRunsWhatIsQueuedAndRefusesWhatComesAfter) {
  auto owned = std::make_shared<int>(0);
  std::latch began(1);
  std::latch go(1);
  std::atomic<int> ran = 0;
  WorkerPool pool(1, 10);
  ASSERT_TRUE(pool.Run([&] {
    began.count_down();
    go.wait();
  }));
  began.wait();
  ASSERT_TRUE(pool.Run([&] { ++ran; }));
  go.count_down();
  pool.Stop();
  EXPECT_EQ(ran, 1);

  EXPECT_EQ(ReasonOf(pool.TryRun([owned] { ADD_FAILURE() << "stopped"; })), Reason::DRAINING);
  EXPECT_FALSE(pool.Run([owned] { ADD_FAILURE() << "stopped"; }));
  std::vector<WorkerPool::Task> tasks;
  tasks.emplace_back([owned] { ADD_FAILURE() << "stopped"; });
  pool.RunAll(std::move(tasks));
  EXPECT_EQ(owned.use_count(), 1);
}

TEST(WorkerPool, FromManyThreadsEachTaskThatWasAcceptedIsRunOnce) {
  constexpr int kThreads = 4;
  constexpr int kTasks = 1'000;
  std::atomic<int> accepted = 0;
  std::atomic<int> ran = 0;
  WorkerPool pool(3, 16);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < kTasks; ++i) {
          if (pool.TryRun([&] { ++ran; }).ok()) ++accepted;
        }
      });
    }
  }
  pool.Stop();
  EXPECT_EQ(ran, accepted);
}

}  // namespace
}  // namespace sluice::log

#include "common/base/share.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>
#include <vector>

namespace sluice {
namespace {

TEST(ShareTest, EachPartIsDoneOnceWhoeverTakesPart) {
  for (const size_t threads : {0, 1, 3}) {
    Executor helpers(threads);
    for (size_t parts = 0; parts < 50; ++parts) {
      std::vector<std::atomic<int>> done(parts);
      Share(parts, threads == 0 ? nullptr : &helpers, [&](size_t i) { ++done[i]; });
      for (const auto& times : done) EXPECT_EQ(times, 1);
    }
  }
}

TEST(ShareTest, ThreadsThatHaveNothingToDoTakePart) {
  constexpr size_t kThreads = 3;
  Executor helpers(kThreads);
  std::atomic<bool> all_took_part = false;
  // Until all are at rest, which they are not at once.
  while (!all_took_part) {
    std::atomic<size_t> at_once = 0;
    Share(kThreads + 1, &helpers, [&](size_t) {
      if (++at_once == kThreads + 1) all_took_part = true;
      for (int i = 0; i < 1'000 && !all_took_part; ++i) std::this_thread::yield();
      --at_once;
    });
  }
}

TEST(ShareTest, GoesOnWithoutThreadsThatAreBusyAndOnOneOfThem) {
  std::latch begun(1), end(1);
  Executor helpers(2);
  helpers.Post([&] {
    begun.count_down();
    end.wait();
  });
  begun.wait();
  std::latch shared(1);
  helpers.Post([&] {
    int done = 0;
    Share(10, &helpers, [&](size_t) { ++done; });
    EXPECT_EQ(done, 10);
    shared.count_down();
  });
  shared.wait();
  end.count_down();
}

}  // namespace
}  // namespace sluice

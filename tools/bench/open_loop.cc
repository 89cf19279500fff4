#include "tools/bench/open_loop.h"

#include <sys/prctl.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;

class Slots {
 public:
  explicit Slots(size_t count) : count_(count) {
    for (size_t slot = 0; slot < count; ++slot) free_.push_back(slot);
  }
  size_t Take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !free_.empty(); });
    const size_t slot = free_.back();
    free_.pop_back();
    return slot;
  }
  void GiveBack(size_t slot) {
    const std::lock_guard lock(mutex_);
    free_.push_back(slot);
    changed_.notify_all();
  }
  void AwaitAll() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return free_.size() == count_; });
  }

 private:
  const size_t count_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<size_t> free_;
};

}  // namespace

LoadResult RunOpenLoop(const OpenLoop& loop, const StartCall& start) {
  // Sleeps end when they should, not up to 50 us later.
  prctl(PR_SET_TIMERSLACK, 1);
  Slots slots(loop.most_in_flight);
  std::mutex mutex;
  LoadResult result;
  result.seconds = std::chrono::duration<double>(loop.measured).count();
  const Clock::time_point began = Clock::now();
  const Clock::time_point from = began + loop.warm_up;
  const Clock::time_point until = from + loop.measured;
  const std::chrono::duration<double> interval(1 / loop.calls_per_second);
  for (size_t call = 0;; ++call) {
    const Clock::time_point intended =
        began + std::chrono::duration_cast<Clock::duration>(interval * static_cast<double>(call));
    if (intended >= until) break;
    std::this_thread::sleep_until(intended);
    const size_t slot = slots.Take();
    start(slot, [&, slot, intended](bool ok) {
      const Clock::time_point now = Clock::now();
      {
        const std::lock_guard lock(mutex);
        if (!ok) {
          ++result.failures;
        } else if (intended >= from) {
          result.latencies_us.push_back(
              std::chrono::duration<double, std::micro>(now - intended).count());
        }
      }
      slots.GiveBack(slot);
    });
  }
  slots.AwaitAll();
  std::sort(result.latencies_us.begin(), result.latencies_us.end());
  return result;
}

}  // namespace sluice::bench

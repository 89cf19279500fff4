#include "tools/bench/load.h"

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;

class ClosedLoop {
 public:
  ClosedLoop(const StartCall& start, Clock::time_point from, Clock::time_point until)
      : start_(start), from_(from), until_(until) {}

  void Run(size_t in_flight) {
    {
      std::lock_guard lock(mutex_);
      running_ = in_flight;
    }
    for (size_t slot = 0; slot < in_flight; ++slot) Start(slot);
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [&] { return running_ == 0; });
  }

  LoadResult Take() {
    LoadResult result;
    result.seconds = std::chrono::duration<double>(until_ - from_).count();
    result.latencies_us = std::move(latencies_us_);
    result.failures = failures_;
    std::sort(result.latencies_us.begin(), result.latencies_us.end());
    return result;
  }

 private:
  void Start(size_t slot) {
    const Clock::time_point began = Clock::now();
    start_(slot, [this, slot, began](bool ok) { Done(slot, began, ok); });
  }

  void Done(size_t slot, Clock::time_point began, bool ok) {
    const Clock::time_point now = Clock::now();
    bool go_on = false;
    {
      std::lock_guard lock(mutex_);
      if (!ok) {
        ++failures_;
      } else if (now >= from_ && now < until_) {
        latencies_us_.push_back(std::chrono::duration<double, std::micro>(now - began).count());
      }
      go_on = ok && now < until_;
      if (!go_on && --running_ == 0) idle_.notify_all();
    }
    if (go_on) Start(slot);
  }

  const StartCall& start_;
  const Clock::time_point from_;
  const Clock::time_point until_;
  std::mutex mutex_;
  std::condition_variable idle_;
  size_t running_ = 0;
  size_t failures_ = 0;
  std::vector<double> latencies_us_;
};

}  // namespace

double LoadResult::latency_us(double share) const {
  if (latencies_us.empty()) return 0;
  return latencies_us[static_cast<size_t>(share * static_cast<double>(latencies_us.size() - 1))];
}

LoadResult RunClosedLoop(size_t in_flight, std::chrono::milliseconds warm_up,
                         std::chrono::milliseconds measured, const StartCall& start) {
  const Clock::time_point from = Clock::now() + warm_up;
  ClosedLoop loop(start, from, from + measured);
  loop.Run(in_flight);
  return loop.Take();
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace sluice::bench

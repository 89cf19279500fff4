#include "common/base/timer.h"

namespace sluice {

Timer::Timer() : thread_([this] { Turn(); }) {}

Timer::~Timer() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  wakes_.notify_one();
  thread_.join();
}

Timer::Id Timer::At(Clock::time_point when, absl::AnyInvocable<void()> call) {
  MutexLock lock(mutex_);
  const Id id{when, ++last_number_};
  const auto it = calls_.emplace(id, std::move(call)).first;
  if (it == calls_.begin()) wakes_.notify_one();
  return id;
}

void Timer::Cancel(const Id& id) {
  // Destroyed after the lock is given back: it may own much.
  absl::AnyInvocable<void()> dropped;
  MutexLock lock(mutex_);
  const auto it = calls_.find(id);
  if (it == calls_.end()) return;
  dropped = std::move(it->second);
  calls_.erase(it);
}

void Timer::Turn() {
  for (;;) {
    absl::AnyInvocable<void()> call;
    {
      MutexLock lock(mutex_);
      for (;;) {
        if (stopping_) return;
        if (calls_.empty()) {
          wakes_.wait(mutex_);
        } else if (const auto when = calls_.begin()->first.when; when > Clock::now()) {
          wakes_.wait_until(mutex_, when);
        } else {
          break;
        }
      }
      call = std::move(calls_.begin()->second);
      calls_.erase(calls_.begin());
    }
    call();
  }
}

}  // namespace sluice

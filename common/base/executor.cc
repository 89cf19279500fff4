#include "common/base/executor.h"

#include <algorithm>
#include <utility>

namespace sluice {

Executor::Executor(size_t threads) {
  threads_.reserve(threads);
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

Executor::~Executor() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
}

void Executor::Post(Task task) {
  // Held to the end: the task may be what the end of this waits for.
  const MutexLock lock(mutex_);
  queue_.push_back({std::move(task), std::chrono::steady_clock::now()});
  changed_.notify_one();
}

bool Executor::Offer(Task task) {
  {
    MutexLock lock(mutex_);
    if (queue_.size() >= idle_) return false;
    queue_.push_back({std::move(task), std::chrono::steady_clock::now()});
  }
  changed_.notify_one();
  return true;
}

bool Executor::HasWaiting() const {
  MutexLock lock(mutex_);
  return queue_.size() > idle_;
}

std::chrono::steady_clock::duration Executor::StuckFor() const {
  MutexLock lock(mutex_);
  if (queue_.empty()) return {};
  return std::chrono::steady_clock::now() - std::max(queue_.front().since, begun_);
}

void Executor::Work() {
  for (;;) {
    Task task;
    {
      MutexLock lock(mutex_);
      ++idle_;
      while (queue_.empty() && !stopping_) changed_.wait(mutex_);
      --idle_;
      if (queue_.empty()) return;
      task = std::move(queue_.front().task);
      queue_.pop_front();
      begun_ = std::chrono::steady_clock::now();
    }
    task();
  }
}

}  // namespace sluice

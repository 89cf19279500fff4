#include "services/frontend/executor.h"

#include <algorithm>
#include <utility>

namespace sluice::frontend {

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
  {
    MutexLock lock(mutex_);
    queue_.push_back({std::move(task), std::chrono::steady_clock::now()});
  }
  changed_.notify_one();
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
      while (queue_.empty() && !stopping_) changed_.wait(mutex_);
      if (queue_.empty()) return;
      task = std::move(queue_.front().task);
      queue_.pop_front();
      begun_ = std::chrono::steady_clock::now();
    }
    task();
  }
}

}  // namespace sluice::frontend

#include "services/log/worker_pool.h"

#include <chrono>
#include <iterator>
#include <utility>

#include "common/errors/errors.h"

namespace sluice::log {

WorkerPool::WorkerPool(size_t threads, size_t max_waiting) : max_waiting_(max_waiting) {
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

WorkerPool::~WorkerPool() { Stop(); }

absl::Status WorkerPool::TryRun(Task task) {
  {
    MutexLock lock(mutex_);
    if (stopped_) return MakeError(Reason::DRAINING, "the log is stopping");
    if (queue_.size() >= max_waiting_) {
      return MakeRetryableError(Reason::OVERLOADED, "too many calls wait for a thread",
                                std::chrono::milliseconds(100));
    }
    queue_.push_back(std::move(task));
  }
  wakes_.notify_one();
  return absl::OkStatus();
}

bool WorkerPool::Run(Task task) {
  {
    MutexLock lock(mutex_);
    if (stopped_) return false;
    queue_.push_back(std::move(task));
  }
  wakes_.notify_one();
  return true;
}

void WorkerPool::RunAll(std::vector<Task> tasks) {
  {
    MutexLock lock(mutex_);
    if (stopped_) return;
    std::move(tasks.begin(), tasks.end(), std::back_inserter(queue_));
  }
  if (tasks.size() == 1) return wakes_.notify_one();
  wakes_.notify_all();
}

void WorkerPool::AwaitIdle(std::chrono::steady_clock::time_point deadline) {
  MutexLock lock(mutex_);
  idle_.wait_until(mutex_, deadline,
                   [this]() REQUIRES(mutex_) { return queue_.empty() && running_ == 0; });
}

void WorkerPool::Stop() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
  }
  wakes_.notify_all();
  threads_.clear();
}

void WorkerPool::Work() {
  for (;;) {
    Task task;
    {
      MutexLock lock(mutex_);
      wakes_.wait(mutex_, [this]() REQUIRES(mutex_) { return stopped_ || !queue_.empty(); });
      if (queue_.empty()) return;
      task = std::move(queue_.front());
      queue_.pop_front();
      ++running_;
    }
    task();
    task = nullptr;
    MutexLock lock(mutex_);
    if (--running_ == 0 && queue_.empty()) idle_.notify_all();
  }
}

}  // namespace sluice::log

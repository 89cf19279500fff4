// A fixed number of threads that run tasks in the order posted: for what may block or takes long,
// away from gRPC's threads. Those that have nothing to do may be lent to a task that has much
// (Offer).
//
// Thread-safe. The queue has no bound of its own: whoever posts bounds what it posts. Tasks must
// not throw. The destructor runs what is queued, then joins.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "common/base/mutex.h"

namespace sluice {

class Executor {
 public:
  using Task = absl::AnyInvocable<void()>;

  explicit Executor(size_t threads);
  ~Executor();

  void Post(Task task) EXCLUDES(mutex_);
  // Runs `task` at once, on a thread that has nothing to do. False: there is none, and the task is
  // not run. So what is offered never waits behind other tasks.
  bool Offer(Task task) EXCLUDES(mutex_);
  // Whether tasks wait for which no thread is free. A task that was offered asks now and then, and
  // ends early for them, unless its work must be done in any case.
  bool HasWaiting() const EXCLUDES(mutex_);
  // How long tasks have waited without any being begun; zero if none waits. A long queue that moves
  // is not stuck.
  std::chrono::steady_clock::duration StuckFor() const EXCLUDES(mutex_);

 private:
  struct Queued {
    Task task;
    std::chrono::steady_clock::time_point since;
  };

  void Work() EXCLUDES(mutex_);

  mutable Mutex mutex_;
  CondVar changed_;
  std::deque<Queued> queue_ GUARDED_BY(mutex_);
  // Threads that wait for a task; each takes one of those that are queued.
  size_t idle_ GUARDED_BY(mutex_) = 0;
  // When a task was last taken from the queue.
  std::chrono::steady_clock::time_point begun_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<std::jthread> threads_;
};

}  // namespace sluice

// A fixed number of threads that run tasks in the order posted: where reads do what may block or
// takes long (opening segments, searching), away from gRPC's threads.
//
// Thread-safe. The queue has no bound of its own: each task stands for a read that was admitted
// (frontend_service.h), and those are bounded. Tasks must not throw. The destructor runs what is
// queued, then joins.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "common/base/mutex.h"

namespace sluice::frontend {

class Executor {
 public:
  using Task = absl::AnyInvocable<void()>;

  explicit Executor(size_t threads);
  ~Executor();

  void Post(Task task) EXCLUDES(mutex_);
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
  // When a task was last taken from the queue.
  std::chrono::steady_clock::time_point begun_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<std::jthread> threads_;
};

}  // namespace sluice::frontend

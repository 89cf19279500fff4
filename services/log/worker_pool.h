// A few threads for work that may block: reads of the store, and sequences of commands. gRPC's
// threads and the shard's applier only hand work over.
//
// Thread-safe. Tasks run in the order they came, `threads` at a time. Stop runs what is queued.
#pragma once

#include <chrono>
#include <deque>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "common/base/mutex.h"

namespace sluice::log {

class WorkerPool {
 public:
  using Task = absl::AnyInvocable<void()>;

  // `max_waiting` bounds the calls that wait for a thread.
  WorkerPool(size_t threads, size_t max_waiting);
  ~WorkerPool();

  // For the work of one call. OVERLOADED if too much waits already; DRAINING after Stop. Nothing is
  // run then.
  absl::Status TryRun(Task task);
  // For work that is bounded elsewhere: streams, of which each has at most one task at a time.
  // False, and nothing is run, after Stop.
  bool Run(Task task);
  void RunAll(std::vector<Task> tasks);

  // Returns once nothing is queued or running, or at `deadline`.
  void AwaitIdle(std::chrono::steady_clock::time_point deadline);
  // Runs what is queued, then ends the threads.
  void Stop();

 private:
  void Work();

  const size_t max_waiting_;
  Mutex mutex_;
  CondVar wakes_;
  CondVar idle_;
  std::deque<Task> queue_ GUARDED_BY(mutex_);
  size_t running_ GUARDED_BY(mutex_) = 0;
  bool stopped_ GUARDED_BY(mutex_) = false;
  std::vector<std::jthread> threads_;
};

}  // namespace sluice::log

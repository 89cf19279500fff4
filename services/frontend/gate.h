// Counts the calls that are not answered yet, and says whether new ones are taken. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>

#include "absl/status/status.h"
#include "common/base/mutex.h"
#include "common/errors/errors.h"

namespace sluice::frontend {

class Gate {
 public:
  void Close() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    closed_ = true;
  }

  // DRAINING once the gate is closed. Each Enter is followed by a Leave, also if it said so.
  absl::Status Enter() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    ++inside_;
    return closed_ ? MakeError(Reason::DRAINING, "the frontend is stopping") : absl::OkStatus();
  }
  void Leave() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (--inside_ == 0) empty_.notify_all();
  }
  // Until `deadline` at most.
  void WaitUntilEmpty(std::chrono::steady_clock::time_point deadline) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (inside_ > 0 && empty_.wait_until(mutex_, deadline) == std::cv_status::no_timeout) {
    }
  }

 private:
  Mutex mutex_;
  CondVar empty_;
  bool closed_ GUARDED_BY(mutex_) = false;
  uint64_t inside_ GUARDED_BY(mutex_) = 0;
};

}  // namespace sluice::frontend

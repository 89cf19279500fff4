// Calls functions at given times, from one thread of its own: heartbeats, and the ends of waits.
//
// Thread-safe. Functions must be short and must not block. The destructor drops what has not come.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <thread>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "common/base/mutex.h"

namespace sluice {

class Timer {
 public:
  using Clock = std::chrono::steady_clock;
  // Names a call to come; the default names none.
  struct Id {
    Clock::time_point when;
    uint64_t number = 0;
    friend auto operator<=>(const Id&, const Id&) = default;
  };

  Timer();
  ~Timer();

  Id At(Clock::time_point when, absl::AnyInvocable<void()> call);
  // The call may be running, or have run. Does not wait for it.
  void Cancel(const Id& id);

 private:
  void Turn();

  Mutex mutex_;
  CondVar wakes_;
  std::map<Id, absl::AnyInvocable<void()>> calls_ GUARDED_BY(mutex_);
  uint64_t last_number_ GUARDED_BY(mutex_) = 0;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace sluice

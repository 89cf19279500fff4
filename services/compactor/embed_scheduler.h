// One embedder of the compactor: texts of all jobs go in, batches go out, several at once
// (embed_queue.h says which and when), and each job gets its own results back.
//
// Thread-safe. Nothing of it may be used when it is destroyed; calls that run are cancelled then.
// It holds a copy of each text handed over; jobs bound how many they hand over at once.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "common/base/mutex.h"
#include "common/embed/embedder.h"
#include "services/compactor/embed_queue.h"
#include "services/compactor/metrics.h"

namespace sluice::compactor {

class EmbedScheduler {
 public:
  EmbedScheduler(std::string name, std::unique_ptr<embed::Embedder> embedder,
                 std::chrono::milliseconds patience, prometheus::Registry& registry);
  ~EmbedScheduler();

  // Texts handed over; given up at the end of the scope. One thread; the scheduler outlives it.
  class Pending {
   public:
    ~Pending();
    Pending(const Pending&) = delete;
    Pending& operator=(const Pending&) = delete;
    // Once. Asks `proceed` now and then whether to go on waiting, and returns its error if not.
    EmbedResult Wait(absl::FunctionRef<absl::Status()> proceed);

   private:
    friend class EmbedScheduler;
    Pending(EmbedScheduler& scheduler, Ticket ticket) : scheduler_(scheduler), ticket_(ticket) {}
    EmbedScheduler& scheduler_;
    const Ticket ticket_;
  };

  std::unique_ptr<Pending> Submit(EmbedWork work) EXCLUDES(mutex_);
  // EMBEDDER_UNAVAILABLE while work would fail at once.
  absl::Status Check() const EXCLUDES(mutex_);
  // How long no call has succeeded, in spite of failures.
  std::chrono::milliseconds TroubleFor() const EXCLUDES(mutex_);

 private:
  void SendLoop(const std::stop_token& stop) EXCLUDES(mutex_);
  void Answered(uint64_t number, embed::Answer answer) EXCLUDES(mutex_);
  // After each change of the queue.
  void Note() REQUIRES(mutex_);

  EmbedderMetrics metrics_;
  mutable Mutex mutex_;
  CondVar work_;
  CondVar finished_;
  EmbedQueue queue_ GUARDED_BY(mutex_);
  embed::Limits limits_ GUARDED_BY(mutex_);
  std::map<Ticket, EmbedResult> results_ GUARDED_BY(mutex_);
  // Since when calls are under way without a break.
  std::optional<EmbedQueue::Time> busy_since_ GUARDED_BY(mutex_);
  // Its end runs the last answers, so it goes before what they touch.
  std::unique_ptr<embed::Embedder> embedder_;
  std::jthread sender_;
};

// By name.
using EmbedSchedulers = std::map<std::string, std::unique_ptr<EmbedScheduler>, std::less<>>;

}  // namespace sluice::compactor

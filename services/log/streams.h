// Streams of messages to one caller each: subscriptions and views. A stream takes one step at a
// time, on the pool: write a message, wait for the log to move, or finish. It holds at most the
// message that is on its way, so a slow consumer costs that much and delays nobody.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <variant>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/base/mutex.h"
#include "services/log/timer.h"
#include "services/log/watchers.h"
#include "services/log/worker_pool.h"

namespace sluice::log {

class Stream;

// The streams of a node. Thread-safe.
class Streams {
 public:
  explicit Streams(size_t max) : max_(max) {}

  // OVERLOADED beyond `max`; DRAINING.
  absl::Status Add(Stream* stream);
  void Remove(Stream* stream);
  size_t count() const;

  // Tells every stream to end.
  void BeginDrain();
  // Waits until all have ended. Those whose consumers do not read stay until the gRPC server
  // cancels them.
  void AwaitEnd(std::chrono::steady_clock::time_point deadline);

 private:
  const size_t max_;
  mutable Mutex mutex_;
  CondVar changed_;
  absl::flat_hash_set<Stream*> streams_ GUARDED_BY(mutex_);
  bool draining_ GUARDED_BY(mutex_) = false;
};

// One stream. It owns itself from Begin until gRPC is done with it.
class Stream : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
               public std::enable_shared_from_this<Stream> {
 public:
  ~Stream() override = default;

  // Of a stream held by a shared_ptr; once, before the method's handler returns.
  void Begin();

  void BeginDrain();

  void OnWriteDone(bool ok) final;
  void OnCancel() final;
  void OnDone() final;

 protected:
  struct Parts {
    WorkerPool& pool;
    Timer& timer;
    Watchers& watchers;
    Streams& streams;
  };
  Stream(grpc::CallbackServerContext* context, const Parts& parts)
      : context_(context), parts_(parts) {}

  struct Write {
    grpc::ByteBuffer message;
  };
  struct Wait {
    CollectionId collection;
    // Taken before the step looked at the store.
    uint64_t epoch = 0;
    Watchers::What what = Watchers::What::kTail;
    SeqId beyond;
    // Take a step at this time in any case.
    std::optional<Timer::Clock::time_point> until;
  };
  struct Ended {
    absl::Status status;
  };
  using Action = std::variant<Write, Wait, Ended>;

  // What to do next. On a thread of the pool, one at a time, never while a message is on its way.
  virtual Action Step() = 0;

  bool draining() const { return draining_.load(std::memory_order_acquire); }

 private:
  enum class State { kRunning, kWriting, kWaiting, kFinished };

  void Schedule();
  void Run();
  // False: something happened meanwhile; take another step.
  bool StartWaiting(const Wait& wait);
  void SetTimer() REQUIRES(mutex_);
  void OnTimer();
  void OnMoved();
  // Ends a wait. True: the caller is to see to the next step.
  bool StopWaiting() REQUIRES(mutex_);
  void EndWith(const absl::Status& status);

  grpc::CallbackServerContext* const context_;
  const Parts parts_;
  std::shared_ptr<Stream> alive_;
  std::atomic<bool> draining_ = false;
  grpc::ByteBuffer message_;

  Mutex mutex_;
  State state_ GUARDED_BY(mutex_) = State::kRunning;
  bool cancelled_ GUARDED_BY(mutex_) = false;
  // A drain that the last step did not know of.
  bool drain_news_ GUARDED_BY(mutex_) = false;
  CollectionId waits_on_ GUARDED_BY(mutex_);
  std::optional<Timer::Clock::time_point> step_at_ GUARDED_BY(mutex_);
  std::optional<Timer::Id> timer_id_ GUARDED_BY(mutex_);
};

// What a method's handler returns: the stream, begun; or one that ends with the error at once.
grpc::ServerWriteReactor<grpc::ByteBuffer>* BeginOrRefuse(
    const absl::StatusOr<std::shared_ptr<Stream>>& stream, grpc::CallbackServerContext* context);

}  // namespace sluice::log

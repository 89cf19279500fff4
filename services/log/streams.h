// The streams of a node; and streams of messages to one caller each, which subscriptions and views
// are (pushes on a stream: push_stream.h). Such a stream takes one step at a time, on the pool:
// write a message, wait for the log to move, or finish. Where more is known to follow, the next
// message is made while one is on its way. So a stream holds two messages at most; a slow consumer
// costs that much and delays nobody.
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
#include "common/base/timer.h"
#include "services/log/watchers.h"
#include "services/log/worker_pool.h"

namespace sluice::log {

// A call that goes on until it is told to end, as Streams knows it.
class OpenStream : public std::enable_shared_from_this<OpenStream> {
 public:
  virtual ~OpenStream() = default;
  // The node is about to stop: end soon.
  virtual void BeginDrain() = 0;
};

// The streams of a node. Thread-safe.
class Streams {
 public:
  // At most `max` streams. Together their messages hold about `max_held_bytes`; see MessageBytes.
  Streams(size_t max, uint64_t max_held_bytes) : max_(max), max_held_bytes_(max_held_bytes) {}

  // OVERLOADED beyond `max`; DRAINING.
  absl::Status Add(OpenStream* stream);
  void Remove(OpenStream* stream);
  size_t count() const;

  // How large a message may be made at the moment: less where many consumers do not read theirs. So
  // they all together hold little more than the limit.
  size_t MessageBytes() const;
  // Whether a message may be made while another one is on its way.
  bool MayWorkAhead() const { return held_bytes() < max_held_bytes_ / 2; }
  // Of messages that were made and did not leave yet.
  uint64_t held_bytes() const { return held_bytes_.load(std::memory_order_relaxed); }
  void Hold(size_t bytes) { held_bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  void LetGo(size_t bytes) { held_bytes_.fetch_sub(bytes, std::memory_order_relaxed); }

  // Tells every stream to end.
  void BeginDrain();
  // Waits until all have ended. Those whose consumers do not read stay until the gRPC server
  // cancels them.
  void AwaitEnd(std::chrono::steady_clock::time_point deadline);

 private:
  const size_t max_;
  const uint64_t max_held_bytes_;
  std::atomic<uint64_t> held_bytes_ = 0;
  mutable Mutex mutex_;
  CondVar changed_;
  absl::flat_hash_set<OpenStream*> streams_ GUARDED_BY(mutex_);
  bool draining_ GUARDED_BY(mutex_) = false;
};

// One stream. It owns itself from Begin until gRPC is done with it.
class Stream : public grpc::ServerWriteReactor<grpc::ByteBuffer>, public OpenStream {
 public:
  ~Stream() override;

  // Of a stream held by a shared_ptr; once, before the method's handler returns.
  void Begin();

  void BeginDrain() final;

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
    // There is more to send: the next step is taken while this is on its way.
    bool more = false;
    // Nothing follows, not even an error: the call ends with this, in one write.
    bool last = false;
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

  // What to do next. On a thread of the pool, one at a time.
  virtual Action Step() = 0;

  bool draining() const { return draining_.load(std::memory_order_acquire); }

 private:
  // Whether a step is being taken, or is to be; whether one is waited for.
  enum class State { kRunning, kIdle, kWaiting, kFinished };

  std::shared_ptr<Stream> self() { return std::static_pointer_cast<Stream>(shared_from_this()); }

  void Schedule();
  void Run();
  // Does what a step said, or leaves it for when nothing is on its way any more. True: take the
  // next step.
  bool Do(Action action);
  void Send(Write write);
  void BeginWriting(const Write& write) REQUIRES(mutex_);
  // False: something happened meanwhile; take another step.
  bool StartWaiting(const Wait& wait);
  void SetTimer() REQUIRES(mutex_);
  void OnTimer();
  void OnMoved();
  // Ends a wait. True: the caller is to see to the next step.
  bool StopWaiting() REQUIRES(mutex_);
  // No step is taken any more.
  void CloseLocked() REQUIRES(mutex_);
  void EndWith(const absl::Status& status);

  grpc::CallbackServerContext* const context_;
  const Parts parts_;
  std::shared_ptr<Stream> alive_;
  std::atomic<bool> draining_ = false;
  grpc::ByteBuffer message_;

  Mutex mutex_;
  State state_ GUARDED_BY(mutex_) = State::kRunning;
  // A message is on its way; and what is to be done after it.
  bool writing_ GUARDED_BY(mutex_) = false;
  std::optional<Action> ahead_ GUARDED_BY(mutex_);
  // Of the one on its way, and of both, as the node counts them.
  size_t writing_bytes_ GUARDED_BY(mutex_) = 0;
  size_t held_bytes_ GUARDED_BY(mutex_) = 0;
  bool cancelled_ GUARDED_BY(mutex_) = false;
  // A drain that the last step did not know of.
  bool drain_news_ GUARDED_BY(mutex_) = false;
  CollectionId waits_on_ GUARDED_BY(mutex_);
  std::optional<Timer::Clock::time_point> step_at_ GUARDED_BY(mutex_);
  std::optional<Timer::Id> timer_id_ GUARDED_BY(mutex_);
};

// What a method's handler returns for a call that is refused: ends it with the error at once.
template <class Reactor>
class RefusedStream final : public Reactor {
 public:
  explicit RefusedStream(const grpc::Status& error) { this->Finish(error); }
  void OnDone() override { delete this; }
};

// What a method's handler returns: the stream, begun; or one that ends with the error at once.
grpc::ServerWriteReactor<grpc::ByteBuffer>* BeginOrRefuse(
    const absl::StatusOr<std::shared_ptr<Stream>>& stream, grpc::CallbackServerContext* context);

}  // namespace sluice::log

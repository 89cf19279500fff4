#include "services/log/streams.h"

#include <utility>
#include <vector>

#include "common/errors/errors.h"

namespace sluice::log {
namespace {

class Refusal final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  explicit Refusal(const grpc::Status& error) { Finish(error); }
  void OnDone() override { delete this; }
};

}  // namespace

absl::Status Streams::Add(Stream* stream) {
  MutexLock lock(mutex_);
  if (draining_) return MakeError(Reason::DRAINING, "the log is stopping");
  if (streams_.size() >= max_) {
    return MakeRetryableError(Reason::OVERLOADED, "too many streams are open",
                              std::chrono::seconds(1));
  }
  streams_.insert(stream);
  return absl::OkStatus();
}

void Streams::Remove(Stream* stream) {
  MutexLock lock(mutex_);
  streams_.erase(stream);
  changed_.notify_all();
}

size_t Streams::count() const {
  MutexLock lock(mutex_);
  return streams_.size();
}

void Streams::BeginDrain() {
  std::vector<std::shared_ptr<Stream>> open;
  {
    MutexLock lock(mutex_);
    draining_ = true;
    for (Stream* stream : streams_) open.push_back(stream->shared_from_this());
  }
  for (const auto& stream : open) stream->BeginDrain();
}

void Streams::AwaitEnd(std::chrono::steady_clock::time_point deadline) {
  MutexLock lock(mutex_);
  changed_.wait_until(mutex_, deadline, [this] { return streams_.empty(); });
}

void Stream::Begin() {
  alive_ = shared_from_this();
  if (const absl::Status added = parts_.streams.Add(this); !added.ok()) return EndWith(added);
  Schedule();
}

void Stream::BeginDrain() {
  draining_.store(true, std::memory_order_release);
  {
    MutexLock lock(mutex_);
    drain_news_ = true;
    if (!StopWaiting()) return;
  }
  Schedule();
}

void Stream::OnWriteDone(bool ok) {
  if (!ok) return EndWith(absl::CancelledError("the caller is gone"));
  {
    MutexLock lock(mutex_);
    state_ = State::kRunning;
  }
  Schedule();
}

void Stream::OnCancel() {
  {
    MutexLock lock(mutex_);
    cancelled_ = true;
    // While a message is on its way, OnWriteDone(false) follows.
    if (!StopWaiting()) return;
  }
  EndWith(absl::CancelledError("cancelled by the caller"));
}

void Stream::OnDone() {
  parts_.streams.Remove(this);
  alive_.reset();
}

void Stream::Schedule() {
  if (!parts_.pool.Run([stream = shared_from_this()] { stream->Run(); })) {
    EndWith(MakeError(Reason::DRAINING, "the log is stopping"));
  }
}

void Stream::Run() {
  for (;;) {
    bool cancelled = false;
    {
      MutexLock lock(mutex_);
      drain_news_ = false;
      cancelled = cancelled_;
    }
    if (cancelled) return EndWith(absl::CancelledError("cancelled by the caller"));

    Action action = Step();
    if (auto* write = std::get_if<Write>(&action)) {
      {
        MutexLock lock(mutex_);
        state_ = State::kWriting;
      }
      message_.Swap(&write->message);
      StartWrite(&message_);
      return;
    }
    if (const auto* ended = std::get_if<Ended>(&action)) return EndWith(ended->status);
    if (StartWaiting(std::get<Wait>(action))) return;
  }
}

bool Stream::StartWaiting(const Wait& wait) {
  MutexLock lock(mutex_);
  if (cancelled_ || drain_news_) return false;
  if (!parts_.watchers.Wait(wait.collection, wait.epoch, wait.what, wait.beyond, this,
                            [stream = shared_from_this()] { stream->OnMoved(); })) {
    return false;
  }
  state_ = State::kWaiting;
  waits_on_ = wait.collection;
  step_at_ = wait.until;
  SetTimer();
  return true;
}

// A timer once set is left alone until it fires: a busy stream would set and cancel one for every
// message.
void Stream::SetTimer() {
  if (!step_at_ || (timer_id_ && timer_id_->when <= *step_at_)) return;
  if (timer_id_) parts_.timer.Cancel(*timer_id_);
  timer_id_ = parts_.timer.At(*step_at_, [weak = weak_from_this()] {
    if (const auto stream = weak.lock()) stream->OnTimer();
  });
}

void Stream::OnTimer() {
  {
    MutexLock lock(mutex_);
    timer_id_.reset();
    if (state_ != State::kWaiting) return;
    if (step_at_ && Timer::Clock::now() < *step_at_) return SetTimer();
    StopWaiting();
  }
  Schedule();
}

void Stream::OnMoved() {
  {
    MutexLock lock(mutex_);
    if (!StopWaiting()) return;
  }
  Run();
}

bool Stream::StopWaiting() {
  if (state_ != State::kWaiting) return false;
  state_ = State::kRunning;
  parts_.watchers.Forget(waits_on_, this);
  return true;
}

void Stream::EndWith(const absl::Status& status) {
  {
    MutexLock lock(mutex_);
    state_ = State::kFinished;
    if (timer_id_) parts_.timer.Cancel(*timer_id_);
    timer_id_.reset();
  }
  // gRPC may be done with the stream, and destroy it, before Finish has returned.
  const auto stream = shared_from_this();
  Finish(ToGrpc(status, context_));
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* BeginOrRefuse(
    const absl::StatusOr<std::shared_ptr<Stream>>& stream, grpc::CallbackServerContext* context) {
  if (!stream.ok()) return new Refusal(ToGrpc(stream.status(), context));
  (*stream)->Begin();
  return stream->get();
}

}  // namespace sluice::log

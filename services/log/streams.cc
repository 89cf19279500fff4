#include "services/log/streams.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/errors/errors.h"
#include "services/log/wire.h"

namespace sluice::log {
namespace {

constexpr uint64_t kLeastMessageBytes = 16 << 10;
constexpr uint64_t kShareOfRoom = 16;

}  // namespace

absl::Status Streams::Add(OpenStream* stream) {
  MutexLock lock(mutex_);
  if (draining_) return MakeError(Reason::DRAINING, "the log is stopping");
  if (streams_.size() >= max_) {
    return MakeRetryableError(Reason::OVERLOADED, "too many streams are open",
                              std::chrono::seconds(1));
  }
  streams_.insert(stream);
  return absl::OkStatus();
}

void Streams::Remove(OpenStream* stream) {
  MutexLock lock(mutex_);
  streams_.erase(stream);
  changed_.notify_all();
}

size_t Streams::count() const {
  MutexLock lock(mutex_);
  return streams_.size();
}

void Streams::BeginDrain() {
  std::vector<std::shared_ptr<OpenStream>> open;
  {
    MutexLock lock(mutex_);
    draining_ = true;
    for (OpenStream* stream : streams_) open.push_back(stream->shared_from_this());
  }
  for (const auto& stream : open) stream->BeginDrain();
}

void Streams::AwaitEnd(std::chrono::steady_clock::time_point deadline) {
  MutexLock lock(mutex_);
  changed_.wait_until(mutex_, deadline, [this]() REQUIRES(mutex_) { return streams_.empty(); });
}

size_t Streams::MessageBytes() const {
  const uint64_t held = held_bytes();
  const uint64_t room = max_held_bytes_ - std::min(held, max_held_bytes_);
  // A share of what is left, so that the limit is approached and not overrun.
  return std::clamp<uint64_t>(room / kShareOfRoom, kLeastMessageBytes, kMaxMessageBytes);
}

Stream::~Stream() { parts_.streams.LetGo(held_bytes_); }

void Stream::Begin() {
  alive_ = self();
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
  std::optional<Action> next;
  bool ended = false;
  bool step = false;
  {
    MutexLock lock(mutex_);
    writing_ = false;
    message_.Clear();
    held_bytes_ -= writing_bytes_;
    parts_.streams.LetGo(writing_bytes_);
    cancelled_ = cancelled_ || !ok;
    // The step that is being taken sees what happened.
    if (state_ == State::kRunning) return;
    next.swap(ahead_);
    ended = cancelled_;
    if (auto* write = next ? std::get_if<Write>(&*next) : nullptr; write && !ended) {
      BeginWriting(*write);
      step = write->more && !write->last;
    } else {
      step = !next;
    }
    if (step) state_ = State::kRunning;
  }
  if (ended) return EndWith(absl::CancelledError("the caller is gone"));
  if (const auto* end = next ? std::get_if<Ended>(&*next) : nullptr) return EndWith(end->status);
  // gRPC may be done with the stream as soon as the message is gone.
  const auto stream = shared_from_this();
  if (auto* write = next ? std::get_if<Write>(&*next) : nullptr) Send(std::move(*write));
  if (step) Schedule();
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
  if (parts_.pool.Run([stream = self()] { stream->Run(); })) return;
  Do(Ended{MakeError(Reason::DRAINING, "the log is stopping")});
}

void Stream::Run() {
  for (;;) {
    {
      MutexLock lock(mutex_);
      drain_news_ = false;
    }
    if (!Do(Step())) return;
  }
}

bool Stream::Do(Action action) {
  auto* const write = std::get_if<Write>(&action);
  bool cancelled = false;
  {
    MutexLock lock(mutex_);
    if (write) {
      held_bytes_ += write->message.Length();
      parts_.streams.Hold(write->message.Length());
    }
    cancelled = cancelled_;
    if (writing_) {
      state_ = State::kIdle;
      if (!std::holds_alternative<Wait>(action)) ahead_ = std::move(action);
      return false;
    }
    if (write && !cancelled) {
      if (!write->more) state_ = State::kIdle;
      BeginWriting(*write);
    }
  }
  if (cancelled) {
    EndWith(absl::CancelledError("cancelled by the caller"));
    return false;
  }
  if (const auto* ended = std::get_if<Ended>(&action)) {
    EndWith(ended->status);
    return false;
  }
  if (!write) return !StartWaiting(std::get<Wait>(action));
  const bool step = write->more && !write->last;
  Send(std::move(*write));
  return step;
}

void Stream::BeginWriting(const Write& write) {
  writing_ = true;
  writing_bytes_ = write.message.Length();
  if (write.last) CloseLocked();
}

void Stream::Send(Write write) {
  message_.Swap(&write.message);
  if (write.last) {
    // OnDone follows, and no OnWriteDone.
    StartWriteAndFinish(&message_, grpc::WriteOptions(), grpc::Status::OK);
  } else {
    StartWrite(&message_);
  }
}

bool Stream::StartWaiting(const Wait& wait) {
  MutexLock lock(mutex_);
  if (cancelled_ || drain_news_) return false;
  if (!parts_.watchers.Wait(wait.collection, wait.epoch, wait.what, wait.beyond, this,
                            [stream = self()] { stream->OnMoved(); })) {
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
    if (const auto stream = std::static_pointer_cast<Stream>(weak.lock())) stream->OnTimer();
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

void Stream::CloseLocked() {
  state_ = State::kFinished;
  if (timer_id_) parts_.timer.Cancel(*timer_id_);
  timer_id_.reset();
}

void Stream::EndWith(const absl::Status& status) {
  {
    MutexLock lock(mutex_);
    CloseLocked();
  }
  // gRPC may be done with the stream, and destroy it, before Finish has returned.
  const auto stream = shared_from_this();
  Finish(ToGrpc(status, context_));
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* BeginOrRefuse(
    const absl::StatusOr<std::shared_ptr<Stream>>& stream, grpc::CallbackServerContext* context) {
  if (!stream.ok()) {
    return new RefusedStream<grpc::ServerWriteReactor<grpc::ByteBuffer>>(
        ToGrpc(stream.status(), context));
  }
  (*stream)->Begin();
  return stream->get();
}

}  // namespace sluice::log

#include "services/log/push_stream.h"

#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "common/base/mutex.h"
#include "common/errors/errors.h"
#include "services/log/push.h"
#include "services/log/streams.h"
#include "services/log/wire.h"
#include "sluice/v1/log.pb.h"

namespace sluice::log {
namespace {

using Reactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

grpc::ByteBuffer ToAnswer(absl::StatusOr<v1::PushLogsResponse> result) {
  v1::PushStreamResponse response;
  if (result.ok()) {
    *response.mutable_pushed() = *std::move(result);
  } else {
    *response.mutable_error() = ToMessage(result.status());
  }
  return ToByteBuffer(response);
}

// It owns itself from Begin until gRPC is done with it; proposals that are not answered by then
// keep it too.
//
// What happens (a request came, an answer is there or left, the caller cancelled, the node drains)
// is noted under the mutex; what to ask of gRPC next follows from the notes, and one thread at a
// time does it (Advance), so that nothing is asked of gRPC after Finish.
class PushStream final : public Reactor, public OpenStream {
 public:
  PushStream(const CoreGate& gate, Streams& streams, LogMetrics& metrics,
             grpc::CallbackServerContext* context)
      : gate_(gate), streams_(streams), metrics_(metrics), context_(context) {}
  ~PushStream() override { streams_.LetGo(held_bytes_); }

  void Begin() {
    alive_ = self();
    const absl::Status added = streams_.Add(this);
    if (!added.ok()) {
      const MutexLock lock(mutex_);
      refused_ = added;
    }
    Advance();
  }

  void BeginDrain() override {
    {
      const MutexLock lock(mutex_);
      draining_ = true;
    }
    Advance();
  }

  void OnReadDone(bool ok) override {
    if (ok) TakeRequest();
    {
      const MutexLock lock(mutex_);
      reading_ = false;
      if (!ok) half_closed_ = true;
    }
    Advance();
  }

  void OnWriteDone(bool ok) override {
    {
      const MutexLock lock(mutex_);
      writing_ = false;
      if (!ok) cancelled_ = true;
      const size_t answer_bytes = unanswered_.front().answer->Length();
      held_bytes_ -= answer_bytes;
      streams_.LetGo(answer_bytes);
      unanswered_bytes_ -= unanswered_.front().bytes;
      unanswered_.pop_front();
      ++answered_;
    }
    Advance();
  }

  void OnCancel() override {
    {
      const MutexLock lock(mutex_);
      cancelled_ = true;
    }
    Advance();
  }

  void OnDone() override {
    streams_.Remove(this);
    alive_.reset();
  }

 private:
  // A request that came, and its answer once it is there, until that has left.
  struct Push {
    size_t bytes = 0;
    std::optional<grpc::ByteBuffer> answer;
  };
  enum class Step { kNone, kRead, kWrite, kFinish };

  std::shared_ptr<PushStream> self() {
    return std::static_pointer_cast<PushStream>(shared_from_this());
  }

  void TakeRequest() {
    uint64_t number = 0;
    {
      const MutexLock lock(mutex_);
      if (finished_) return;
      number = answered_ + unanswered_.size();
      unanswered_bytes_ += request_.Length();
      unanswered_.push_back({request_.Length(), std::nullopt});
    }
    ProposePush(gate_, metrics_, request_, Pieces::kGo,
                [stream = self(), number](absl::StatusOr<v1::PushLogsResponse> result) {
                  stream->Answer(number, ToAnswer(std::move(result)));
                });
    request_.Clear();
  }

  void Answer(uint64_t number, const grpc::ByteBuffer& answer) {
    {
      const MutexLock lock(mutex_);
      if (finished_) return;
      held_bytes_ += answer.Length();
      streams_.Hold(answer.Length());
      unanswered_[number - answered_].answer = answer;
    }
    Advance();
  }

  void Advance() {
    // gRPC may be done with the stream as soon as it is finished.
    const auto stream = self();
    {
      const MutexLock lock(mutex_);
      if (std::exchange(advancing_, true)) return;
    }
    while (TakeStep()) {
    }
  }

  // False: there is nothing to do, and nobody at it any more.
  bool TakeStep() {
    Step step = Step::kNone;
    {
      const MutexLock lock(mutex_);
      step = NextStep();
      advancing_ = step != Step::kNone;
      reading_ = reading_ || step == Step::kRead;
      writing_ = writing_ || step == Step::kWrite;
      finished_ = finished_ || step == Step::kFinish;
      if (step == Step::kWrite) message_ = *unanswered_.front().answer;
    }
    switch (step) {
      case Step::kNone:
        return false;
      case Step::kRead:
        StartRead(&request_);
        break;
      case Step::kWrite:
        StartWrite(&message_);
        break;
      case Step::kFinish:
        Finish(ToGrpc(End(), context_));
        break;
    }
    return true;
  }

  Step NextStep() const REQUIRES(mutex_) {
    if (finished_) return Step::kNone;
    if (!writing_) {
      if (cancelled_ || !refused_.ok()) return Step::kFinish;
      if (unanswered_.empty() && (half_closed_ || draining_)) return Step::kFinish;
      if (!unanswered_.empty() && unanswered_.front().answer) return Step::kWrite;
    }
    return MayRead() ? Step::kRead : Step::kNone;
  }

  bool MayRead() const REQUIRES(mutex_) {
    if (reading_ || half_closed_ || cancelled_ || draining_ || !refused_.ok()) return false;
    const size_t most =
        streams_.MayWorkAhead() ? kMaxUnansweredPushes : kMaxUnansweredPushesWhenShort;
    return unanswered_.size() < most && unanswered_bytes_ < kMaxUnansweredPushBytes;
  }

  // What was read is answered, unless the caller is gone; so what is not answered was not read.
  absl::Status End() {
    const MutexLock lock(mutex_);
    if (!refused_.ok()) return WithOutcome(refused_, Outcome::kNotIn);
    if (cancelled_) return absl::CancelledError("cancelled by the caller");
    if (half_closed_) return absl::OkStatus();
    return WithOutcome(MakeError(Reason::DRAINING, "the log is stopping"), Outcome::kNotIn);
  }

  const CoreGate& gate_;
  Streams& streams_;
  LogMetrics& metrics_;
  grpc::CallbackServerContext* const context_;
  std::shared_ptr<PushStream> alive_;
  // Theirs who read, and write: gRPC, or the one reaction that was called for it.
  grpc::ByteBuffer request_;
  grpc::ByteBuffer message_;

  Mutex mutex_;
  std::deque<Push> unanswered_ GUARDED_BY(mutex_);
  size_t unanswered_bytes_ GUARDED_BY(mutex_) = 0;
  // How many have left before those.
  uint64_t answered_ GUARDED_BY(mutex_) = 0;
  // Of the answers that have not left.
  size_t held_bytes_ GUARDED_BY(mutex_) = 0;
  absl::Status refused_ GUARDED_BY(mutex_);
  // Until what was read is proposed.
  bool reading_ GUARDED_BY(mutex_) = false;
  bool writing_ GUARDED_BY(mutex_) = false;
  bool half_closed_ GUARDED_BY(mutex_) = false;
  bool cancelled_ GUARDED_BY(mutex_) = false;
  bool draining_ GUARDED_BY(mutex_) = false;
  bool finished_ GUARDED_BY(mutex_) = false;
  bool advancing_ GUARDED_BY(mutex_) = false;
};

}  // namespace

Reactor* ServePushStream(const CoreGate& gate, LogMetrics& metrics,
                         grpc::CallbackServerContext* context) {
  const absl::StatusOr<ServiceCore*> core = gate.ForReading();
  if (!core.ok()) {
    return new RefusedStream<Reactor>(ToGrpc(WithOutcome(core.status(), Outcome::kNotIn), context));
  }
  const auto stream = std::make_shared<PushStream>(gate, (*core)->streams, metrics, context);
  stream->Begin();
  return stream.get();
}

}  // namespace sluice::log

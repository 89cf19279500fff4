#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <chrono>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/mutex.h"
#include "common/client/client.h"
#include "common/client/continuity.h"
#include "common/client/retry.h"
#include "common/errors/errors.h"

namespace sluice::client {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kDefaultHeartbeat(5'000);

// One call of Subscribe. gRPC's thread puts messages into one slot and the subscriber takes them
// out; the next is read only when the slot is empty, so that a slow subscriber holds up the server
// and not memory.
class Stream final : private grpc::ClientReadReactor<v1::SubscribeResponse> {
 public:
  Stream(v1::LogService::Stub& stub, v1::SubscribeRequest request) : request_(std::move(request)) {
    context_.set_wait_for_ready(true);
    stub.async()->Subscribe(&context_, &request_, this);
    AddHold();  // Reads are started outside of reactions: gRPC must not end the call between two of
                // them.
    StartRead(&incoming_);
    StartCall();
  }

  ~Stream() override {
    context_.TryCancel();
    bool holds;
    {
      MutexLock lock(mutex_);
      closing_ = true;
      holds = full_;
    }
    if (holds) RemoveHold();
    MutexLock lock(mutex_);
    changed_.wait(mutex_, [this]() REQUIRES(mutex_) { return done_; });
  }

  enum class Got { kMessage, kEnd, kNothing };
  // kMessage: *message is the next one. kEnd: the stream is over, see End(). kNothing: neither in
  // time.
  Got Read(milliseconds patience, v1::SubscribeResponse* message) {
    {
      MutexLock lock(mutex_);
      if (!changed_.wait_for(mutex_, patience,
                             [this]() REQUIRES(mutex_) { return full_ || done_; })) {
        return Got::kNothing;
      }
      if (!full_) return Got::kEnd;
      message->Swap(&incoming_);
      full_ = false;
    }
    StartRead(&incoming_);
    return Got::kMessage;
  }

  absl::Status End() {
    MutexLock lock(mutex_);
    return FromGrpc(end_, context_);
  }

  void Cancel() { context_.TryCancel(); }

 private:
  void OnReadDone(bool ok) override {
    bool holds;
    {
      MutexLock lock(mutex_);
      full_ = ok;
      holds = ok && !closing_;
      changed_.notify_all();
    }
    if (!holds) RemoveHold();
  }

  void OnDone(const grpc::Status& status) override {
    MutexLock lock(mutex_);
    end_ = status;
    done_ = true;
    changed_.notify_all();
  }

  const v1::SubscribeRequest request_;
  grpc::ClientContext context_;
  Mutex mutex_;
  CondVar changed_;
  // Belongs to gRPC while a read is under way (neither full nor done), else to the subscriber.
  v1::SubscribeResponse incoming_;
  bool full_ GUARDED_BY(mutex_) = false;
  bool closing_ GUARDED_BY(mutex_) = false;
  bool done_ GUARDED_BY(mutex_) = false;
  grpc::Status end_ GUARDED_BY(mutex_);
};

// Whether asking again would only get the same answer.
bool EndsSubscription(const absl::Status& error) {
  switch (error.code()) {
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return true;
    default:
      return false;
  }
}

}  // namespace

struct Subscription::State {
  // The subscriber's.
  std::shared_ptr<v1::LogService::Stub> stub;
  Options options;
  milliseconds heartbeat;
  Resume resume;
  bool first_of_stream = true;
  int failures = 0;
  // Once not OK, what every further call says.
  absl::Status ended;
  // Written by the subscriber, under the mutex, which Cancel takes to read it.
  std::unique_ptr<Stream> stream;

  Mutex mutex;
  CondVar changed;
  bool cancelled GUARDED_BY(mutex) = false;

  State(std::shared_ptr<v1::LogService::Stub> s, const Options& o, v1::SubscribeRequest request)
      : stub(std::move(s)),
        options(o),
        heartbeat(request.heartbeat_ms() == 0 ? kDefaultHeartbeat
                                              : milliseconds(request.heartbeat_ms())),
        resume(std::move(request)) {}

  // False if the subscription was cancelled.
  bool EnsureStream() {
    MutexLock lock(mutex);
    if (cancelled) return false;
    if (!stream) {
      stream = std::make_unique<Stream>(*stub, resume.Request());
      first_of_stream = true;
    }
    return true;
  }

  void CloseStream() {
    std::unique_ptr<Stream> closing;
    MutexLock lock(mutex);
    closing = std::move(stream);
  }

  absl::StatusOr<bool> End(absl::Status status) {
    CloseStream();
    ended = std::move(status);
    return ended;
  }

  // Waits before the next stream; ends early when cancelled.
  void BackOff(const absl::Status& error) {
    const milliseconds wait = BackoffAfter(options, error, ++failures, RandomShare());
    MutexLock lock(mutex);
    changed.wait_for(mutex, wait, [this]() REQUIRES(mutex) { return cancelled; });
  }

  // Why the stream gave no message.
  absl::Status WhyStreamEnded(Stream::Got got, milliseconds patience) {
    if (got == Stream::Got::kNothing) {
      return absl::DeadlineExceededError(
          absl::StrCat("nothing came for ", patience.count(), " ms, not even a heartbeat"));
    }
    const absl::Status end = stream->End();
    return end.ok() ? absl::UnavailableError("the stream ended before its end") : end;
  }
};

Subscription::Subscription(std::unique_ptr<State> state) : state_(std::move(state)) {}
Subscription::~Subscription() { state_->CloseStream(); }

absl::StatusOr<bool> Subscription::Next(v1::SubscribeResponse* message) {
  State& s = *state_;
  while (s.ended.ok()) {
    if (s.resume.complete()) {
      s.CloseStream();
      return false;
    }
    if (!s.EnsureStream()) return s.End(absl::CancelledError("the subscription was cancelled"));

    const milliseconds patience = s.first_of_stream ? s.options.attempt_deadline
                                                    : s.options.attempt_deadline + 2 * s.heartbeat;
    const Stream::Got got = s.stream->Read(patience, message);
    if (got == Stream::Got::kMessage) {
      if (absl::Status status = s.resume.Accept(*message); !status.ok()) return s.End(status);
      // A stream that breaks right after its first heartbeat is no progress.
      if (!s.first_of_stream || message->appends_size() > 0) s.failures = 0;
      s.first_of_stream = false;
      return true;
    }

    const absl::Status error = s.WhyStreamEnded(got, patience);
    if (EndsSubscription(error)) return s.End(error);
    s.CloseStream();
    s.BackOff(error);
  }
  return s.ended;
}

void Subscription::Cancel() {
  MutexLock lock(state_->mutex);
  state_->cancelled = true;
  if (state_->stream) state_->stream->Cancel();
  state_->changed.notify_all();
}

SeqId Subscription::last() const { return state_->resume.last().value_or(SeqId()); }

std::unique_ptr<Subscription> Log::Subscribe(v1::SubscribeRequest request) {
  return std::unique_ptr<Subscription>(
      new Subscription(std::make_unique<Subscription::State>(stub_, options_, std::move(request))));
}

}  // namespace sluice::client

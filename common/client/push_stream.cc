// A push stream over many gRPC streams. Every refusal that may pass, and every end of a stream, is
// met in one way: the stream is left, and after a while everything that is not answered is sent
// again on a new one. Appends under way behind one that was refused would all be refused for it,
// each after its way through the journal; leaving the stream spares the log most of that.
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/mutex.h"
#include "common/client/client.h"
#include "common/client/named.h"
#include "common/client/push_queue.h"
#include "common/client/retry.h"
#include "common/errors/errors.h"

namespace sluice::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Room in a request for the name of a predecessor.
constexpr size_t kPredecessorBytes = 64;

// Why a stream was left, which tells what became of the attempt of the oldest append; and what of
// the others.
struct Left {
  absl::Status error;
  Outcome others = Outcome::kUnknown;
};

}  // namespace

struct PushStream::State {
  class Exchange;

  State(std::shared_ptr<v1::LogService::Stub> to, const Options& tries, const CollectionId& id,
        const PushWindow& at_most)
      : stub(std::move(to)), options(tries), collection(id.ToString()), window(at_most) {
    thread = std::jthread([this] { Run(); });
  }

  // All on the thread.
  void Run();
  bool AwaitWork();
  Left RunStream();
  std::optional<absl::Status> Converse(Exchange& exchange);
  std::optional<absl::Status> TakeAnswers() REQUIRES(mutex);
  void GiveUp(const absl::Status& error) REQUIRES(mutex);
  void Tell();

  bool HasRoomFor(size_t bytes) const REQUIRES(mutex) {
    return queue.empty() ||
           (queue.size() < window.appends && queue.bytes() + bytes <= window.bytes);
  }

  const std::shared_ptr<v1::LogService::Stub> stub;
  const Options options;
  const std::string collection;
  const PushWindow window;
  // In a row, and what they said but for deadlines; the thread's.
  int failures = 0;
  std::string said;

  Mutex mutex;
  CondVar changed;
  PushQueue queue GUARDED_BY(mutex);
  // Done with, and their callers not told yet.
  std::vector<PushQueue::Answer> settled GUARDED_BY(mutex);
  bool telling GUARDED_BY(mutex) = false;
  // Why the stream stands still.
  absl::Status failure GUARDED_BY(mutex);
  bool closing GUARDED_BY(mutex) = false;
  // When an append was in last, or the first of those in the queue came.
  steady_clock::time_point moved_at GUARDED_BY(mutex);

  // Of the gRPC stream of the moment: what came and was not looked at, whether a request is on its
  // way, and whether no more answers come.
  std::vector<v1::PushStreamResponse> answers GUARDED_BY(mutex);
  bool writing GUARDED_BY(mutex) = false;
  bool over GUARDED_BY(mutex) = false;

  std::jthread thread;
};

// One gRPC stream. It reads by itself, and writes what it is given.
class PushStream::State::Exchange
    : public grpc::ClientBidiReactor<v1::PushLogsRequest, v1::PushStreamResponse> {
 public:
  Exchange(State& state, bool wait_for_connection) : state_(state) {
    context_.set_wait_for_ready(wait_for_connection);
    state_.stub->async()->PushStream(&context_, this);
    AddHold();  // Writes are started outside of reactions.
    StartRead(&incoming_);
    StartCall();
  }

  void Write(PushQueue::Request request) {
    outgoing_ = std::move(request);
    StartWrite(outgoing_.get());
  }

  void Cancel() { context_.TryCancel(); }
  // Once it is over or cancelled: what it ended with.
  absl::Status AwaitEnd() {
    RemoveHold();
    MutexLock lock(state_.mutex);
    state_.changed.wait(state_.mutex, [this] { return ended_; });
    return FromGrpc(status_, context_);
  }

 private:
  void OnReadDone(bool ok) override {
    {
      MutexLock lock(state_.mutex);
      if (ok) state_.answers.push_back(std::move(incoming_));
      state_.over = !ok;
      state_.changed.notify_all();
    }
    if (ok) StartRead(&incoming_);
  }
  // If it failed, so does the read.
  void OnWriteDone(bool) override {
    MutexLock lock(state_.mutex);
    state_.writing = false;
    state_.changed.notify_all();
  }
  void OnDone(const grpc::Status& status) override {
    MutexLock lock(state_.mutex);
    status_ = status;
    ended_ = true;
    state_.changed.notify_all();
  }

  State& state_;
  grpc::ClientContext context_;
  // gRPC's while a read or a write is under way.
  v1::PushStreamResponse incoming_;
  PushQueue::Request outgoing_;
  // Under the state's mutex.
  grpc::Status status_;
  bool ended_ = false;
};

void PushStream::State::Run() {
  while (AwaitWork()) {
    const Left left = RunStream();
    {
      MutexLock lock(mutex);
      queue.Rewind(OutcomeOf(left.error), left.others);
      // A stream may end when there is nothing to do.
      if (queue.empty() || closing) continue;
      ++failures;
      const auto wait =
          WaitBeforeRetry(options, left.error, failures,
                          LeftUntil(moved_at + options.total_deadline), RandomShare());
      if (wait) {
        if (!absl::IsDeadlineExceeded(left.error)) said = std::string(left.error.message());
        changed.wait_for(mutex, *wait, [this]() REQUIRES(mutex) { return closing; });
        continue;
      }
      GiveUp(left.error);
    }
    Tell();
  }
  {
    MutexLock lock(mutex);
    const absl::Status closed = absl::CancelledError("the push stream was closed");
    settled = queue.GiveUp(closed, closed);
  }
  Tell();
}

// False: it is to close.
bool PushStream::State::AwaitWork() {
  MutexLock lock(mutex);
  changed.wait(mutex, [this]() REQUIRES(mutex) { return !queue.empty() || closing; });
  answers.clear();
  writing = false;
  over = false;
  return !closing;
}

Left PushStream::State::RunStream() {
  // As with unary calls: the first attempt fails at once where nobody listens.
  Exchange exchange(*this, failures > 0);
  const std::optional<absl::Status> why = Converse(exchange);
  if (why) exchange.Cancel();
  const absl::Status end = exchange.AwaitEnd();
  if (why) return {*why};
  if (end.ok()) return {absl::UnavailableError("the stream ended before its answers")};
  return {end, OutcomeOf(end)};
}

// Sends and takes answers until the stream is over (nullopt), or is to be left, for a reason that
// concerns the oldest append.
std::optional<absl::Status> PushStream::State::Converse(Exchange& exchange) {
  steady_clock::time_point heard;
  for (;;) {
    PushQueue::Request request;
    std::optional<absl::Status> error;
    bool ended = false;
    {
      MutexLock lock(mutex);
      const auto awake = [this]() REQUIRES(mutex) {
        return closing || over || !answers.empty() || (!writing && queue.has_next());
      };
      if (queue.sent() == 0) {
        changed.wait(mutex, awake);
        heard = steady_clock::now();
      } else if (!changed.wait_until(mutex, heard + options.attempt_deadline, awake)) {
        return absl::DeadlineExceededError(
            absl::StrCat("no answer came for ", options.attempt_deadline.count(), " ms"));
      }
      if (!answers.empty()) {
        heard = steady_clock::now();
        error = TakeAnswers();
      }
      if (closing && !error) error = absl::CancelledError("the push stream was closed");
      ended = over;
      if (!ended && !error && !writing && queue.has_next()) {
        writing = true;
        request = queue.Next();
      }
    }
    Tell();
    if (error || ended) return error;
    if (request) exchange.Write(std::move(request));
  }
}

// What the oldest append was refused for, if it was; later answers are about what named it.
std::optional<absl::Status> PushStream::State::TakeAnswers() {
  for (v1::PushStreamResponse& answer : std::exchange(answers, {})) {
    if (queue.sent() == 0) return absl::InternalError("an answer to what was not asked");
    if (!answer.has_pushed()) {
      const absl::Status error = FromMessage(answer.error());
      // What it named is in, but was forgotten before this came to the log: not to be named again.
      if (ReasonOf(error) == Reason::PREDECESSOR_MISSING && queue.oldest_named_one()) {
        return WithOutcome(absl::UnavailableError(error.message()), OutcomeOf(error));
      }
      return error;
    }
    settled.push_back(queue.Accept(std::move(*answer.mutable_pushed())));
    failures = 0;
    said.clear();
    moved_at = steady_clock::now();
  }
  return std::nullopt;
}

void PushStream::State::GiveUp(const absl::Status& error) {
  const absl::Status told = failures == 1 ? error : Annotate(error, Story(failures, error, said));
  settled =
      queue.GiveUp(told, MakeError(Reason::PREDECESSOR_MISSING,
                                   absl::StrCat("an append before it failed: ", told.message())));
  failure = settled.front().result.status();
  failures = 0;
  said.clear();
}

void PushStream::State::Tell() {
  std::vector<PushQueue::Answer> now;
  {
    MutexLock lock(mutex);
    now.swap(settled);
    telling = !now.empty();
    // There is room.
    if (telling) changed.notify_all();
  }
  if (now.empty()) return;
  for (PushQueue::Answer& answer : now) answer.done(std::move(answer.result));
  MutexLock lock(mutex);
  telling = false;
  changed.notify_all();
}

PushStream::PushStream(std::unique_ptr<State> state) : state_(std::move(state)) {}

PushStream::~PushStream() {
  {
    MutexLock lock(state_->mutex);
    state_->closing = true;
    state_->changed.notify_all();
  }
  state_->thread.join();
}

absl::Status PushStream::Push(v1::PushLogsRequest request, Callback<v1::PushLogsResponse> done) {
  State& s = *state_;
  request = Named(std::move(request));
  request.set_collection_id(s.collection);
  request.clear_predecessor_request_id();
  const size_t bytes = request.ByteSizeLong();
  // It would end the stream, whoever is the oldest then.
  if (bytes > kMaxMessageBytes - kPredecessorBytes) {
    return WithOutcome(MakeError(Reason::TOO_LARGE, "the request is larger than servers read",
                                 {{"limit", "message bytes"},
                                  {"max", absl::StrCat(kMaxMessageBytes - kPredecessorBytes)},
                                  {"actual", absl::StrCat(bytes)}}),
                       Outcome::kNotIn);
  }
  MutexLock lock(s.mutex);
  s.changed.wait(s.mutex,
                 [&]() REQUIRES(s.mutex) { return !s.failure.ok() || s.HasRoomFor(bytes); });
  if (!s.failure.ok()) {
    return WithOutcome(Annotate(s.failure, "the push stream stands still"), Outcome::kNotIn);
  }
  if (s.queue.empty()) s.moved_at = steady_clock::now();
  s.queue.Add(std::move(request), std::move(done));
  s.changed.notify_all();
  return absl::OkStatus();
}

absl::Status PushStream::Flush() {
  State& s = *state_;
  MutexLock lock(s.mutex);
  s.changed.wait(s.mutex, [&]() REQUIRES(s.mutex) {
    return s.queue.empty() && s.settled.empty() && !s.telling;
  });
  return s.failure;
}

absl::Status PushStream::status() const {
  MutexLock lock(state_->mutex);
  return state_->failure;
}

void PushStream::Resume() {
  MutexLock lock(state_->mutex);
  state_->failure = absl::OkStatus();
}

std::unique_ptr<PushStream> Log::OpenPushStream(const CollectionId& collection,
                                                const PushWindow& window) {
  return std::unique_ptr<PushStream>(
      new PushStream(std::make_unique<PushStream::State>(stub_, options_, collection, window)));
}

}  // namespace sluice::client

#include "common/client/retrying_call.h"

#include <grpcpp/alarm.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "common/client/retry.h"
#include "common/errors/errors.h"

namespace sluice::client {
namespace {

using std::chrono::steady_clock;

// Steps follow one another (attempt, answer, timer, attempt, ...), so nothing here needs a lock.
class RetryingCall {
 public:
  RetryingCall(const Options& options, Effect effect, Attempt attempt,
               std::function<void(absl::Status)> done)
      : options_(options),
        effect_(effect),
        attempt_(std::move(attempt)),
        done_(std::move(done)),
        give_up_(steady_clock::now() + options.total_deadline) {}

  void Try() {
    context_.emplace();
    // The first attempt fails at once where nobody listens. The next ones wait for the connection:
    // failing and backing off beside gRPC's own backoff would add up to seconds after a restart.
    context_->set_wait_for_ready(failures_ > 0);
    context_->set_deadline(std::chrono::system_clock::now() +
                           std::min(options_.attempt_deadline, LeftUntil(give_up_)));
    attempt_(&*context_, [this](const grpc::Status& status) { Answered(status); });
  }

 private:
  void Answered(const grpc::Status& status) {
    absl::Status error = FromGrpc(status, *context_);
    if (error.ok()) return Finish(std::move(error));
    ++failures_;
    outcome_ = OverBoth(outcome_, OutcomeOf(error));
    const auto wait =
        WaitBeforeRetry(options_, error, failures_, LeftUntil(give_up_), RandomShare());
    if (!wait) {
      if (failures_ > 1) error = Annotate(error, Story(failures_, error, said_));
      if (effect_ == Effect::kWrite) error = WithOutcome(std::move(error), outcome_);
      return Finish(std::move(error));
    }
    if (error.code() != absl::StatusCode::kDeadlineExceeded) said_ = std::string(error.message());
    alarm_.emplace();
    alarm_->Set(std::chrono::system_clock::now() + *wait, [this](bool) { Try(); });
  }

  void Finish(absl::Status status) {
    const auto done = std::move(done_);
    delete this;
    done(std::move(status));
  }

  const Options options_;
  const Effect effect_;
  const Attempt attempt_;
  std::function<void(absl::Status)> done_;
  const steady_clock::time_point give_up_;
  std::optional<grpc::ClientContext> context_;
  std::optional<grpc::Alarm> alarm_;
  int failures_ = 0;
  // The last message of a server or of the connection.
  std::string said_;
  Outcome outcome_ = Outcome::kNotIn;
};

}  // namespace

void CallWithRetries(const Options& options, Effect effect, Attempt attempt,
                     std::function<void(absl::Status)> done) {
  (new RetryingCall(options, effect, std::move(attempt), std::move(done)))->Try();
}

}  // namespace sluice::client

#include "common/client/retry.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/ids.h"

namespace sluice::client {

using std::chrono::milliseconds;

bool IsRetryable(const absl::Status& error) {
  switch (error.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
      return true;
    case absl::StatusCode::kResourceExhausted: {
      const std::optional<Reason> reason = ReasonOf(error);
      return reason ? *reason == Reason::OVERLOADED : RetryAfter(error).has_value();
    }
    default:
      return false;
  }
}

milliseconds BackoffAfter(const Options& options, const absl::Status& error, int failures,
                          double share) {
  milliseconds backoff = options.first_backoff;
  for (int i = 1; i < failures && backoff < options.most_backoff; ++i) backoff *= 2;
  backoff = std::min(backoff, options.most_backoff);
  const auto jittered =
      milliseconds(static_cast<int64_t>(static_cast<double>(backoff.count()) * (0.5 + share / 2)));
  return RetryAfter(error).value_or(milliseconds(0)) + jittered;
}

std::optional<milliseconds> WaitBeforeRetry(const Options& options, const absl::Status& error,
                                            int failures, milliseconds left, double share) {
  if (!IsRetryable(error)) return std::nullopt;
  const milliseconds wait = BackoffAfter(options, error, failures, share);
  if (wait >= left) return std::nullopt;
  return wait;
}

Outcome OverBoth(Outcome before, Outcome attempt) {
  if (before == Outcome::kIn || attempt == Outcome::kIn) return Outcome::kIn;
  if (before == Outcome::kUnknown || attempt == Outcome::kUnknown) return Outcome::kUnknown;
  return Outcome::kNotIn;
}

std::string Story(int attempts, const absl::Status& error, std::string_view said_before) {
  const bool tell = absl::IsDeadlineExceeded(error) && !said_before.empty();
  return absl::StrCat("after ", attempts, " attempts", tell ? " (before: " : "",
                      tell ? std::string(said_before) : "", tell ? ")" : "");
}

double RandomShare() { return static_cast<double>(RandomUint64() >> 11) * 0x1p-53; }

milliseconds LeftUntil(std::chrono::steady_clock::time_point give_up) {
  return std::chrono::ceil<milliseconds>(give_up - std::chrono::steady_clock::now());
}

}  // namespace sluice::client

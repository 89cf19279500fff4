// When a call is tried again, after how long, and what its caller is told after several attempts.
// Pure functions but for the last two; thread-safe.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/client/options.h"
#include "common/errors/errors.h"

namespace sluice::client {

// Whether the same request may succeed later without anything else being done: UNAVAILABLE,
// OVERLOADED, DEADLINE_EXCEEDED, and CANCELLED (by a server that stops: the client itself never
// cancels a unary call). RESOURCE_EXHAUSTED from something that is not Sluice only if it says when
// to retry.
bool IsRetryable(const absl::Status& error);

// How long to wait after the `failures`-th failure in a row (from 1). `share` is random in [0, 1).
// A delay that the error asks for is waited in full, and the backoff on top, so that callers who
// were sent away together do not come back together.
std::chrono::milliseconds BackoffAfter(const Options& options, const absl::Status& error,
                                       int failures, double share);

// What to wait before the next attempt of a call that may still take `left`; nullopt: give up.
std::optional<std::chrono::milliseconds> WaitBeforeRetry(const Options& options,
                                                         const absl::Status& error, int failures,
                                                         std::chrono::milliseconds left,
                                                         double share);

// Invariant 10: the outcome of several failed attempts. IN if one was in; else UNKNOWN if one may
// be; else NOT_IN.
Outcome OverBoth(Outcome before, Outcome attempt);

// What to say before the last error of several attempts: how many there were, and, since a deadline
// alone does not say why nothing came, what an earlier one said (empty: nothing).
std::string Story(int attempts, const absl::Status& error, std::string_view said_before);

// What the loops around these functions need of the outside world.
double RandomShare();
std::chrono::milliseconds LeftUntil(std::chrono::steady_clock::time_point give_up);

}  // namespace sluice::client

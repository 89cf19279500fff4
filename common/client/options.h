// How long the client tries. A plain value.
#pragma once

#include <chrono>

namespace sluice::client {

struct Options {
  // Of one attempt, and of the whole call with its retries. A stream (a subscription) has no total:
  // it reconnects for as long as it takes, and its attempt deadline is for the first message.
  std::chrono::milliseconds attempt_deadline{10'000};
  std::chrono::milliseconds total_deadline{60'000};
  // Backoff: doubles from first to most, each time a random share of 50..100 %.
  std::chrono::milliseconds first_backoff{20};
  std::chrono::milliseconds most_backoff{2'000};
};

}  // namespace sluice::client

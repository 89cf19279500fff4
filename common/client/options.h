// How long the client tries, and how much at a time. Plain values.
#pragma once

#include <chrono>
#include <cstddef>

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

// What a push stream has under way at most; one append alone may be larger. By default as many
// bytes as a server reads ahead of its answers.
struct PushWindow {
  size_t appends = 256;
  size_t bytes = 4 << 20;
};

}  // namespace sluice::client

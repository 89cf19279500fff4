// The group `push`: durable pushes over the two ceilings, an echo that stores nothing and a bare
// write + fdatasync loop.
#pragma once

#include <chrono>
#include <filesystem>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace sluice::bench {

struct PushBenchOptions {
  // Where the log's data and the file loop's file lie.
  std::filesystem::path folder;
  int rounds = 5;
  std::chrono::milliseconds warm_up{500};
  std::chrono::milliseconds measured{2000};
};

// Keys: push_batch100_over_echo, push_batch100_over_file, push_single_over_echo,
// push_alone_excess_fdatasync, each a median over rounds; `raw` holds the figures of every round.
absl::StatusOr<nlohmann::json> BenchPush(const PushBenchOptions& options);

}  // namespace sluice::bench

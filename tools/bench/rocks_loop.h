// For information beside the ceilings: a bare loop of RocksDB batches, each with its own log
// synced.
#pragma once

#include <chrono>
#include <filesystem>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace sluice::bench {

// Puts values of `value_bytes` in batches of 1, 4, 16 and 64, each batch written with sync; the
// fastest. {"bytes_per_second", "batch_values", "value_bytes", "p50_us", "options"}.
absl::StatusOr<nlohmann::json> BestRocksBatches(const std::filesystem::path& folder,
                                                size_t value_bytes,
                                                std::chrono::milliseconds duration_each);

}  // namespace sluice::bench

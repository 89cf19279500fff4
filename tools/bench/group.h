// What the groups of the bench share: what they are given, how they say what they are doing.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace sluice::bench {

struct BenchOptions {
  // Where data lies while measuring.
  std::filesystem::path folder;
  // Medians are taken over this many.
  int rounds = 3;
  std::chrono::milliseconds warm_up{500};
  std::chrono::milliseconds measured{2000};
  // Share of the full size that is measured: of the collections, of the bytes. For a quick look;
  // the goals are for 1.
  double size = 1;
  std::chrono::seconds soak{600};
  // Pushes a second; 0: half of what the log takes at most.
  double soak_rate = 0;
  // One part of compact (compact.cc); empty: all of them.
  std::string part;

  // `full` times the size, at least 1.
  size_t Sized(size_t full) const {
    return std::max<size_t>(1, static_cast<size_t>(size * static_cast<double>(full)));
  }
};

// What a group returns: its keys, and under "raw" the figures that they come from.
using Figures = nlohmann::json;

// One line for people who wait.
inline void Progress(std::string_view group, std::string_view what) {
  std::fprintf(stderr, "%.*s: %.*s\n", static_cast<int>(group.size()), group.data(),
               static_cast<int>(what.size()), what.data());
}

// The groups; README.md says what each measures.
absl::StatusOr<Figures> BenchPush(const BenchOptions& options);
absl::StatusOr<Figures> BenchCatchup(const BenchOptions& options);
absl::StatusOr<Figures> BenchDelivery(const BenchOptions& options);
absl::StatusOr<Figures> BenchMany(const BenchOptions& options);
absl::StatusOr<Figures> BenchStorm(const BenchOptions& options);
absl::StatusOr<Figures> BenchCold(const BenchOptions& options);
absl::StatusOr<Figures> BenchReplay(const BenchOptions& options);
absl::StatusOr<Figures> BenchSoak(const BenchOptions& options);
absl::StatusOr<Figures> BenchCompact(const BenchOptions& options);

}  // namespace sluice::bench

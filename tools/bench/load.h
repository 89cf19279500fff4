// A closed-loop load: a fixed number of calls in flight, each started when one before it ends.
// Latencies are counted from start to answer.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <vector>

namespace sluice::bench {

struct LoadResult {
  double seconds = 0;
  // Calls that succeeded within the measured time, and their latencies in microseconds, sorted.
  std::vector<double> latencies_us;
  size_t failures = 0;

  double calls_per_second() const { return static_cast<double>(latencies_us.size()) / seconds; }
  // `share` in 0..1; 0 if there were no calls.
  double latency_us(double share) const;
};

// Starts one call; `done(ok)` is called once when it has ended, on any thread. `slot` is 0 ..
// in_flight - 1: one call at a time uses it.
using StartCall = std::function<void(size_t slot, std::function<void(bool ok)> done)>;

// Runs `warm_up`, then measures for `measured`, then waits for what is in flight.
LoadResult RunClosedLoop(size_t in_flight, std::chrono::milliseconds warm_up,
                         std::chrono::milliseconds measured, const StartCall& start);

double Median(std::vector<double> values);

}  // namespace sluice::bench

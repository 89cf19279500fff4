// An open-loop load: calls begin at a fixed rate, whether or not those before them have ended.
// Latencies are counted from when a call was to begin, so a server that stalls is charged for all
// who would have called meanwhile.
#pragma once

#include <chrono>
#include <cstddef>

#include "tools/bench/load.h"

namespace sluice::bench {

struct OpenLoop {
  double calls_per_second = 0;
  std::chrono::milliseconds warm_up{0};
  std::chrono::milliseconds measured{0};
  // Slots; when all are taken the next call begins late (its latency counts all the same).
  size_t most_in_flight = 1024;
};

// Runs the load from the calling thread and waits for the last answers. Calls that were to begin
// within the measured time are in the result.
LoadResult RunOpenLoop(const OpenLoop& loop, const StartCall& start);

}  // namespace sluice::bench

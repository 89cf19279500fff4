// How many calls may be under way: as many as allowed, until the server says that it has too much
// to do; then half, and one more for each round of calls that succeed (additive increase,
// multiplicative decrease). Pure. One thread at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace sluice::compactor {

class InFlightLimit {
 public:
  size_t limit(size_t max) const {
    return std::clamp<size_t>(static_cast<size_t>(std::min(limit_, 1e6)), 1,
                              std::max<size_t>(1, max));
  }
  // Calls are numbered in the order in which they begin; those that began before the last cut say
  // nothing of how it is since.
  void CallSucceeded(uint64_t call, size_t max) {
    if (call < cut_at_) return;
    limit_ = std::min(limit_, static_cast<double>(max));
    limit_ = std::min(static_cast<double>(max), limit_ + 1 / std::max(1.0, limit_));
  }
  void CallOverloaded(uint64_t call, uint64_t next_call, size_t in_flight) {
    if (call < cut_at_) return;
    limit_ = std::max(1.0, std::min(limit_, static_cast<double>(in_flight)) / 2);
    cut_at_ = next_call;
  }

 private:
  double limit_ = 1e6;
  uint64_t cut_at_ = 0;
};

}  // namespace sluice::compactor

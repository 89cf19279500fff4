// Vectors as those of texts lie: around centres, and spread along far fewer directions than they
// have components, so that a graph can find its way among them. Pure; thread-safe. The same seed
// gives the same vectors.
#pragma once

#include <cstdint>
#include <vector>

namespace sluice::bench {

class Clustered {
 public:
  explicit Clustered(uint32_t dimension, uint64_t seed = 1);

  uint32_t dimension() const { return dimension_; }
  // The vector of a number. Those of other numbers have nothing to do with it.
  std::vector<float> At(uint64_t number) const;

 private:
  const uint32_t dimension_;
  const uint64_t seed_;
  // One after the other: centres, as coordinates along the directions; and the directions.
  std::vector<float> centres_;
  std::vector<float> directions_;
};

}  // namespace sluice::bench

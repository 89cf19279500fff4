#include "tools/bench/clustered.h"

#include <limits>
#include <random>

namespace sluice::bench {
namespace {

constexpr size_t kDirections = 24;
constexpr size_t kCentres = 256;
// How far vectors lie from their centre, where centres lie 1 from the middle.
constexpr float kSpread = 0.5F;

// SplitMix64: costs nothing to seed.
class Random {
 public:
  using result_type = uint64_t;
  explicit Random(uint64_t seed) : state_(seed) {}
  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return std::numeric_limits<uint64_t>::max(); }
  uint64_t operator()() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

 private:
  uint64_t state_;
};

std::vector<float> Normal(size_t count, uint64_t seed) {
  Random random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(count);
  for (float& number : numbers) number = normal(random);
  return numbers;
}

}  // namespace

Clustered::Clustered(uint32_t dimension, uint64_t seed)
    : dimension_(dimension),
      seed_(seed),
      centres_(Normal(kCentres * kDirections, seed)),
      directions_(Normal(kDirections * size_t{dimension}, ~seed)) {}

std::vector<float> Clustered::At(uint64_t number) const {
  Random random(Random(seed_ ^ (number * 0xd1342543de82ef95))());
  std::normal_distribution<float> normal;
  const float* const centre = centres_.data() + random() % kCentres * kDirections;
  std::vector<float> vector(dimension_);
  for (size_t i = 0; i < kDirections; ++i) {
    const float along = centre[i] + kSpread * normal(random);
    const float* const direction = directions_.data() + i * dimension_;
    for (size_t j = 0; j < dimension_; ++j) vector[j] += along * direction[j];
  }
  return vector;
}

}  // namespace sluice::bench

// Vectors in a quarter of their size: each component in 8 bits, by a scale of the vector's own,
// with how far that is from the vector at most. Most vectors are known by it to be farther from a
// query than others, without being looked at; the rest is for DistanceTo to tell. Pure;
// thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sluice/v1/collection.pb.h"

namespace sluice {

// A vector's code, by `dimension` components that lie elsewhere.
struct CodedVector {
  const int8_t* components = nullptr;
  uint32_t dimension = 0;
  // What the components are multiples of.
  float scale = 0;
  // Lengths: of the vector, and of its difference to its code. Not finite: nothing is known.
  float norm = 0;
  float error = 0;
  // The sum of the components' squares.
  uint32_t squares = 0;
};

// Writes the components to `out`, which has room for them and outlives the code.
CodedVector Encode(std::span<const float> vector, int8_t* out);

// A bound of distances to one query, as DistanceTo tells them.
class NotNearerThan {
 public:
  NotNearerThan(v1::Metric metric, std::span<const float> query);
  // No more than the distance of the vector, which has the query's dimension; minus infinity where
  // nothing is known.
  float operator()(const CodedVector& vector) const;

 private:
  const v1::Metric metric_;
  // The query's code, in up to 15 bits, so that products are summed as integers; the rest is as of
  // CodedVector.
  std::vector<int16_t> components_;
  float scale_ = 0;
  float norm_ = 0;
  float error_ = 0;
  double squares_ = 0;
};

}  // namespace sluice

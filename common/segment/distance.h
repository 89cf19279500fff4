// Distances between vectors, as Query reports them. Pure; thread-safe. The same bits on every
// x86-64: the code for AVX-512 and AVX2 adds in the same order as the plain one, and fuses nothing.
#pragma once

#include <cstddef>
#include <span>

#include "sluice/v1/collection.pb.h"

namespace sluice {

// As collection.proto, Metric, defines it (METRIC_UNSPECIFIED: cosine). Never NaN for finite
// components; beyond float's range: infinite. `a` and `b` have the same size.
float Distance(v1::Metric metric, std::span<const float> a, std::span<const float> b);

// The sums themselves, of `n` components; may leave float's range.
float DotProduct(const float* a, const float* b, size_t n);
float SquaredDistance(const float* a, const float* b, size_t n);

// The same for many vectors against one query.
class DistanceTo {
 public:
  // `query` outlives it.
  DistanceTo(v1::Metric metric, std::span<const float> query);
  // `vector` has the query's dimension.
  float operator()(const float* vector) const;

 private:
  const v1::Metric metric_;
  const std::span<const float> query_;
  // Squared length of the query; cosine only.
  const float norm_;
};

}  // namespace sluice

#include "common/segment/coded.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/segment/distance.h"
#include "common/segment/simd.h"

namespace sluice {
namespace {

// What rounding may add to any sum of up to 8,192 products, and to what is made of it, relative to
// the lengths that go in. Far more than it does.
constexpr float kRounding = 1e-5F;
constexpr float kMostSteps = 127;
constexpr float kNothingKnown = -std::numeric_limits<float>::infinity();

SLUICE_SIMD float Largest(const float* vector, size_t n) {
  float largest = 0;
  for (size_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(vector[i]));
  return largest;
}

SLUICE_SIMD void Quantise(const float* vector, size_t n, float inverse, int8_t* out) {
  for (size_t i = 0; i < n; ++i) {
    const float steps = vector[i] * inverse;
    out[i] = static_cast<int8_t>(static_cast<int32_t>(steps + (steps < 0 ? -0.5F : 0.5F)));
  }
}

SLUICE_SIMD float SquaredDifference(const float* a, const int8_t* code, float scale, size_t n) {
  float sum[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) {
      const float d = a[i + j] - scale * static_cast<float>(code[i + j]);
      sum[j] += d * d;
    }
  }
  for (size_t j = 0; i + j < n; ++j) {
    const float d = a[i + j] - scale * static_cast<float>(code[i + j]);
    sum[j] += d * d;
  }
  return FoldLanes(sum);
}

SLUICE_SIMD float Dot(const float* a, const int8_t* code, size_t n) {
  float sum[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) sum[j] += a[i + j] * static_cast<float>(code[i + j]);
  }
  for (size_t j = 0; i + j < n; ++j) sum[j] += a[i + j] * static_cast<float>(code[i + j]);
  return FoldLanes(sum);
}

float Length(std::span<const float> vector) {
  return std::sqrt(DotProduct(vector.data(), vector.data(), vector.size()));
}

}  // namespace

CodedVector Encode(std::span<const float> vector, int8_t* out) {
  CodedVector coded{.components = out, .dimension = static_cast<uint32_t>(vector.size())};
  coded.scale = Largest(vector.data(), vector.size()) / kMostSteps;
  const float inverse = 1 / coded.scale;
  // Nothing but zeros, or beyond float's range.
  if (!std::isnormal(coded.scale) || !std::isnormal(inverse)) {
    std::fill_n(out, vector.size(), int8_t{0});
    coded.error = std::numeric_limits<float>::infinity();
    return coded;
  }
  Quantise(vector.data(), vector.size(), inverse, out);
  coded.norm = Length(vector);
  coded.error = std::sqrt(SquaredDifference(vector.data(), out, coded.scale, vector.size()));
  return coded;
}

NotNearerThan::NotNearerThan(v1::Metric metric, std::span<const float> query)
    : metric_(metric), query_(query), norm_(Length(query)) {}

float NotNearerThan::operator()(const CodedVector& vector) const {
  const float* const query = query_.data();
  const size_t n = query_.size();
  const float lengths = norm_ * vector.norm;
  float bound = 0;
  if (metric_ == v1::METRIC_L2) {
    const float away = std::sqrt(SquaredDifference(query, vector.components, vector.scale, n));
    const float least =
        away - vector.error - kRounding * (away + vector.error + norm_ + vector.norm);
    bound = std::isfinite(away) && least > 0 ? least * least * (1 - kRounding) : kNothingKnown;
  } else {
    const float dot = vector.scale * Dot(query, vector.components, n) + norm_ * vector.error +
                      kRounding * lengths;
    if (metric_ == v1::METRIC_IP) {
      bound = 1 - dot - kRounding * (1 + std::fabs(dot));
    } else {
      bound = std::isnormal(lengths) ? 1 - dot / lengths - kRounding : kNothingKnown;
    }
  }
  return std::isfinite(bound) && std::isfinite(vector.error) ? bound : kNothingKnown;
}

}  // namespace sluice

#include "common/segment/distance.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "common/base/check.h"
#include "common/segment/simd.h"

namespace sluice {
namespace {

// Below this, squares of components may have vanished from a sum of squares.
constexpr float kSmallNorm = 1e-20F;

SLUICE_SIMD float Dot(const float* a, const float* b, size_t n) {
  float sum[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) sum[j] += a[i + j] * b[i + j];
  }
  for (size_t j = 0; i + j < n; ++j) sum[j] += a[i + j] * b[i + j];
  return FoldLanes(sum);
}

// The dot product, and b's with itself.
SLUICE_SIMD float DotAndNorm(const float* a, const float* b, size_t n, float* norm) {
  float sum[kLanes] = {};
  float squares[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) sum[j] += a[i + j] * b[i + j];
    for (size_t j = 0; j < kLanes; ++j) squares[j] += b[i + j] * b[i + j];
  }
  for (size_t j = 0; i + j < n; ++j) sum[j] += a[i + j] * b[i + j];
  for (size_t j = 0; i + j < n; ++j) squares[j] += b[i + j] * b[i + j];
  *norm = FoldLanes(squares);
  return FoldLanes(sum);
}

SLUICE_SIMD float SquaredDifference(const float* a, const float* b, size_t n) {
  float sum[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) {
      const float d = a[i + j] - b[i + j];
      sum[j] += d * d;
    }
  }
  for (size_t j = 0; i + j < n; ++j) {
    const float d = a[i + j] - b[i + j];
    sum[j] += d * d;
  }
  return FoldLanes(sum);
}

// For components so large or small that float does not hold their squares.
double DotInDouble(const float* a, const float* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

double SquaredDifferenceInDouble(const float* a, const float* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i)
    sum += (double{a[i]} - double{b[i]}) * (double{a[i]} - double{b[i]});
  return sum;
}

float CosineDistance(double dot, double norm_a, double norm_b) {
  if (norm_a == 0 || norm_b == 0) return 1;
  return static_cast<float>(
      std::clamp(1 - dot / (std::sqrt(norm_a) * std::sqrt(norm_b)), 0.0, 2.0));
}

}  // namespace

DistanceTo::DistanceTo(v1::Metric metric, std::span<const float> query)
    : metric_(metric), query_(query), norm_(Dot(query.data(), query.data(), query.size())) {}

float DistanceTo::operator()(const float* vector) const {
  const float* query = query_.data();
  const size_t n = query_.size();
  if (metric_ == v1::METRIC_L2) {
    const float distance = SquaredDifference(query, vector, n);
    if (std::isfinite(distance)) return distance;
    return static_cast<float>(SquaredDifferenceInDouble(query, vector, n));
  }
  if (metric_ == v1::METRIC_IP) {
    const float dot = Dot(query, vector, n);
    if (std::isfinite(dot)) return 1 - dot;
    return static_cast<float>(1 - DotInDouble(query, vector, n));
  }
  float norm = 0;
  const float dot = DotAndNorm(query, vector, n, &norm);
  if (std::isfinite(dot) && std::isfinite(norm_) && std::isfinite(norm) && norm_ >= kSmallNorm &&
      norm >= kSmallNorm) {
    return CosineDistance(dot, norm_, norm);
  }
  return CosineDistance(DotInDouble(query, vector, n), DotInDouble(query, query, n),
                        DotInDouble(vector, vector, n));
}

float DotProduct(const float* a, const float* b, size_t n) { return Dot(a, b, n); }

float SquaredDistance(const float* a, const float* b, size_t n) {
  return SquaredDifference(a, b, n);
}

float Distance(v1::Metric metric, std::span<const float> a, std::span<const float> b) {
  SLUICE_CHECK(a.size() == b.size());
  return DistanceTo(metric, a)(b.data());
}

}  // namespace sluice

#include "common/segment/coded.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "common/segment/distance.h"
#include "common/segment/simd.h"

namespace sluice {
namespace {

// What rounding may add to any sum of up to 8,192 products, and to what is made of it, relative to
// the lengths that go in. Far more than it does.
constexpr float kRounding = 1e-5F;
constexpr uint64_t kMostSteps = 127;
// Below, squares of what is left beside a code leave float's range.
constexpr float kSmallNorm = 1e-15F;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

SLUICE_SIMD float Largest(const float* vector, size_t n) {
  float largest = 0;
  for (size_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(vector[i]));
  return largest;
}

SLUICE_SIMD void Quantise(const float* vector, size_t n, float inverse, int16_t* out) {
  for (size_t i = 0; i < n; ++i) {
    const float steps = vector[i] * inverse;
    out[i] = static_cast<int16_t>(static_cast<int32_t>(steps + (steps < 0 ? -0.5F : 0.5F)));
  }
}

SLUICE_SIMD float SquaredDifference(const float* a, const int16_t* code, float scale, size_t n) {
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

// Compilers know this very loop as an instruction.
SLUICE_SIMD int32_t Dot(const int16_t* a, const int8_t* b, size_t n) {
  int32_t sum = 0;
  for (size_t i = 0; i < n; ++i) sum += int32_t{a[i]} * int32_t{b[i]};
  return sum;
}

float Length(std::span<const float> vector) {
  return std::sqrt(DotProduct(vector.data(), vector.data(), vector.size()));
}

struct Code {
  std::vector<int16_t> components;
  float scale = 0;
  float norm = 0;
  // Infinite: nothing is known, and the components are zeros.
  float error = 0;
  uint64_t squares = 0;
};

Code CodeOf(std::span<const float> vector, float most_steps) {
  Code code{.components = std::vector<int16_t>(vector.size())};
  const float largest = Largest(vector.data(), vector.size());
  if (largest == 0) return code;
  code.scale = largest / most_steps;
  const float inverse = 1 / code.scale;
  code.norm = Length(vector);
  if (!std::isnormal(code.scale) || !std::isnormal(inverse) || code.norm < kSmallNorm) {
    code.error = kInfinity;
    return code;
  }
  Quantise(vector.data(), vector.size(), inverse, code.components.data());
  code.error = std::sqrt(
      SquaredDifference(vector.data(), code.components.data(), code.scale, vector.size()));
  for (const int64_t step : code.components) code.squares += static_cast<uint64_t>(step * step);
  return code;
}

// So that no sum of products with another code leaves 32 bits.
float MostStepsOfQuery(size_t dimension) {
  const uint64_t most = 0x7fffffff / (kMostSteps * std::max<uint64_t>(1, dimension));
  return static_cast<float>(std::min<uint64_t>(most, 0x7ffe));
}

}  // namespace

CodedVector Encode(std::span<const float> vector, int8_t* out) {
  const Code code = CodeOf(vector, static_cast<float>(kMostSteps));
  std::copy(code.components.begin(), code.components.end(), out);
  return {.components = out,
          .dimension = static_cast<uint32_t>(vector.size()),
          .scale = code.scale,
          .norm = code.norm,
          .error = code.error,
          .squares = static_cast<uint32_t>(code.squares)};
}

NotNearerThan::NotNearerThan(v1::Metric metric, std::span<const float> query) : metric_(metric) {
  Code code = CodeOf(query, MostStepsOfQuery(query.size()));
  components_ = std::move(code.components);
  scale_ = code.scale;
  norm_ = code.norm;
  error_ = code.error;
  squares_ = double{scale_} * scale_ * static_cast<double>(code.squares);
}

float NotNearerThan::operator()(const CodedVector& vector) const {
  // Of the codes.
  const double dot = double{scale_} * vector.scale *
                     Dot(components_.data(), vector.components, components_.size());
  const float lengths = norm_ * vector.norm;
  float bound = 0;
  if (metric_ == v1::METRIC_L2) {
    const double squares = double{vector.scale} * vector.scale * vector.squares;
    const auto squared = static_cast<float>(squares_ + squares - 2 * dot);
    const float away = std::sqrt(std::max(squared, 0.0F));
    const float errors = error_ + vector.error;
    const float least = away - errors - kRounding * (away + errors + norm_ + vector.norm);
    bound = least > 0 ? least * least * (1 - kRounding) : -kInfinity;
  } else {
    const float most = static_cast<float>(dot) + (norm_ + error_) * vector.error +
                       error_ * vector.norm + kRounding * lengths;
    if (metric_ == v1::METRIC_IP) {
      bound = 1 - most - kRounding * (1 + std::fabs(most));
    } else {
      bound = std::isnormal(lengths) ? 1 - most / lengths - kRounding : -kInfinity;
    }
  }
  return std::isfinite(bound) ? bound : -kInfinity;
}

}  // namespace sluice

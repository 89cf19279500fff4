#include "common/segment/distance.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace sluice {
namespace {

constexpr v1::Metric kMetrics[] = {v1::METRIC_L2, v1::METRIC_COSINE, v1::METRIC_IP};

std::vector<float> RandomVector(std::mt19937& random, size_t n) {
  std::normal_distribution<float> normal;
  std::vector<float> v(n);
  for (float& x : v) x = normal(random);
  return v;
}

double Expected(v1::Metric metric, const std::vector<float>& a, const std::vector<float>& b) {
  double dot = 0, l2 = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = a[i], y = b[i];
    dot += x * y;
    l2 += (x - y) * (x - y);
    aa += x * x;
    bb += y * y;
  }
  if (metric == v1::METRIC_L2) return l2;
  if (metric == v1::METRIC_IP) return 1 - dot;
  return aa == 0 || bb == 0 ? 1 : 1 - dot / std::sqrt(aa * bb);
}

TEST(Distance, MatchesItsDefinitionInEveryDimensionUpToAThousand) {
  std::mt19937 random(1);
  for (size_t n = 1; n <= 1000; ++n) {
    const auto a = RandomVector(random, n);
    const auto b = RandomVector(random, n);
    for (const v1::Metric metric : kMetrics) {
      const double expected = Expected(metric, a, b);
      EXPECT_NEAR(Distance(metric, a, b), expected, 1e-5 * static_cast<double>(n))
          << n << " " << metric;
    }
  }
}

TEST(Distance, HasTheBitsOfTheSameSumsDoneOneByOne) {
  std::mt19937 random(2);
  for (const size_t n : {1u, 63u, 64u, 65u, 384u, 1000u}) {
    const auto a = RandomVector(random, n);
    const auto b = RandomVector(random, n);
    std::array<float, 64> sum{};
    for (size_t i = 0; i < n; ++i) {
      const volatile float square = (a[i] - b[i]) * (a[i] - b[i]);
      sum[i % 64] += square;
    }
    for (size_t width = 32; width > 0; width /= 2) {
      for (size_t i = 0; i < width; ++i) sum[i] += sum[i + width];
    }
    EXPECT_EQ(Distance(v1::METRIC_L2, a, b), sum[0]) << n;
  }
}

TEST(Distance, IsSymmetric) {
  std::mt19937 random(3);
  const auto a = RandomVector(random, 300);
  const auto b = RandomVector(random, 300);
  for (const v1::Metric metric : kMetrics)
    EXPECT_EQ(Distance(metric, a, b), Distance(metric, b, a));
}

TEST(Distance, OfZerosIsOneByCosine) {
  const std::vector<float> zero(5), one(5, 1.0F);
  EXPECT_EQ(Distance(v1::METRIC_COSINE, zero, one), 1.0F);
  EXPECT_EQ(Distance(v1::METRIC_COSINE, one, zero), 1.0F);
  EXPECT_EQ(Distance(v1::METRIC_COSINE, zero, zero), 1.0F);
}

TEST(Distance, ByCosineLooksAtDirectionsOnlyHoweverLongOrShort) {
  for (const float length : {1e-44F, 1e-30F, 1e-12F, 1.0F, 1e15F, 3e38F}) {
    const std::vector<float> a(100, length), opposite(100, -length), unit(100, 1.0F);
    EXPECT_NEAR(Distance(v1::METRIC_COSINE, a, unit), 0, 1e-6) << length;
    EXPECT_NEAR(Distance(v1::METRIC_COSINE, unit, opposite), 2, 1e-6) << length;
  }
}

TEST(Distance, BeyondTheRangeOfFloatIsInfiniteAndNeverNan) {
  const float big = std::numeric_limits<float>::max();
  const std::vector<float> a(10, big), b(10, -big);
  std::vector<float> mixed(10, big);
  for (size_t i = 0; i < mixed.size(); i += 2) mixed[i] = -big;
  EXPECT_EQ(Distance(v1::METRIC_L2, a, b), std::numeric_limits<float>::infinity());
  EXPECT_EQ(Distance(v1::METRIC_IP, a, a), -std::numeric_limits<float>::infinity());
  EXPECT_EQ(Distance(v1::METRIC_IP, a, b), std::numeric_limits<float>::infinity());
  EXPECT_EQ(Distance(v1::METRIC_IP, a, mixed), 1.0F);
  EXPECT_EQ(Distance(v1::METRIC_COSINE, a, mixed), 1.0F);
}

}  // namespace
}  // namespace sluice

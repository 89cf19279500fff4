#include "common/segment/coded.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "common/segment/distance.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

constexpr v1::Metric kMetrics[] = {v1::METRIC_L2, v1::METRIC_COSINE, v1::METRIC_IP};

std::vector<float> RandomVector(std::mt19937_64& random, size_t dimension, float size) {
  std::normal_distribution<float> normal;
  std::vector<float> vector(dimension);
  for (float& x : vector) x = size * normal(random);
  return vector;
}

TEST(CodedTest, ABoundIsNeverMoreThanTheDistance) {
  std::mt19937_64 random(testing::TestSeed());
  for (const size_t dimension : {1, 3, 63, 64, 65, 384, 1000, 8192}) {
    for (const float size :
         {1e-30F, 1e-22F, 1e-19F, 1e-15F, 1e-12F, 1e-3F, 1.0F, 1e6F, 1e18F, 1e30F}) {
      for (int round = 0; round < 20; ++round) {
        const std::vector<float> query = RandomVector(random, dimension, round % 3 ? size : 1);
        std::vector<float> vector = RandomVector(random, dimension, size);
        // Also those that are all but the query itself.
        if (round % 4 == 1) vector = query;
        if (round % 4 == 2) {
          for (size_t i = 0; i < dimension; ++i) vector[i] = query[i] * 1.0001F;
        }
        std::vector<int8_t> code(dimension);
        const CodedVector coded = Encode(vector, code.data());
        for (const v1::Metric metric : kMetrics) {
          EXPECT_LE(NotNearerThan(metric, query)(coded), Distance(metric, query, vector))
              << v1::Metric_Name(metric) << ", dimension " << dimension << ", size " << size;
        }
      }
    }
  }
}

TEST(CodedTest, ABoundIsNearlyTheDistance) {
  std::mt19937_64 random(testing::TestSeed());
  for (const v1::Metric metric : kMetrics) {
    for (int round = 0; round < 50; ++round) {
      const std::vector<float> query = RandomVector(random, 384, 1);
      const std::vector<float> vector = RandomVector(random, 384, 1);
      std::vector<int8_t> code(vector.size());
      const float distance = Distance(metric, query, vector);
      // An inner product is as wrong as its factors are long.
      const float scale = metric == v1::METRIC_IP ? 384 : std::fabs(distance);
      EXPECT_GT(NotNearerThan(metric, query)(Encode(vector, code.data())),
                distance - 0.03F * scale);
    }
  }
}

TEST(CodedTest, SumsOfTheLargestProductsAreBounded) {
  for (const size_t dimension : {1, 384, 2000, 8192}) {
    const std::vector<float> query(dimension, 1);
    for (const float value : {1.0F, -1.0F}) {
      const std::vector<float> vector(dimension, value);
      std::vector<int8_t> code(dimension);
      const CodedVector coded = Encode(vector, code.data());
      for (const v1::Metric metric : kMetrics) {
        const float distance = Distance(metric, query, vector);
        const float bound = NotNearerThan(metric, query)(coded);
        EXPECT_LE(bound, distance) << dimension;
        // Nothing is known of a distance that is about as small as what is left beside the codes.
        if (distance > 1) {
          EXPECT_GT(bound, 0.98F * distance) << dimension;
        }
      }
    }
  }
}

TEST(CodedTest, ZerosAndWhatLeavesFloatsRangeAreBoundedByNothing) {
  const std::vector<float> query(8, 1);
  for (const float value : {0.0F, 1e-44F, 3e38F}) {
    const std::vector<float> vector(8, value);
    std::vector<int8_t> code(8);
    for (const v1::Metric metric : kMetrics) {
      EXPECT_LE(NotNearerThan(metric, query)(Encode(vector, code.data())),
                Distance(metric, query, vector));
      EXPECT_LE(NotNearerThan(metric, vector)(Encode(query, code.data())),
                Distance(metric, vector, query));
    }
  }
}

}  // namespace
}  // namespace sluice

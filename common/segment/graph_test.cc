#include "common/segment/graph.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <utility>

#include "common/segment/test_support.h"

namespace sluice {
namespace {

constexpr v1::Metric kMetrics[] = {v1::METRIC_L2, v1::METRIC_COSINE, v1::METRIC_IP};

absl::Status GoOn() { return absl::OkStatus(); }
bool Any(uint32_t) { return true; }

// Vectors around some centres, as those of texts lie; or without any, all over.
class Vectors {
 public:
  Vectors(uint32_t count, uint32_t dimension, uint32_t centres) : dimension_(dimension) {
    std::vector<float> middle(size_t{centres} * dimension);
    for (float& x : middle) x = normal_(random_);
    for (uint32_t i = 0; i < count; ++i) {
      const size_t centre = centres == 0 ? 0 : random_() % centres;
      for (uint32_t j = 0; j < dimension; ++j) {
        values_.push_back(centres == 0 ? normal_(random_)
                                       : middle[centre * dimension + j] + 0.4F * normal_(random_));
      }
    }
  }
  std::span<const float> First(size_t count) const {
    return std::span(values_).first(count * dimension_);
  }
  std::span<const float> At(size_t i) const {
    return std::span(values_).subspan(i * dimension_, dimension_);
  }

 private:
  const uint32_t dimension_;
  std::mt19937 random_{7};
  std::normal_distribution<float> normal_;
  std::vector<float> values_;
};

std::set<uint32_t> Nearest(std::vector<Graph::Hit> hits, size_t k) {
  std::ranges::sort(hits, {}, &Graph::Hit::distance);
  std::set<uint32_t> nearest;
  for (size_t i = 0; i < std::min(k, hits.size()); ++i) nearest.insert(hits[i].vector);
  return nearest;
}

class GraphOf {
 public:
  static constexpr uint32_t kCount = 4000;
  static constexpr uint32_t kQueries = 100;
  static constexpr uint32_t kDimension = 24;

  explicit GraphOf(v1::Metric metric, uint64_t max_copied_bytes = kMaxCopiedBytes)
      : metric_(metric),
        vectors_(kCount + kQueries, kDimension, 40),
        section_(Must(
            BuildGraph(metric, kDimension, vectors_.First(kCount), 2, GoOn, max_copied_bytes))),
        graph_(Graph::Parse(section_, kCount).value()) {}

  const Graph& graph() const { return graph_; }
  std::string section() const { return section_; }
  std::span<const float> Query(uint32_t i) const { return vectors_.At(kCount + i); }
  // With the graph's breadth.
  std::optional<std::vector<Graph::Hit>> Search(uint32_t query, Graph::Limits limits,
                                                absl::FunctionRef<bool(uint32_t)> allowed) const {
    limits.breadth = graph_.breadth();
    return graph_.Search(DistanceTo(metric_, Query(query)), vectors_.First(kCount).data(),
                         kDimension, limits, allowed);
  }
  std::vector<Graph::Hit> LookAtAll(uint32_t query,
                                    absl::FunctionRef<bool(uint32_t)> allowed) const {
    const DistanceTo distance_to(metric_, Query(query));
    std::vector<Graph::Hit> hits;
    for (uint32_t i = 0; i < kCount; ++i) {
      if (allowed(i)) hits.push_back({distance_to(vectors_.At(i).data()), i});
    }
    return hits;
  }
  // Of the ten nearest, over all queries.
  double Recall(absl::FunctionRef<bool(uint32_t)> allowed) const {
    size_t found = 0;
    for (uint32_t q = 0; q < kQueries; ++q) {
      const auto truth = Nearest(LookAtAll(q, allowed), 10);
      for (const uint32_t i : Nearest(Search(q, {}, allowed).value(), 10)) {
        found += truth.contains(i);
      }
    }
    return static_cast<double>(found) / (10 * kQueries);
  }

 private:
  const v1::Metric metric_;
  const Vectors vectors_;
  const std::string section_;
  const Graph graph_;
};

TEST(Graph, FindsNearlyAllNeighboursOfVectorsThatItDoesNotHaveByEveryMetric) {
  for (const v1::Metric metric : kMetrics) {
    SCOPED_TRACE(v1::Metric_Name(metric));
    EXPECT_GE(GraphOf(metric).Recall(Any), 0.95);
    EXPECT_GE(GraphOf(metric, /*max_copied_bytes=*/0).Recall(Any), 0.95);
  }
}

TEST(Graph, FindsNearlyAllOfThoseThatAreAllowedAndNoOthers) {
  const GraphOf of(v1::METRIC_L2);
  for (const uint32_t one_in : {2U, 20U}) {
    const auto allowed = [&](uint32_t i) { return i % one_in == 0; };
    EXPECT_GE(of.Recall(allowed), 0.95);
    const auto hits = of.Search(0, {}, allowed);
    for (const Graph::Hit& hit : *hits) {
      EXPECT_TRUE(allowed(hit.vector));
    }
  }
}

TEST(Graph, FindsAllWhenFewerAreAllowedThanItsBreadth) {
  const GraphOf of(v1::METRIC_COSINE);
  const auto allowed = [](uint32_t i) { return i % 1000 == 3; };
  EXPECT_EQ(Nearest(of.Search(0, {}, allowed).value(), 10), Nearest(of.LookAtAll(0, allowed), 10));
}

// Who is asked about shows how far a search went.
TEST(Graph, FindsWhatLiesWithinARadiusForLess) {
  const GraphOf of(v1::METRIC_L2);
  size_t asked = 0;
  const auto count = [&](uint32_t) { return ++asked > 0; };
  size_t asked_without = 0;
  size_t asked_within = 0;
  size_t found = 0;
  for (uint32_t q = 0; q < GraphOf::kQueries; ++q) {
    std::vector<Graph::Hit> all = of.LookAtAll(q, Any);
    std::ranges::sort(all, {}, &Graph::Hit::distance);
    asked = 0;
    of.Search(q, {}, count);
    asked_without += std::exchange(asked, 0);
    const auto hits = of.Search(q, {.radius = all[4].distance}, count).value();
    asked_within += asked;
    const std::set<uint32_t> nearest = Nearest(hits, 5);
    for (size_t i = 0; i < 5; ++i) found += nearest.contains(all[i].vector);
    // Nothing lies within.
    const Graph::Limits limits{.breadth = of.graph().breadth(), .radius = all[0].distance / 2};
    EXPECT_EQ(of.Search(q, limits, Any)->size(), Graph::LeastHits(limits));
  }
  EXPECT_GE(found, 0.95 * 5 * GraphOf::kQueries);
  EXPECT_LT(2 * asked_within, asked_without);
}

TEST(Graph, GivesUpOnceItLookedAtAsManyVectorsAsItMay) {
  const GraphOf of(v1::METRIC_L2);
  EXPECT_FALSE(of.Search(0, {.max_distances = 100}, [](uint32_t) { return false; }));
}

TEST(Graph, OfVectorsThatHaveNoNeighbourhoodsIsNotMade) {
  // Many dimensions at random: all are about as far from each other.
  const Vectors vectors(1000, 256, 0);
  EXPECT_EQ(Must(BuildGraph(v1::METRIC_L2, 256, vectors.First(1000), 2, GoOn)), "");
}

TEST(Graph, IsNotMadeOnceTheCallerSaysStop) {
  const Vectors vectors(3000, 8, 10);
  int asked = 0;
  const auto built = BuildGraph(v1::METRIC_L2, 8, vectors.First(3000), 2, [&] {
    return ++asked < 10 ? absl::OkStatus() : absl::CancelledError("stop");
  });
  EXPECT_EQ(built.status(), absl::CancelledError("stop"));
}

TEST(Graph, OfEqualVectorsAndOfExtremeOnesAnswers) {
  constexpr uint32_t kExtreme = 600;
  std::vector<float> values(kExtreme * 4, 1.0F);
  for (size_t i = 0; i < 300; ++i) values[i * 4] = i % 2 == 0 ? 3e38F : -3e38F;
  for (size_t i = 300; i < 350; ++i) std::fill_n(values.begin() + i * 4, 4, 0.0F);
  for (const v1::Metric metric : kMetrics) {
    const auto section = Must(BuildGraph(metric, 4, values, 1, GoOn));
    if (section.empty()) continue;
    const auto graph = Graph::Parse(section, kExtreme);
    ASSERT_TRUE(graph);
    const DistanceTo distance_to(metric, std::span(values).last(4));
    EXPECT_GE(graph->Search(distance_to, values.data(), 4, {.breadth = 10}, Any)->size(), 10u);
  }
}

// Four vectors on a line, at 0, 1, 2 and 3; two of them on the upper level.
std::string GoldenSection() {
  const uint32_t numbers[] = {
      // Version, metric (l2), links, breadth, entry, levels.
      1, 1, 1, 48, 3, 1,
      // Lowest level: each a count and room for two.
      1, 1, 0, 2, 0, 2, 2, 1, 3, 1, 2, 0,
      // Upper level: how many nodes, which, and for each a count and room for one.
      2, 0, 3, 1, 3, 1, 0};
  return {reinterpret_cast<const char*>(numbers), sizeof(numbers)};
}

TEST(Graph, OfVersion1IsRead) {
  const std::string section = GoldenSection();
  const auto graph = Graph::Parse(section, 4);
  ASSERT_TRUE(graph);
  EXPECT_EQ(graph->metric(), v1::METRIC_L2);
  EXPECT_EQ(graph->breadth(), 48u);
  const float vectors[] = {0, 1, 2, 3};
  const float query[] = {0.2F};
  const auto hits =
      graph->Search(DistanceTo(v1::METRIC_L2, query), vectors, 1, {.breadth = 2}, Any);
  EXPECT_EQ(Nearest(*hits, 2), (std::set<uint32_t>{0, 1}));
}

TEST(Graph, CutShortOrTooLongOrWithALinkToNowhereIsNone) {
  const std::string good = GoldenSection();
  EXPECT_FALSE(Graph::Parse(good, 3));
  EXPECT_FALSE(Graph::Parse(good + std::string(4, '\0'), 4));
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(Graph::Parse(good.substr(0, size), 4)) << size;
  }
  // Whatever is changed, what is read stays within the section and the vectors.
  const float vectors[] = {0, 1, 2, 3};
  const float query[] = {0.2F};
  for (size_t at = 0; at < good.size(); ++at) {
    for (const uint8_t flip : {0x01, 0x04, 0x80, 0xff}) {
      std::string bad = good;
      bad[at] = static_cast<char>(static_cast<uint8_t>(bad[at]) ^ flip);
      if (const auto graph = Graph::Parse(bad, 4)) {
        graph->Search(DistanceTo(v1::METRIC_L2, query), vectors, 1, {.breadth = 2}, Any);
      }
    }
  }
}

TEST(GraphPays, FromFewerVectorsOnTheMoreComponentsTheyHave) {
  EXPECT_FALSE(GraphPays(19'999, 32));
  EXPECT_TRUE(GraphPays(20'000, 32));
  EXPECT_FALSE(GraphPays(3'076, 384));
  EXPECT_TRUE(GraphPays(3'077, 384));
  EXPECT_FALSE(GraphPays(816, 1'536));
  EXPECT_TRUE(GraphPays(817, 1'536));
}

}  // namespace
}  // namespace sluice

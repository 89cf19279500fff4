#include "common/segment/segment_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "common/segment/merge.h"
#include "common/segment/test_support.h"

namespace sluice {
namespace {

using Place = SegmentSet::Place;

constexpr v1::Metric kMetrics[] = {v1::METRIC_L2, v1::METRIC_COSINE, v1::METRIC_IP};

bool SkipNone(Place) { return false; }

std::vector<std::string> IdsOf(const SegmentSet& set,
                               const std::vector<SegmentSet::Neighbour>& neighbours) {
  std::vector<std::string> ids;
  ids.reserve(neighbours.size());
  for (const auto& n : neighbours) ids.push_back(Must(set.ReadRow(n.place)).id);
  return ids;
}

// A collection as a map, next to the same one as segments.
class ModelledCollection {
 public:
  explicit ModelledCollection(uint64_t seed) : random_(seed) {}

  void Compact() {
    std::map<std::string, std::optional<Row>> changes;
    const size_t count = 1 + Below(Below(8) == 0 ? 300 : 20);
    for (size_t i = 0; i < count; ++i) {
      const std::string id = "id" + std::to_string(Below(400));
      if (Below(3) == 0) {
        changes[id] = std::nullopt;
        continue;
      }
      Row row = MakeRow(id, ++seq_id_);
      if (Below(4) != 0) row.vector = RandomVector();
      changes[id] = std::move(row);
    }
    std::vector<Row> rows;
    std::vector<std::string> deleted;
    for (const auto& [id, row] : changes) {
      row ? rows.push_back(*row) : deleted.push_back(id);
      if (row) {
        model_[id] = *row;
      } else {
        model_.erase(id);
      }
    }
    segments_.push_back(OpenSegment(WriteSegment(folder_, kDimension, rows, deleted)));
  }

  void Merge() {
    if (segments_.empty()) return;
    const size_t first = Below(segments_.size());
    const size_t last = first + 1 + Below(segments_.size() - first);
    MergeRange(first, last);
  }

  void MergeRange(size_t first, size_t last) {
    WrittenSegment merged{.path = folder_.NewPath(), .info = {}};
    const std::span inputs(segments_.begin() + first, segments_.begin() + last);
    // Dead entries are left out or kept: it makes no difference.
    std::span<const std::shared_ptr<const Segment>> newer = std::span(segments_).subspan(last);
    if (Below(2) == 0) newer = {};
    const auto info = Must(MergeSegments(
        inputs,
        {.older = std::span(segments_).first(first), .newer = newer, .dimension = kDimension},
        merged.path));
    EXPECT_EQ(std::filesystem::exists(merged.path), info.has_value());
    segments_.erase(segments_.begin() + first, segments_.begin() + last);
    if (!info) return;
    merged.info = *info;
    segments_.insert(segments_.begin() + first, OpenSegment(merged));
  }

  // Sometimes builds the view on an earlier one, sometimes anew.
  void Check() {
    if (Below(4) == 0) view_ = nullptr;
    view_ = SegmentSet::Build(segments_, view_.get());
    ASSERT_EQ(view_->live_count(), model_.size());
    CheckFind();
    CheckVisit();
    for (const v1::Metric metric : kMetrics) CheckSearch(metric);
  }

  void CheckFind() {
    for (int i = 0; i < 400; ++i) {
      const std::string id = "id" + std::to_string(i);
      const auto place = view_->Find(HashOf(id));
      const auto expected = model_.find(id);
      ASSERT_EQ(place.has_value(), expected != model_.end()) << id;
      if (place) ExpectSameRow(Must(view_->ReadRow(*place)), expected->second);
    }
  }

  void CheckVisit() {
    std::set<IdHash> expected;
    for (const auto& [id, row] : model_) expected.insert(HashOf(id));
    // In pages, as Get does.
    const size_t page = 1 + Below(100);
    std::vector<IdHash> visited;
    for (;;) {
      const size_t before = visited.size();
      std::optional<IdHash> after;
      if (!visited.empty()) after = visited.back();
      view_->VisitLive(after, [&](const IdHash& id, Place place) {
        EXPECT_EQ(view_->Find(id), place);
        visited.push_back(id);
        return visited.size() < before + page;
      });
      if (visited.size() < before + page) break;
    }
    ASSERT_EQ(visited, std::vector<IdHash>(expected.begin(), expected.end()));
  }

  void CheckSearch(v1::Metric metric) {
    const std::vector<float> query = RandomVector();
    const std::string skipped = "id" + std::to_string(Below(400));
    std::vector<std::pair<float, IdHash>> expected;
    for (const auto& [id, row] : model_) {
      if (row.vector.empty() || id == skipped) continue;
      expected.emplace_back(Distance(metric, query, row.vector), HashOf(id));
    }
    std::ranges::sort(expected);
    const size_t k = 1 + Below(30);
    if (expected.size() > k) expected.resize(k);
    const auto skipped_place = view_->Find(HashOf(skipped));
    std::vector<std::pair<float, IdHash>> found;
    for (const auto& n :
         view_->Search(metric, query, k, [&](Place p) { return p == skipped_place; })) {
      EXPECT_EQ(view_->Find(n.id), n.place);
      found.emplace_back(n.distance, n.id);
    }
    ASSERT_EQ(found, expected);
  }

  size_t segments() const { return segments_.size(); }
  size_t entries() const {
    size_t total = 0;
    for (const auto& s : segments_) total += s->entries().size();
    return total;
  }
  size_t size() const { return model_.size(); }

 private:
  static constexpr uint32_t kDimension = 3;

  size_t Below(size_t n) { return random_() % n; }
  // Of few values, so that there are equal distances.
  std::vector<float> RandomVector() {
    std::vector<float> v(kDimension);
    for (float& x : v) x = static_cast<float>(Below(5)) - 2;
    return v;
  }

  std::mt19937_64 random_;
  TestFolder folder_;
  uint64_t seq_id_ = 0;
  std::map<std::string, Row> model_;
  std::vector<std::shared_ptr<const Segment>> segments_;
  std::shared_ptr<const SegmentSet> view_;
};

TEST(SegmentSet, AnswersAsAMapDoesThroughRandomCompactionsAndMerges) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 8; ++round) {
    ModelledCollection collection(random());
    for (int step = 0; step < 25; ++step) {
      random() % 3 == 0 ? collection.Merge() : collection.Compact();
      if (random() % 2 == 0) collection.Check();
      if (testing::Test::HasFailure()) return;
    }
  }
}

TEST(SegmentSet, AMergeOfAllLeavesTheLiveRowsAlone) {
  ModelledCollection collection(7);
  for (int i = 0; i < 10; ++i) collection.Compact();
  EXPECT_GT(collection.entries(), collection.size());
  collection.MergeRange(0, collection.segments());
  EXPECT_EQ(collection.segments(), 1u);
  EXPECT_EQ(collection.entries(), collection.size());
  collection.Check();
}

TEST(SegmentSet, OfNoSegmentsIsEmpty) {
  const auto set = SegmentSet::Build({}, nullptr);
  EXPECT_EQ(set->live_count(), 0u);
  EXPECT_FALSE(set->Find(HashOf("a")));
  set->VisitLive(std::nullopt, [](const IdHash&, Place) { return ADD_FAILURE(), true; });
  EXPECT_TRUE(set->Search(v1::METRIC_L2, std::vector<float>{1}, 10, SkipNone).empty());
}

TEST(SegmentSet, TheNewestSegmentDecidesAnId) {
  TestFolder folder;
  const auto first =
      OpenSegment(WriteSegment(folder, 1, {MakeRow("a", 1, {1}), MakeRow("b", 2, {2})}));
  const auto second = OpenSegment(WriteSegment(folder, 1, {MakeRow("a", 3, {3})}, {"b"}));
  const auto third = OpenSegment(WriteSegment(folder, 1, {MakeRow("b", 4, {4})}));
  const auto two = SegmentSet::Build({first, second}, nullptr);
  EXPECT_EQ(two->live_count(), 1u);
  EXPECT_FALSE(two->Find(HashOf("b")));
  const auto three = SegmentSet::Build({first, second, third}, two.get());
  EXPECT_EQ(three->live_count(), 2u);
  EXPECT_EQ(three->Vector(three->Find(HashOf("b")).value())[0], 4);
  // The earlier view is as it was.
  EXPECT_EQ(two->live_count(), 1u);
}

TEST(SegmentSet, AViewBuiltOnAnEarlierOneSeesWhatWasSkippedBetweenThem) {
  TestFolder folder;
  const auto a =
      OpenSegment(WriteSegment(folder, 1, {MakeRow("a", 1), MakeRow("b", 2), MakeRow("c", 3)}));
  const auto b = OpenSegment(WriteSegment(folder, 1, {MakeRow("b", 4)}));
  const auto c = OpenSegment(WriteSegment(folder, 1, {}, {"c"}));
  const auto before = SegmentSet::Build({a, b}, nullptr);
  // b and c were merged into one before the reader looked again.
  WrittenSegment merged{.path = folder.NewPath(), .info = {}};
  const std::shared_ptr<const Segment> inputs[] = {b, c};
  const std::shared_ptr<const Segment> older[] = {a};
  merged.info = *Must(MergeSegments(inputs, {.older = older, .dimension = 1}, merged.path));
  const auto after = SegmentSet::Build({a, OpenSegment(merged)}, before.get());
  EXPECT_EQ(after->live_count(), 2u);
  EXPECT_FALSE(after->Find(HashOf("c")));
}

TEST(SegmentSet, EqualDistancesAreOrderedAndCutByIdHashHoweverRowsLie) {
  TestFolder folder;
  std::vector<Row> rows;
  for (uint64_t i = 0; i < 20; ++i)
    rows.push_back(MakeRow("id" + std::to_string(i), i + 1, {1, 1}));
  const auto together = SegmentSet::Build({OpenSegment(WriteSegment(folder, 2, rows))}, nullptr);
  std::vector<std::shared_ptr<const Segment>> one_each;
  one_each.reserve(rows.size());
  for (const Row& row : rows) one_each.push_back(OpenSegment(WriteSegment(folder, 2, {row})));
  const auto apart = SegmentSet::Build(one_each, nullptr);

  std::ranges::sort(rows, {}, [](const Row& row) { return HashOf(row.id); });
  std::vector<std::string> expected;
  for (size_t i = 0; i < 5; ++i) expected.push_back(rows[i].id);
  const std::vector<float> query = {0, 0};
  for (const auto& set : {together, apart}) {
    EXPECT_EQ(IdsOf(*set, set->Search(v1::METRIC_L2, query, 5, SkipNone)), expected);
  }
}

TEST(SegmentSet, SearchLeavesOutRowsWithoutVectorAndQueriesOfAnotherDimension) {
  TestFolder folder;
  const auto set = SegmentSet::Build(
      {OpenSegment(WriteSegment(folder, 0, {MakeRow("a", 1)})),
       OpenSegment(WriteSegment(folder, 2, {MakeRow("b", 2), MakeRow("c", 3, {1, 2})}))},
      nullptr);
  const std::vector<float> query = {0, 0};
  EXPECT_EQ(IdsOf(*set, set->Search(v1::METRIC_L2, query, 5, SkipNone)),
            std::vector<std::string>{"c"});
  EXPECT_TRUE(set->Search(v1::METRIC_L2, std::vector<float>{0}, 5, SkipNone).empty());
  EXPECT_TRUE(set->Search(v1::METRIC_L2, query, 0, SkipNone).empty());
}

// Rows around 30 centres.
Row ClusteredRow(std::mt19937& random, const std::string& id, uint64_t seq_id,
                 uint32_t dimension = 16, uint32_t first_cluster = 0) {
  std::normal_distribution<float> near(0, 0.4F);
  std::normal_distribution<float> far;
  std::mt19937 centre(first_cluster + random() % 30);
  Row row = MakeRow(id, seq_id);
  for (uint32_t i = 0; i < dimension; ++i) {
    row.vector.push_back(far(centre) + near(random));
  }
  return row;
}

std::shared_ptr<const Segment> SegmentWithGraph(TestFolder& folder, v1::Metric metric,
                                                const std::vector<Row>& rows,
                                                const std::vector<std::string>& deleted = {}) {
  const std::shared_ptr<const Segment> flat[] = {
      OpenSegment(WriteSegment(folder, 16, rows, deleted))};
  WrittenSegment merged{.path = folder.NewPath(), .info = {}};
  merged.info = *Must(MergeSegments(
      flat, {.dimension = 16, .graph = {.metric = metric, .from_vectors = 500}}, merged.path));
  EXPECT_TRUE(merged.info.graph_considered());
  auto segment = OpenSegment(merged);
  EXPECT_NE(segment->graph(), nullptr);
  return segment;
}

TEST(SegmentSet, AMergedSegmentHasAGraphWhereThatPays) {
  TestFolder folder;
  const auto has_graph = [&](int count, uint32_t dimension) {
    std::mt19937 random(5);
    std::vector<Row> rows;
    rows.reserve(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) {
      rows.push_back(ClusteredRow(random, "id" + std::to_string(i), i + 1, dimension));
    }
    const std::shared_ptr<const Segment> flat[] = {
        OpenSegment(WriteSegment(folder, dimension, rows, {}))};
    WrittenSegment merged{.path = folder.NewPath(), .info = {}};
    merged.info = *Must(MergeSegments(
        flat, {.dimension = dimension, .graph = {.metric = v1::METRIC_L2}}, merged.path));
    EXPECT_TRUE(merged.info.graph_considered());
    return OpenSegment(merged)->graph() != nullptr;
  };
  EXPECT_TRUE(has_graph(3'077, 384));
  EXPECT_FALSE(has_graph(3'076, 384));
}

TEST(SegmentSet, FindsNearlyAllNeighboursByGraphAfterHeavyUpdatesAndDeletes) {
  TestFolder folder;
  std::mt19937 random(3);
  constexpr int kIds = 4000;
  std::vector<Row> rows;
  uint64_t seq_id = 0;
  for (int i = 0; i < kIds; ++i) {
    rows.push_back(ClusteredRow(random, "id" + std::to_string(i), ++seq_id));
    if (i % 10 == 0) rows.back().vector.clear();
  }
  std::vector<std::shared_ptr<const Segment>> segments = {
      SegmentWithGraph(folder, v1::METRIC_COSINE, rows, {"never there"})};

  // Half of the ids get another vector, a fifth go.
  std::vector<Row> updates;
  std::vector<std::string> deleted;
  for (int i = 0; i < kIds; ++i) {
    const uint32_t dice = random() % 10;
    const std::string id = "id" + std::to_string(i);
    if (dice < 5) {
      updates.push_back(ClusteredRow(random, id, ++seq_id));
    } else if (dice < 7) {
      deleted.push_back(id);
    }
  }
  segments.push_back(OpenSegment(WriteSegment(folder, 16, updates, deleted)));
  const auto set = SegmentSet::Build(segments, nullptr);

  size_t found = 0;
  constexpr int kQueries = 100;
  for (int q = 0; q < kQueries; ++q) {
    const std::vector<float> query = ClusteredRow(random, "", 0).vector;
    const auto skip = [](Place place) { return place.row % 7 == 0; };
    const auto nearest = set->Search(v1::METRIC_COSINE, query, 10, skip);
    std::vector<std::pair<float, IdHash>> truth;
    set->VisitLive(std::nullopt, [&](const IdHash& id, Place place) {
      const auto vector = set->Vector(place);
      if (!vector.empty() && !skip(place)) {
        truth.emplace_back(Distance(v1::METRIC_COSINE, query, vector), id);
      }
      return true;
    });
    std::ranges::sort(truth);
    truth.resize(10);
    for (const auto& neighbour : nearest) {
      EXPECT_FALSE(skip(neighbour.place));
      EXPECT_EQ(set->Find(neighbour.id), neighbour.place);
      found += std::ranges::count(truth, std::pair(neighbour.distance, neighbour.id));
    }
  }
  EXPECT_GE(found, 0.95 * 10 * kQueries);
  // Of another metric than the graph's: exact.
  const std::vector<float> query = ClusteredRow(random, "", 0).vector;
  EXPECT_EQ(set->Search(v1::METRIC_L2, query, 4000, SkipNone).size(),
            set->Search(v1::METRIC_COSINE, query, 4000, SkipNone).size());
}

// What came last is of other things, as it often is: all neighbours of some queries lie in the
// small segments.
TEST(SegmentSet, FindsNearlyAllNeighboursBySmallGraphsBesideALargeOne) {
  TestFolder folder;
  std::mt19937 random(4);
  uint64_t seq_id = 0;
  std::vector<std::shared_ptr<const Segment>> segments;
  for (const auto& [count, first_cluster] : {std::pair(8000, 0), {2000, 0}, {2000, 20}}) {
    std::vector<Row> rows;
    for (int i = 0; i < count; ++i) {
      const std::string id = "id" + std::to_string(++seq_id);
      rows.push_back(ClusteredRow(random, id, seq_id, 16, first_cluster));
    }
    segments.push_back(SegmentWithGraph(folder, v1::METRIC_L2, rows));
  }
  const auto set = SegmentSet::Build(segments, nullptr);
  for (const size_t k : {1, 10, 20, 100}) {
    size_t found = 0;
    size_t in_small = 0;
    constexpr size_t kQueries = 100;
    for (size_t q = 0; q < kQueries; ++q) {
      const std::vector<float> query = ClusteredRow(random, "", 0, 16, q % 2 == 0 ? 0 : 20).vector;
      std::vector<std::pair<float, IdHash>> truth;
      set->VisitLive(std::nullopt, [&](const IdHash& id, Place place) {
        truth.emplace_back(Distance(v1::METRIC_L2, query, set->Vector(place)), id);
        return true;
      });
      std::ranges::sort(truth);
      truth.resize(k);
      const auto nearest = set->Search(v1::METRIC_L2, query, k, SkipNone);
      ASSERT_EQ(nearest.size(), k);
      for (const auto& neighbour : nearest) {
        found += std::ranges::count(truth, std::pair(neighbour.distance, neighbour.id));
        in_small += neighbour.place.segment > 0;
      }
    }
    EXPECT_GE(found, 0.95 * k * kQueries) << k;
    EXPECT_GE(in_small, 0.2 * k * kQueries) << k;
    EXPECT_LE(in_small, 0.8 * k * kQueries) << k;
  }
}

// Of which some searches find too few, and go on among all vectors.
TEST(SegmentSet, FindsTheSameByGraphWithAnyNumberOfThreads) {
  TestFolder folder;
  std::mt19937 random(3);
  std::vector<std::shared_ptr<const Segment>> segments;
  // The small one waits for one of the others.
  for (const auto& [first, count] : {std::pair(0, 8000), {6000, 8000}, {13500, 2000}}) {
    std::vector<Row> rows;
    rows.reserve(count);
    for (int i = 0; i < count; ++i) {
      rows.push_back(ClusteredRow(random, "id" + std::to_string(first + i), i + 1));
    }
    segments.push_back(SegmentWithGraph(folder, v1::METRIC_L2, rows));
  }
  const auto set = SegmentSet::Build(segments, nullptr);
  Executor executor(3);
  for (uint32_t step = 1; step <= 60; ++step) {
    const std::vector<float> query = ClusteredRow(random, "", 0).vector;
    // From none to nearly all.
    const auto skip = [&](Place place) { return place.row % step != 0; };
    const auto alone = set->Search(v1::METRIC_L2, query, 10, skip);
    const auto shared =
        set->Search(v1::METRIC_L2, query, 10, skip, {.helpers = &executor, .piece_bytes = 1000});
    ASSERT_EQ(shared.size(), alone.size());
    for (size_t i = 0; i < alone.size(); ++i) {
      EXPECT_EQ(shared[i].distance, alone[i].distance);
      EXPECT_EQ(shared[i].place, alone[i].place);
    }
  }
}

TEST(MergeSegments, OfDeletionsThatNothingNeedsLeavesNoFile) {
  TestFolder folder;
  const std::shared_ptr<const Segment> inputs[] = {
      OpenSegment(WriteSegment(folder, 0, {MakeRow("a", 1)})),
      OpenSegment(WriteSegment(folder, 0, {}, {"a"}))};
  const std::filesystem::path path = folder.NewPath();
  EXPECT_EQ(Must(MergeSegments(inputs, {}, path)), std::nullopt);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(MergeSegments, CoversTheSeqIdsOfItsInputs) {
  TestFolder folder;
  WrittenSegment first = WriteSegment(folder, 0, {MakeRow("a", 11)});
  first.info.set_after_seq_id(10);
  first.info.set_up_to_seq_id(11);
  WrittenSegment second = WriteSegment(folder, 0, {}, {"a"});
  second.info.set_after_seq_id(11);
  second.info.set_up_to_seq_id(15);
  const std::shared_ptr<const Segment> inputs[] = {OpenSegment(first), OpenSegment(second)};
  const std::shared_ptr<const Segment> older[] = {
      OpenSegment(WriteSegment(folder, 0, {MakeRow("a", 1)}))};
  const auto info = Must(MergeSegments(inputs, {.older = older}, folder.NewPath())).value();
  EXPECT_EQ(info.after_seq_id(), 10u);
  EXPECT_EQ(info.up_to_seq_id(), 15u);
  EXPECT_EQ(info.entries(), 1u);
  EXPECT_EQ(info.rows(), 0u);
}

TEST(MergeSegments, LeavesOutWhatNewerOnesHave) {
  TestFolder folder;
  const std::shared_ptr<const Segment> segments[] = {
      OpenSegment(WriteSegment(folder, 0, {MakeRow("kept", 1), MakeRow("replaced", 2)})),
      OpenSegment(WriteSegment(folder, 0, {MakeRow("deleted", 3)}, {"kept later"})),
      OpenSegment(WriteSegment(folder, 0, {MakeRow("replaced", 5)}, {"deleted"}))};
  const auto all = std::span(segments);
  const auto info = Must(MergeSegments(all.first(2), {.newer = all.subspan(2)}, folder.NewPath()));
  ASSERT_TRUE(info);
  EXPECT_EQ(info->entries(), 1u);
  EXPECT_EQ(Must(MergeSegments(all.subspan(1, 1), {.newer = all.subspan(2)}, folder.NewPath())),
            std::nullopt);
}

}  // namespace
}  // namespace sluice

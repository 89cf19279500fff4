#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "common/segment/merge.h"

namespace sluice {
namespace {

constexpr uint32_t kDimension = 32;

struct Outcome {
  size_t most_segments = 0;
  // Entries written, by compactions and merges, per entry ingested.
  double amplification = 0;
};

// Lets compactions of these sizes come one by one, of ids that never repeat, and merges as picked.
Outcome Simulate(const std::vector<uint64_t>& compactions) {
  std::vector<v1::SegmentInfo> segments;
  Outcome outcome;
  double ingested = 0;
  double written = 0;
  for (const uint64_t size : compactions) {
    segments.emplace_back().set_entries(size);
    ingested += static_cast<double>(size);
    written += static_cast<double>(size);
    while (const auto pick = PickMerge(segments, kDimension)) {
      const auto [first, last] = *pick;
      EXPECT_LT(first + 1, last);
      EXPECT_LE(last, segments.size());
      uint64_t merged = 0;
      for (size_t i = first; i < last; ++i) merged += segments[i].entries();
      segments.erase(segments.begin() + first + 1, segments.begin() + last);
      segments[first].set_entries(merged);
      written += static_cast<double>(merged);
    }
    outcome.most_segments = std::max(outcome.most_segments, segments.size());
  }
  outcome.amplification = written / ingested;
  return outcome;
}

v1::SegmentInfo Considered(uint64_t entries, uint64_t dead = 0) {
  v1::SegmentInfo segment;
  segment.set_entries(entries);
  segment.set_rows(entries);
  segment.set_dead_rows(dead);
  segment.set_graph_considered(true);
  return segment;
}

TEST(PickMerge, NothingIsDueInListsOfNoneOrOne) {
  EXPECT_FALSE(PickMerge({}, kDimension));
  std::vector<v1::SegmentInfo> one(1);
  one[0].set_entries(10);
  EXPECT_FALSE(PickMerge(one, kDimension));
}

TEST(PickMerge, AMillionRecordsInEqualCompactionsStayFewAndAreRewrittenSeldom) {
  const Outcome outcome = Simulate(std::vector<uint64_t>(1000, 1000));
  EXPECT_LE(outcome.most_segments, 15u);
  EXPECT_LE(outcome.amplification, 5.0);
}

TEST(PickMerge, RandomSizesStayFewAndAreRewrittenSeldom) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  std::vector<uint64_t> uniform(1000);
  for (uint64_t& size : uniform) size = 1 + random() % 2000;
  std::vector<uint64_t> wild(3000);
  for (uint64_t& size : wild) size = static_cast<uint64_t>(std::exp2(random() % 14));
  for (const auto& sizes : {uniform, wild}) {
    const Outcome outcome = Simulate(sizes);
    EXPECT_LE(outcome.most_segments, 25u);
    EXPECT_LE(outcome.amplification, 8.0);
  }
}

TEST(PickMerge, ALargeSegmentIsLeftAloneByTricklesOfSmallOnes) {
  std::vector<v1::SegmentInfo> segments(1);
  segments[0].set_entries(1'000'000);
  for (int i = 0; i < 4; ++i) segments.emplace_back().set_entries(10);
  const auto pick = PickMerge(segments, kDimension);
  ASSERT_TRUE(pick);
  EXPECT_EQ(*pick, std::pair(size_t{1}, size_t{5}));
}

TEST(PickMerge, RowsThatAreDeadDoNotCount) {
  std::vector<v1::SegmentInfo> segments = {Considered(100'000), Considered(40'000)};
  EXPECT_FALSE(PickMerge(segments, kDimension));
  segments[0].set_dead_rows(60'000);
  EXPECT_EQ(PickMerge(segments, kDimension), std::pair(size_t{0}, size_t{2}));
  segments[1].set_dead_rows(10'000);
  EXPECT_FALSE(PickMerge(segments, kDimension));
}

TEST(PickMerge, ASegmentThatIsLargeEnoughForAGraphIsMergedAloneOnceUnlessOthersJoinIt) {
  std::vector<v1::SegmentInfo> segments(2);
  segments[0].set_entries(1'000'000);
  segments[0].set_graph_considered(true);
  segments[0].set_vectors(1'000'000);
  segments[1].set_entries(20'000);
  segments[1].set_vectors(19'999);
  EXPECT_FALSE(PickMerge(segments, kDimension));
  segments[1].set_vectors(20'000);
  EXPECT_EQ(PickMerge(segments, kDimension), std::pair(size_t{1}, size_t{2}));
  // Not decided yet.
  EXPECT_EQ(PickMerge(segments, 0), std::pair(size_t{1}, size_t{2}));
  segments[1].set_vectors(3'077);
  EXPECT_FALSE(PickMerge(segments, 0));
  EXPECT_EQ(PickMerge(segments, 384), std::pair(size_t{1}, size_t{2}));
  segments[1].set_graph_considered(true);
  EXPECT_FALSE(PickMerge(segments, 384));
}

TEST(PickMerge, FullSegmentsAreNotMergedWithWhatComesAfterThem) {
  std::vector<v1::SegmentInfo> segments = {Considered(kFullSegmentEntries)};
  for (int i = 0; i < 3; ++i) segments.push_back(Considered(300'000));
  const auto pick = PickMerge(segments, kDimension);
  ASSERT_TRUE(pick);
  EXPECT_EQ(*pick, std::pair(size_t{1}, size_t{4}));
}

TEST(PickMerge, TenMillionRecordsBecomeSegmentsOfAboutAMillion) {
  std::vector<v1::SegmentInfo> segments;
  double written = 0;
  for (int i = 0; i < 2'000; ++i) {
    segments.push_back(Considered(5'000));
    written += 5'000;
    while (const auto pick = PickMerge(segments, kDimension)) {
      uint64_t merged = 0;
      for (size_t j = pick->first; j < pick->second; ++j) merged += segments[j].entries();
      segments.erase(segments.begin() + pick->first + 1, segments.begin() + pick->second);
      segments[pick->first] = Considered(merged);
      EXPECT_LE(merged, 1'100'000u);
      written += static_cast<double>(merged);
    }
    EXPECT_LE(segments.size(), 30u);
  }
  EXPECT_LE(written / 1e7, 4.5);
}

TEST(PickMerge, AFullSegmentThatIsMostlyDeadIsWrittenAnew) {
  std::vector<v1::SegmentInfo> segments = {Considered(900'000), Considered(800'000, 400'000),
                                           Considered(700'000)};
  EXPECT_FALSE(PickMerge(segments, kDimension));
  segments[1].set_dead_rows(400'001);
  EXPECT_EQ(PickMerge(segments, kDimension), std::pair(size_t{1}, size_t{2}));
}

TEST(PickMerge, ASegmentInWhichSomethingDiedIsWrittenAnewWhenThatIsToBeErased) {
  std::vector<v1::SegmentInfo> segments = {Considered(1000), Considered(10, 1), Considered(3)};
  segments[1].set_dead_since_us(100);
  EXPECT_FALSE(PickMerge(segments, kDimension));
  EXPECT_FALSE(PickMerge(segments, kDimension, 99));
  EXPECT_EQ(PickMerge(segments, kDimension, 100), std::pair(size_t{1}, size_t{2}));
}

TEST(PickMerge, SegmentsThatHaveShrunkAmongFullOnesAreJoined) {
  std::vector<v1::SegmentInfo> segments = {Considered(900'000), Considered(300'000),
                                           Considered(400'000), Considered(700'000)};
  EXPECT_EQ(PickMerge(segments, kDimension), std::pair(size_t{1}, size_t{3}));
  segments[1].set_entries(700'000);
  segments.erase(segments.begin() + 2);
  EXPECT_FALSE(PickMerge(segments, kDimension));
}

TEST(PickMerge, OverwritingTheSameIdsKeepsDeadEntriesBelowTheLiveOnes) {
  // Each compaction overwrites 1,000 of 10,000 ids, in turn: a merge with the oldest leaves 10,000
  // entries.
  std::vector<v1::SegmentInfo> segments(1);
  segments[0].set_entries(10'000);
  for (int i = 0; i < 500; ++i) {
    segments.emplace_back().set_entries(1000);
    while (const auto pick = PickMerge(segments, kDimension)) {
      uint64_t merged = 0;
      for (size_t j = pick->first; j < pick->second; ++j) merged += segments[j].entries();
      segments.resize(pick->first + 1);
      segments[pick->first].set_entries(std::min<uint64_t>(merged, 10'000));
    }
    uint64_t entries = 0;
    for (const auto& s : segments) entries += s.entries();
    EXPECT_LE(entries, 20'000u);
  }
}

}  // namespace
}  // namespace sluice

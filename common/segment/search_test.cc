// That a search gives the same answer whoever takes part in it; segment_set_test.cc has the same of
// graphs.
#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <cstdint>
#include <latch>
#include <random>
#include <thread>

#include "common/base/executor.h"
#include "common/segment/segment_set.h"
#include "common/segment/test_support.h"

namespace sluice {
namespace {

using Place = SegmentSet::Place;

constexpr uint32_t kDimension = 4;

// Segments of few ids and few vectors, so that much is dead and many distances are equal.
class RandomSet {
 public:
  explicit RandomSet(uint64_t seed) : random_(seed) {
    std::vector<std::shared_ptr<const Segment>> segments;
    for (size_t i = 0, count = 1 + Below(8); i < count; ++i) segments.push_back(RandomSegment());
    set_ = SegmentSet::Build(std::move(segments), nullptr);
  }

  size_t Below(size_t n) { return random_() % n; }
  std::vector<float> RandomVector() {
    std::vector<float> v(kDimension);
    for (float& x : v) x = static_cast<float>(Below(4)) - 1.5F;
    return v;
  }
  const SegmentSet& set() const { return *set_; }

 private:
  std::shared_ptr<const Segment> RandomSegment() {
    std::vector<Row> rows;
    std::vector<std::string> deleted;
    for (int i = 0; i < 600; ++i) {
      if (Below(2) == 0) continue;
      const std::string id = "id" + std::to_string(i);
      if (Below(8) == 0) {
        deleted.push_back(id);
        continue;
      }
      rows.push_back(MakeRow(id, ++seq_id_));
      if (Below(8) != 0) rows.back().vector = RandomVector();
    }
    return OpenSegment(WriteSegment(folder_, kDimension, rows, deleted));
  }

  std::mt19937_64 random_;
  TestFolder folder_;
  uint64_t seq_id_ = 0;
  std::shared_ptr<const SegmentSet> set_;
};

void ExpectSame(const std::vector<SegmentSet::Neighbour>& a,
                const std::vector<SegmentSet::Neighbour>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    // Bit for bit.
    EXPECT_EQ(std::bit_cast<uint32_t>(a[i].distance), std::bit_cast<uint32_t>(b[i].distance));
    EXPECT_EQ(a[i].id, b[i].id);
    EXPECT_EQ(a[i].place, b[i].place);
  }
}

// What a search asks about each row that may be in its answer: none is left out. Rows are looked at
// where they are, so the threads that ask are those that took part.
class Watched {
 public:
  bool operator()(Place) const {
    if (std::this_thread::get_id() != caller_) *helped_ = true;
    return false;
  }
  // Of a search by this thread. `helped` is set once another takes part.
  explicit Watched(std::atomic<bool>* helped) : helped_(helped) {}

 private:
  const std::thread::id caller_ = std::this_thread::get_id();
  std::atomic<bool>* const helped_;
};

// What a search without helpers finds, whose correctness segment_set_test shows.
TEST(Search, FindsTheSameWithAnyNumberOfThreads) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 15; ++round) {
    RandomSet sets(random());
    const SegmentSet& set = sets.set();
    for (const size_t threads : {1, 2, 3, 7}) {
      Executor executor(threads);
      std::atomic<bool> helped = false;
      const Watched watched(&helped);
      for (int i = 0; i < 20 || !helped; ++i) {
        const std::vector<float> query = sets.RandomVector();
        const auto metric = static_cast<v1::Metric>(1 + sets.Below(3));
        const size_t k = 1 + sets.Below(sets.Below(4) == 0 ? 700 : 20);
        const size_t skipped = 1 + sets.Below(5);
        const auto skip = [&](Place place) { return watched(place) || place.row % skipped == 1; };
        ExpectSame(set.Search(metric, query, k, skip,
                              {.helpers = &executor, .piece_bytes = 1 + sets.Below(3000)}),
                   set.Search(metric, query, k, skip));
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

TEST(Search, ManyAtOnceShareFewThreadsAndAllEnd) {
  RandomSet sets(5);
  const SegmentSet& set = sets.set();
  const std::vector<float> query = sets.RandomVector();
  const auto expected = set.Search(v1::METRIC_L2, query, 10, [](Place) { return false; });
  // More than there are threads, as posted tasks of the same executor and beside it.
  Executor executor(2);
  constexpr int kCallers = 6;
  constexpr int kSearches = 50;
  std::atomic<bool> helped = false;
  const auto search = [&] {
    const Watched skip(&helped);
    ExpectSame(
        set.Search(v1::METRIC_L2, query, 10, skip, {.helpers = &executor, .piece_bytes = 100}),
        expected);
  };
  std::latch posted(kSearches);
  std::vector<std::jthread> callers;
  callers.reserve(kCallers);
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&] {
      for (int n = 0; n < kSearches || !helped; ++n) search();
    });
  }
  for (int n = 0; n < kSearches; ++n) {
    executor.Post([&] {
      search();
      posted.count_down();
    });
  }
  posted.wait();
}

TEST(Search, GoesOnWithoutThreadsThatAreBusy) {
  RandomSet sets(6);
  const std::vector<float> query = sets.RandomVector();
  const auto skip = [](Place) { return false; };
  std::latch busy(2), end(1);
  Executor executor(2);
  for (int i = 0; i < 2; ++i) {
    executor.Post([&] {
      busy.count_down();
      end.wait();
    });
  }
  busy.wait();
  ExpectSame(
      sets.set().Search(v1::METRIC_L2, query, 10, skip, {.helpers = &executor, .piece_bytes = 100}),
      sets.set().Search(v1::METRIC_L2, query, 10, skip));
  end.count_down();
}

TEST(Search, IsSharedByThreadsThatHaveNothingElseToDoIfItIsWorthIt) {
  RandomSet sets(7);
  const std::vector<float> query = sets.RandomVector();
  Executor executor(1);
  const std::thread::id caller = std::this_thread::get_id();
  const auto search = [&](uint64_t piece_bytes, absl::FunctionRef<bool(Place)> skip) {
    sets.set().Search(v1::METRIC_L2, query, 10, skip,
                      {.helpers = &executor, .piece_bytes = piece_bytes});
  };
  for (int i = 0; i < 100; ++i) {
    search(1 << 20, [&](Place) {
      EXPECT_EQ(std::this_thread::get_id(), caller);
      return false;
    });
  }
  std::atomic<bool> helped = false;
  while (!helped) {
    search(100, Watched(&helped));
  }
}

}  // namespace
}  // namespace sluice

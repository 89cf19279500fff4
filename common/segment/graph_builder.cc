// The only file that includes hnswlib (0.6.2 defines functions in its headers that are not inline).
// Limitation of 0.6.2: threads that insert draw levels from one random generator without a lock;
// a level drawn twice does no harm.
#include <hnswlib/hnswlib.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <exception>
#include <limits>
#include <memory>
#include <new>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/mutex.h"
#include "common/errors/errors.h"
#include "common/segment/graph.h"

namespace sluice {
namespace {

struct Effort {
  uint32_t links;
  uint32_t breadth;
};
// Tried in this order until one passes.
constexpr Effort kEfforts[] = {{16, 200}, {32, 400}};
constexpr uint32_t kBreadths[] = {48, 64, 96, 128, 192, 256, 384, 512};

// The self-check: so many vectors are looked for, and so many of each one's neighbours.
constexpr size_t kQueries = 50;
constexpr size_t kNeighbours = Graph::kMeasuredNeighbours;
// Above what is promised (0.95), since this is a sample.
constexpr double kRecall = 0.98;

// After so many vectors, a graph that is not good enough is given up.
constexpr size_t kPilot = 10'000;

constexpr uint32_t kVectorsPerQuestion = 32;

// What nodes hold: their vector, beside their links, where hnswlib fetches it before it is needed;
// or, where all of them would take too much memory, its number. Distances are those of DistanceTo,
// up to rounding.
class Space : public hnswlib::SpaceInterface<float> {
 public:
  Space(v1::Metric metric, uint32_t dimension, std::span<const float> vectors, bool beside)
      : metric_(metric), dimension_(dimension), vectors_(vectors), beside_(beside) {
    if (metric == v1::METRIC_L2 || metric == v1::METRIC_IP) return;
    const size_t count = vectors.size() / dimension;
    scales_.reserve(count);
    for (uint32_t i = 0; i < count; ++i) {
      const float norm = DotProduct(At(i), At(i), dimension);
      scales_.push_back(std::isnormal(norm) ? 1 / std::sqrt(norm) : 0);
    }
  }

  size_t get_data_size() override {
    return beside_ ? dimension_ * sizeof(float) : sizeof(uint32_t);
  }
  void* get_dist_func_param() override { return this; }
  hnswlib::DISTFUNC<float> get_dist_func() override {
    if (metric_ == v1::METRIC_L2) return beside_ ? &Beside<v1::METRIC_L2> : &Measure<v1::METRIC_L2>;
    if (metric_ == v1::METRIC_IP) return beside_ ? &Beside<v1::METRIC_IP> : &Measure<v1::METRIC_IP>;
    return beside_ ? &Beside<v1::METRIC_COSINE> : &Measure<v1::METRIC_COSINE>;
  }
  // What the node of a vector holds; `scaled` may be used for it.
  const void* NodeOf(const uint32_t& i, std::vector<float>* scaled) const {
    if (!beside_) return &i;
    if (scales_.empty()) return At(i);
    scaled->resize(dimension_);
    for (uint32_t j = 0; j < dimension_; ++j) (*scaled)[j] = At(i)[j] * scales_[i];
    return scaled->data();
  }
  const float* At(uint32_t i) const { return vectors_.data() + size_t{i} * dimension_; }

 private:
  // Where components leave float's range: far away, rather than a NaN that no order holds.
  static float Ordered(float distance) {
    return distance <= std::numeric_limits<float>::max() ? distance
                                                         : std::numeric_limits<float>::max();
  }
  template <v1::Metric metric>
  static float Beside(const void* a, const void* b, const void* space) {
    const uint32_t n = static_cast<const Space*>(space)->dimension_;
    const auto* const x = static_cast<const float*>(a);
    const auto* const y = static_cast<const float*>(b);
    return Ordered(metric == v1::METRIC_L2 ? SquaredDistance(x, y, n) : 1 - DotProduct(x, y, n));
  }
  template <v1::Metric metric>
  static float Measure(const void* a, const void* b, const void* space) {
    const auto& self = *static_cast<const Space*>(space);
    const uint32_t i = *static_cast<const uint32_t*>(a);
    const uint32_t j = *static_cast<const uint32_t*>(b);
    float distance = 0;
    if constexpr (metric == v1::METRIC_L2) {
      distance = SquaredDistance(self.At(i), self.At(j), self.dimension_);
    } else {
      distance = DotProduct(self.At(i), self.At(j), self.dimension_);
      if constexpr (metric == v1::METRIC_COSINE) distance *= self.scales_[i] * self.scales_[j];
      distance = 1 - distance;
    }
    return Ordered(distance);
  }

  const v1::Metric metric_;
  const uint32_t dimension_;
  const std::span<const float> vectors_;
  const bool beside_;
  // 1 / length of each vector; cosine only.
  std::vector<float> scales_;
};

using Index = hnswlib::HierarchicalNSW<float>;

absl::Status OutOfMemory() {
  return absl::ResourceExhaustedError("not enough memory to build a graph of vectors");
}

absl::Status Broken(const std::exception& e) {
  return absl::InternalError(absl::StrCat("building a graph of vectors: ", e.what()));
}

// Runs `work` with 0 .. count - 1 on `threads` threads, this one included, which asks `proceed`
// before each `at_once` of them. The first error stops all.
absl::Status ForEach(uint32_t count, uint32_t at_once, int threads,
                     absl::FunctionRef<absl::Status()> proceed,
                     absl::FunctionRef<void(uint32_t)> work) {
  std::atomic<uint32_t> next = 0;
  std::atomic<bool> stop = false;
  Mutex mutex;
  absl::Status failed;
  const auto fail = [&](const absl::Status& status) {
    const MutexLock lock(mutex);
    failed.Update(status);
    stop = true;
  };
  const auto run = [&](bool asks) {
    while (!stop) {
      const uint32_t first = next.fetch_add(at_once);
      if (first >= count) return;
      if (asks) {
        if (absl::Status status = proceed(); !status.ok()) return fail(status);
      }
      try {
        for (uint32_t i = first; i < std::min<uint32_t>(count, first + at_once); ++i) {
          work(i);
        }
      } catch (const std::bad_alloc&) {
        return fail(OutOfMemory());
      } catch (const std::exception& e) {
        return fail(Broken(e));
      }
    }
  };
  std::vector<std::jthread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(run, false);
  run(true);
  others.clear();
  return failed;
}

void PutNumber(std::string* out, uint32_t number) {
  out->append(reinterpret_cast<const char*>(&number), sizeof(number));
}

// hnswlib numbers nodes as they came; the section has them by vector. Vectors that are not in the
// index have no links.
std::string Encode(const Index& index, uint32_t count, GraphHeader header) {
  constexpr uint32_t kAbsent = UINT32_MAX;
  std::vector<uint32_t> node_of(count, kAbsent);
  for (uint32_t node = 0; node < index.cur_element_count; ++node) {
    node_of[index.getExternalLabel(node)] = node;
  }
  header.entry = static_cast<uint32_t>(index.getExternalLabel(index.enterpoint_node_));
  header.levels = static_cast<uint32_t>(index.maxlevel_);
  std::string out;
  out.reserve(sizeof(header) + count * (2 * header.links + 1) * size_t{5});
  out.append(reinterpret_cast<const char*>(&header), sizeof(header));
  const auto put_links = [&](uint32_t vector, int level) {
    const uint32_t room = level == 0 ? 2 * header.links : header.links;
    const uint32_t node = node_of[vector];
    if (node == kAbsent) {
      out.append((1 + room) * sizeof(uint32_t), '\0');
      return;
    }
    uint32_t* const list = index.get_linklist_at_level(node, level);
    const uint32_t size = index.getListCount(list);
    PutNumber(&out, size);
    for (uint32_t i = 0; i < size; ++i) {
      PutNumber(&out, static_cast<uint32_t>(index.getExternalLabel(list[1 + i])));
    }
    out.append((room - size) * sizeof(uint32_t), '\0');
  };
  for (uint32_t i = 0; i < count; ++i) put_links(i, 0);
  for (int level = 1; level <= index.maxlevel_; ++level) {
    std::vector<uint32_t> nodes;
    for (uint32_t i = 0; i < count; ++i) {
      if (node_of[i] != kAbsent && index.element_levels_[node_of[i]] >= level) nodes.push_back(i);
    }
    PutNumber(&out, static_cast<uint32_t>(nodes.size()));
    for (const uint32_t i : nodes) PutNumber(&out, i);
    for (const uint32_t i : nodes) put_links(i, level);
  }
  return out;
}

// Builds one graph, and checks it with vectors that are not in it yet: those that are would be
// found by their own links, however bad the graph is for others.
class Builder {
 public:
  Builder(v1::Metric metric, uint32_t dimension, std::span<const float> vectors, int threads,
          absl::FunctionRef<absl::Status()> proceed, uint64_t max_copied_bytes)
      : metric_(metric),
        dimension_(dimension),
        vectors_(vectors),
        count_(static_cast<uint32_t>(vectors.size() / dimension)),
        threads_(threads),
        proceed_(proceed),
        space_(metric, dimension, vectors, vectors.size_bytes() <= max_copied_bytes) {
    const uint32_t step = std::max<uint32_t>(1, count_ / kQueries);
    for (uint32_t i = 0; i < count_; ++i) {
      const bool is_query = i % step == step / 2 && queries_.size() < kQueries;
      (is_query ? queries_ : rest_).push_back(i);
    }
  }

  // Empty: it does not answer well enough.
  absl::StatusOr<std::string> Build(const Effort& effort) {
    Index index(&space_, count_, effort.links, effort.breadth);
    // The first alone: threads that find no entry point would each start a graph.
    std::vector<float> scaled;
    index.addPoint(space_.NodeOf(rest_.front(), &scaled), rest_.front());
    const auto insert = [&](std::span<const uint32_t> some) {
      return ForEach(static_cast<uint32_t>(some.size()), kVectorsPerQuestion, threads_, proceed_,
                     [&](uint32_t i) {
                       std::vector<float> of_node;
                       index.addPoint(space_.NodeOf(some[i], &of_node), some[i]);
                     });
    };
    // What few vectors are too hard for, many are too.
    const size_t pilot = std::min<size_t>(rest_.size(), kPilot);
    SLUICE_RETURN_IF_ERROR(insert(std::span(rest_).subspan(1, pilot - 1)));
    GraphHeader header{.metric = static_cast<uint32_t>(metric_), .links = effort.links};
    if (pilot < rest_.size()) {
      SLUICE_ASSIGN_OR_RETURN(const auto possible, PickBreadth(Encode(index, count_, header), pilot,
                                                               /*max_distances=*/UINT64_MAX));
      if (!possible) return std::string();
    }
    SLUICE_RETURN_IF_ERROR(insert(std::span(rest_).subspan(pilot)));
    SLUICE_ASSIGN_OR_RETURN(
        const auto breadth,
        PickBreadth(Encode(index, count_, header), rest_.size(), count_ / Graph::kLinkCost));
    if (!breadth) return std::string();
    SLUICE_RETURN_IF_ERROR(insert(queries_));
    header.breadth = *breadth;
    return Encode(index, count_, header);
  }

 private:
  // The least breadth with which the graph of the first `built` of rest_ finds enough of the true
  // neighbours, for at most so many distances; nullopt: there is none.
  absl::StatusOr<std::optional<uint32_t>> PickBreadth(const std::string& section, size_t built,
                                                      uint64_t max_distances) {
    const std::optional<Graph> graph = Graph::Parse(section, count_);
    if (!graph) return absl::InternalError("the graph of vectors that was built is not one");
    if (reach_of_ != built) SLUICE_RETURN_IF_ERROR(FindReach(built));
    for (const uint32_t breadth : kBreadths) {
      size_t found = 0;
      for (size_t q = 0; q < queries_.size(); ++q) {
        const auto hits = graph->Search(DistanceToQuery(q), vectors_.data(), dimension_,
                                        {.breadth = breadth, .max_distances = max_distances},
                                        [](uint32_t) { return true; });
        if (!hits) return std::nullopt;
        const auto near = std::ranges::count_if(
            *hits, [&](const Graph::Hit& hit) { return hit.distance <= reach_[q]; });
        // Those at equal distances are as good as each other.
        found += std::min(kNeighbours, static_cast<size_t>(near));
      }
      if (static_cast<double>(found) >= kRecall * kNeighbours * queries_.size()) return breadth;
    }
    return std::nullopt;
  }

  // By looking at the first `built` of rest_.
  absl::Status FindReach(size_t built) {
    reach_of_ = built;
    reach_.assign(queries_.size(), 0);
    return ForEach(static_cast<uint32_t>(queries_.size()), 1, threads_, proceed_, [&](uint32_t q) {
      const DistanceTo distance_to = DistanceToQuery(q);
      std::vector<float> distances;
      distances.reserve(built);
      for (const uint32_t i : std::span(rest_).first(built)) {
        distances.push_back(distance_to(space_.At(i)));
      }
      std::ranges::nth_element(distances, distances.begin() + kNeighbours - 1);
      reach_[q] = distances[kNeighbours - 1];
    });
  }

  DistanceTo DistanceToQuery(size_t q) const {
    return DistanceTo(metric_, vectors_.subspan(size_t{queries_[q]} * dimension_, dimension_));
  }

  const v1::Metric metric_;
  const uint32_t dimension_;
  const std::span<const float> vectors_;
  const uint32_t count_;
  const int threads_;
  const absl::FunctionRef<absl::Status()> proceed_;
  Space space_;
  std::vector<uint32_t> queries_;
  // All others.
  std::vector<uint32_t> rest_;
  // How far the last of each query's neighbours is, among the first `reach_of_` of rest_.
  std::vector<float> reach_;
  size_t reach_of_ = 0;
};

}  // namespace

absl::StatusOr<std::string> BuildGraph(v1::Metric metric, uint32_t dimension,
                                       std::span<const float> vectors, int threads,
                                       absl::FunctionRef<absl::Status()> proceed,
                                       uint64_t max_copied_bytes) {
  // Nothing to be checked with.
  if (vectors.size() / dimension < 2 * kQueries) return std::string();
  try {
    Builder builder(metric, dimension, vectors, threads, proceed, max_copied_bytes);
    for (const Effort& effort : kEfforts) {
      SLUICE_ASSIGN_OR_RETURN(std::string section, builder.Build(effort));
      if (!section.empty()) return section;
    }
    return std::string();
  } catch (const std::bad_alloc&) {
    return OutOfMemory();
  } catch (const std::exception& e) {
    return Broken(e);
  }
}

}  // namespace sluice

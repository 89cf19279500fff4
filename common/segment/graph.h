// A graph over the vectors of one segment (HNSW: Malkov and Yashunin, arXiv:1603.09320), by which
// the nearest are found without looking at all of them. hnswlib builds it; only its links are kept,
// in a section of the segment's file (README.md), and it is searched where it is mapped: nothing is
// loaded, and what is live or allowed is asked while searching.
//
// BuildGraph runs on as many threads as it is told. Graph is a view of bytes that outlive it,
// immutable and thread-safe.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "common/segment/distance.h"
#include "sluice/v1/collection.pb.h"

namespace sluice {

// Whether a graph is worth its price: from 3,077 vectors of 384 components on, 20,000 of 32, or 817
// of 1,536. To look at all of so many, which rarely are in the processor's caches, takes a tenth of
// a millisecond or two; by a graph a third of that. README.md has the measurements.
inline bool GraphPays(uint64_t vectors, uint32_t dimension) {
  return vectors * (uint64_t{dimension} + 32) >= 1'280'000;
}

// What a merge needs to know to build one.
struct GraphPolicy {
  v1::Metric metric = v1::METRIC_UNSPECIFIED;
  // The calling one included.
  int threads = 1;
  // Tests build smaller ones. nullopt: where it pays.
  std::optional<uint64_t> from_vectors;
};

// A graph is built a tenth faster with a copy of the vectors, which is made up to this size.
inline constexpr uint64_t kMaxCopiedBytes = 256 << 20;

// The section's bytes for `vectors` (one after the other, each of `dimension` components), or an
// empty string if no graph was found that answers well enough: each is tried with some of the
// vectors as queries, whose true neighbours are known from looking at all. `proceed` is called by
// the calling thread, every few dozen vectors; its error ends the work and is returned.
// RESOURCE_EXHAUSTED: not enough memory. Memory: about 400 bytes a vector,
// and a copy of the vectors where they are `max_copied_bytes` or less.
absl::StatusOr<std::string> BuildGraph(v1::Metric metric, uint32_t dimension,
                                       std::span<const float> vectors, int threads,
                                       absl::FunctionRef<absl::Status()> proceed,
                                       uint64_t max_copied_bytes = kMaxCopiedBytes);

class Graph {
 public:
  struct Hit {
    float distance = 0;
    uint32_t vector = 0;
  };

  // Looking at a vector that a link leads to takes about as long as looking at so many in order.
  static constexpr uint64_t kLinkCost = 3;

  // nullopt: not a graph of so many vectors. Checks every link.
  static std::optional<Graph> Parse(std::string_view section, uint64_t vectors);

  // The one it was built for; it finds nothing useful by another.
  v1::Metric metric() const { return metric_; }
  // How many candidates a search keeps, to find the ten nearest with the recall that was asked for.
  static constexpr size_t kMeasuredNeighbours = 10;
  uint32_t breadth() const { return breadth_; }
  uint32_t links() const { return links_; }

  struct Limits {
    // How many candidates are kept.
    size_t breadth = 0;
    // Those beyond are of no use: once a quarter of `breadth` is kept, only nearer ones are.
    float radius = std::numeric_limits<float>::infinity();
    uint64_t max_distances = std::numeric_limits<uint64_t>::max();
  };
  // The least that a search finds, if there are as many.
  static size_t LeastHits(const Limits& limits);
  // The nearest of those for which `allowed` is true, as many as the limits say (or all there are),
  // in no order. `vectors`: what the graph was built over. `allowed` is asked only about vectors
  // near enough to be in the answer so far. nullopt: given up after `max_distances`.
  std::optional<std::vector<Hit>> Search(const DistanceTo& distance_to, const float* vectors,
                                         size_t dimension, const Limits& limits,
                                         absl::FunctionRef<bool(uint32_t)> allowed) const;

 private:
  // The nodes of one level above the lowest, ascending, and `links_ + 1` numbers for each: how many
  // links, then they.
  struct Level {
    std::span<const uint32_t> nodes;
    std::span<const uint32_t> links;
  };

  Graph() = default;
  // In lowest_.
  uint64_t PlaceOf(uint32_t node) const { return node * (2 * uint64_t{links_} + 1); }
  std::span<const uint32_t> LinksOf(uint32_t node) const;
  std::span<const uint32_t> LinksOf(uint32_t node, const Level& level) const;

  v1::Metric metric_ = v1::METRIC_UNSPECIFIED;
  uint32_t links_ = 0;
  uint32_t breadth_ = 0;
  uint32_t entry_ = 0;
  uint64_t vectors_ = 0;
  // As in Level; each node has up to twice as many links.
  std::span<const uint32_t> lowest_;
  // From the second lowest up.
  std::vector<Level> levels_;
};

// Of the section's beginning; the levels follow, lowest first.
struct GraphHeader {
  uint32_t version = 1;
  uint32_t metric = 0;
  uint32_t links = 0;
  uint32_t breadth = 0;
  uint32_t entry = 0;
  // Above the lowest.
  uint32_t levels = 0;
};

}  // namespace sluice

#include "common/segment/graph.h"

#include <algorithm>
#include <cstring>
#include <queue>
#include <utility>

namespace sluice {
namespace {

// Components of a vector: 32 of them are in the second cache then, with room to spare.
constexpr size_t kPrefetched = 512;

// Nearest first.
struct Farther {
  bool operator()(const Graph::Hit& a, const Graph::Hit& b) const {
    return a.distance > b.distance;
  }
};
struct Nearer {
  bool operator()(const Graph::Hit& a, const Graph::Hit& b) const {
    return a.distance < b.distance;
  }
};

// Takes numbers from the front of what is left.
class Numbers {
 public:
  explicit Numbers(std::string_view bytes)
      : at_(reinterpret_cast<const uint32_t*>(bytes.data())), left_(bytes.size() / 4) {}
  // Empty if there are fewer; ok() says so from then on.
  std::span<const uint32_t> Take(uint64_t count) {
    if (count > left_) {
      ok_ = false;
      return {};
    }
    const std::span<const uint32_t> taken(at_, count);
    at_ += count;
    left_ -= count;
    return taken;
  }
  bool ok() const { return ok_; }
  bool done() const { return ok_ && left_ == 0; }

 private:
  const uint32_t* at_;
  uint64_t left_;
  bool ok_ = true;
};

// `lists`: for each node a count and room for `room` links.
bool AreLinks(std::span<const uint32_t> lists, uint32_t room, uint64_t vectors) {
  for (size_t i = 0; i < lists.size(); i += room + 1) {
    if (lists[i] > room) return false;
    for (const uint32_t link : lists.subspan(i + 1, lists[i])) {
      if (link >= vectors) return false;
    }
  }
  return true;
}

class Visited {
 public:
  explicit Visited(uint64_t nodes) : words_((nodes + 63) / 64) {}
  // True: it was not visited before.
  bool Visit(uint32_t node) {
    const uint64_t bit = uint64_t{1} << (node % 64);
    const bool first = (words_[node / 64] & bit) == 0;
    words_[node / 64] |= bit;
    return first;
  }

 private:
  std::vector<uint64_t> words_;
};

}  // namespace

std::optional<Graph> Graph::Parse(std::string_view section, uint64_t vectors) {
  constexpr uint32_t kMaxLinks = 1000;
  constexpr uint32_t kMaxBreadth = 10'000;
  constexpr uint32_t kMaxLevels = 64;
  GraphHeader header;
  if (vectors == 0 || section.size() < sizeof(header) || section.size() % 4 != 0 ||
      reinterpret_cast<uintptr_t>(section.data()) % alignof(uint32_t) != 0) {
    return std::nullopt;
  }
  std::memcpy(&header, section.data(), sizeof(header));
  if (header.version != 1 || !v1::Metric_IsValid(static_cast<int>(header.metric)) ||
      header.links == 0 || header.links > kMaxLinks || header.breadth > kMaxBreadth ||
      header.entry >= vectors || header.levels > kMaxLevels) {
    return std::nullopt;
  }
  Graph graph;
  graph.metric_ = static_cast<v1::Metric>(header.metric);
  graph.links_ = header.links;
  graph.breadth_ = header.breadth;
  graph.entry_ = header.entry;
  graph.vectors_ = vectors;
  Numbers numbers(section.substr(sizeof(header)));
  graph.lowest_ = numbers.Take(vectors * (2 * uint64_t{header.links} + 1));
  if (!numbers.ok() || !AreLinks(graph.lowest_, 2 * header.links, vectors)) return std::nullopt;
  for (uint32_t i = 0; i < header.levels; ++i) {
    const std::span<const uint32_t> count = numbers.Take(1);
    if (!numbers.ok()) return std::nullopt;
    Level level;
    level.nodes = numbers.Take(count[0]);
    level.links = numbers.Take(count[0] * (uint64_t{header.links} + 1));
    if (!numbers.ok() || !std::ranges::is_sorted(level.nodes, std::ranges::less_equal()) ||
        !AreLinks(level.links, header.links, vectors)) {
      return std::nullopt;
    }
    graph.levels_.push_back(level);
  }
  if (!numbers.done()) return std::nullopt;
  return graph;
}

std::span<const uint32_t> Graph::LinksOf(uint32_t node) const {
  const std::span<const uint32_t> list = lowest_.subspan(PlaceOf(node));
  return list.subspan(1, list[0]);
}

std::span<const uint32_t> Graph::LinksOf(uint32_t node, const Level& level) const {
  const auto it = std::ranges::lower_bound(level.nodes, node);
  if (it == level.nodes.end() || *it != node) return {};
  const auto at = static_cast<uint64_t>(it - level.nodes.begin());
  const std::span<const uint32_t> list = level.links.subspan(at * (uint64_t{links_} + 1));
  return list.subspan(1, list[0]);
}

size_t Graph::LeastHits(const Limits& limits) {
  const bool is_bounded = limits.radius < std::numeric_limits<float>::infinity();
  return is_bounded ? (limits.breadth + 3) / 4 : limits.breadth;
}

std::optional<std::vector<Graph::Hit>> Graph::Search(
    const DistanceTo& distance_to, const float* vectors, size_t dimension, const Limits& limits,
    absl::FunctionRef<bool(uint32_t)> allowed) const {
  uint64_t distances = 0;
  const auto measure = [&](uint32_t node) {
    ++distances;
    return Hit{.distance = distance_to(vectors + size_t{node} * dimension), .vector = node};
  };

  // Downwards, to where each step is the nearest neighbour.
  Hit nearest = measure(entry_);
  for (size_t i = levels_.size(); i-- > 0;) {
    for (bool moved = true; moved;) {
      moved = false;
      for (const uint32_t link : LinksOf(nearest.vector, levels_[i])) {
        const Hit hit = measure(link);
        if (hit.distance >= nearest.distance) continue;
        nearest = hit;
        moved = true;
      }
    }
  }

  // On the lowest level: from the nearest that was not looked at yet, until it is farther than all
  // that would be in the answer. Nodes that are not allowed lead on to others all the same.
  Visited visited(vectors_);
  std::priority_queue<Hit, std::vector<Hit>, Farther> next;
  std::priority_queue<Hit, std::vector<Hit>, Nearer> found;
  const size_t least = LeastHits(limits);
  const auto is_full = [&] {
    return found.size() >= least &&
           (found.size() == limits.breadth || found.top().distance > limits.radius);
  };
  const auto consider = [&](const Hit& hit) {
    if (is_full() && hit.distance >= found.top().distance) return;
    next.push(hit);
    if (!allowed(hit.vector)) return;
    if (is_full()) found.pop();
    found.push(hit);
  };
  visited.Visit(nearest.vector);
  consider(nearest);
  std::vector<uint32_t> fresh;
  while (!next.empty()) {
    const Hit hit = next.top();
    if (is_full() && hit.distance > found.top().distance) break;
    if (distances > limits.max_distances) return std::nullopt;
    next.pop();
    fresh.clear();
    for (const uint32_t link : LinksOf(hit.vector)) {
      if (!visited.Visit(link)) continue;
      fresh.push_back(link);
      // All the memory that the loop below waits for is asked for at once.
      const float* vector = vectors + size_t{link} * dimension;
      for (size_t i = 0; i < std::min(dimension, kPrefetched); i += 16) {
        __builtin_prefetch(vector + i);
      }
    }
    // Likely to be the next whose links are followed.
    if (!next.empty()) __builtin_prefetch(&lowest_[PlaceOf(next.top().vector)]);
    for (const uint32_t link : fresh) consider(measure(link));
  }
  std::vector<Hit> hits;
  hits.reserve(found.size());
  for (; !found.empty(); found.pop()) hits.push_back(found.top());
  return hits;
}

}  // namespace sluice

// sluice-bench-hnswlib: what hnswlib by itself takes to build a graph of the vectors of a file, and
// to search it, as JSON. Started by sluice-bench (hnswlib.h). A program of its own: hnswlib 0.6.2
// defines functions in its headers that are not inline, and common/segment includes it already.
#include <hnswlib/hnswlib.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Index = hnswlib::HierarchicalNSW<float>;
using Labels = std::vector<uint32_t>;
using nlohmann::json;

// As common/segment builds its graphs (graph_builder.cc).
constexpr size_t kLinks = 16;
constexpr size_t kBuildBreadth = 200;

constexpr size_t kNeighbours = 10;
constexpr size_t kBreadths[] = {10, 12, 16, 20,  24,  32,  40,  48,
                                64, 80, 96, 128, 192, 256, 384, 512};

struct Vectors {
  size_t dimension = 0;
  std::vector<float> components;

  size_t count() const { return components.size() / dimension; }
  const float* at(size_t i) const { return components.data() + i * dimension; }
};

Vectors Read(const std::string& path, size_t dimension) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  Vectors vectors{.dimension = dimension};
  vectors.components.resize(static_cast<size_t>(in.tellg()) / sizeof(float));
  in.seekg(0);
  in.read(reinterpret_cast<char*>(vectors.components.data()),
          static_cast<std::streamsize>(vectors.components.size() * sizeof(float)));
  if (!in || vectors.count() == 0) throw std::runtime_error("cannot read " + path);
  return vectors;
}

template <class Work>
void ForEach(size_t first, size_t end, int threads, const Work& work) {
  std::atomic<size_t> next = first;
  std::vector<std::jthread> workers;
  for (int worker = 0; worker < threads; ++worker) {
    workers.emplace_back([&] {
      for (size_t i = next++; i < end; i = next++) work(i);
    });
  }
}

double SecondsSince(Clock::time_point began) {
  return std::chrono::duration<double>(Clock::now() - began).count();
}

// The nearest of each query, by looking at all vectors.
std::vector<Labels> NearestOf(const Vectors& queries, const Vectors& vectors,
                              hnswlib::L2Space& space, int threads) {
  std::vector<Labels> nearest(queries.count());
  const auto distance = space.get_dist_func();
  const size_t k = std::min(kNeighbours, vectors.count());
  ForEach(0, queries.count(), threads, [&](size_t q) {
    std::vector<float> distances(vectors.count());
    for (size_t i = 0; i < distances.size(); ++i) {
      distances[i] = distance(queries.at(q), vectors.at(i), space.get_dist_func_param());
    }
    Labels order(vectors.count());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::partial_sort(order, order.begin() + static_cast<ptrdiff_t>(k), {},
                              [&](uint32_t i) { return distances[i]; });
    order.resize(k);
    nearest[q] = std::move(order);
  });
  return nearest;
}

// One query after the other, on one thread.
json Search(Index& index, size_t breadth, const Vectors& queries,
            const std::vector<Labels>& nearest) {
  index.setEf(breadth);
  std::vector<double> micros;
  size_t found = 0;
  size_t wanted = 0;
  for (size_t q = 0; q < queries.count(); ++q) {
    const Clock::time_point began = Clock::now();
    auto hits = index.searchKnn(queries.at(q), kNeighbours);
    micros.push_back(SecondsSince(began) * 1e6);
    wanted += nearest[q].size();
    for (; !hits.empty(); hits.pop()) {
      found += std::ranges::count(nearest[q], static_cast<uint32_t>(hits.top().second));
    }
  }
  std::ranges::nth_element(micros, micros.begin() + static_cast<ptrdiff_t>(micros.size() / 2));
  return {{"breadth", breadth},
          {"p50_us", micros[micros.size() / 2]},
          {"recall", static_cast<double>(found) / static_cast<double>(wanted)}};
}

json Measure(const Vectors& vectors, const std::string& queries_path, int threads) {
  hnswlib::L2Space space(vectors.dimension);
  const Clock::time_point began = Clock::now();
  Index index(&space, vectors.count(), kLinks, kBuildBreadth);
  // The first alone: threads that find no entry point would each start a graph.
  index.addPoint(vectors.at(0), 0);
  ForEach(1, vectors.count(), threads, [&](size_t i) { index.addPoint(vectors.at(i), i); });
  json figures{
      {"vectors", vectors.count()}, {"threads", threads}, {"build_seconds", SecondsSince(began)}};
  if (queries_path.empty()) return figures;
  const Vectors queries = Read(queries_path, vectors.dimension);
  const std::vector<Labels> nearest = NearestOf(queries, vectors, space, threads);
  figures["nearest"] = nearest;
  // Once for the caches.
  Search(index, kBreadths[0], queries, nearest);
  for (const size_t breadth : kBreadths) {
    figures["search"].push_back(Search(index, breadth, queries, nearest));
  }
  return figures;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Builds a graph of vectors (l2) with hnswlib, searches it, and prints JSON."};
  std::string vectors;
  std::string queries;
  size_t dimension = 0;
  int threads = 1;
  app.add_option("--vectors", vectors, "file of float32, one vector after the other")->required();
  app.add_option("--queries", queries, "the same, of queries; none: the graph is built only");
  app.add_option("--dimension", dimension, "components of each")
      ->required()
      ->check(CLI::Range(1, 8192));
  app.add_option("--threads", threads, "that build")->check(CLI::Range(1, 256));
  CLI11_PARSE(app, argc, argv);
  try {
    std::printf("%s\n", Measure(Read(vectors, dimension), queries, threads).dump().c_str());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "sluice-bench-hnswlib: %s\n", e.what());
    return 1;
  }
  return 0;
}

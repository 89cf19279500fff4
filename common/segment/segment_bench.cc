// How fast one segment of 63,000 rows of 384 components is: to write, open, search, look up, read
// and merge. README.md has figures.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "common/segment/merge.h"
#include "common/segment/segment_set.h"

namespace sluice {
namespace {

constexpr uint32_t kRows = 63'000;
constexpr uint32_t kDimension = 384;

template <class T>
T Must(absl::StatusOr<T> value) {
  if (value.ok()) return *std::move(value);
  std::cerr << value.status() << "\n";
  std::exit(1);
}

IdHash HashOf(uint32_t i) {
  static const IdHasher hasher("0123456789abcdef");
  return hasher("package-" + std::to_string(i));
}

class Folder {
 public:
  Folder() { std::filesystem::create_directory(path_); }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::filesystem::path NewPath() { return path_ / std::to_string(++made_); }

 private:
  const std::filesystem::path path_ = std::filesystem::temp_directory_path() /
                                      ("segment_bench." + std::to_string(std::random_device{}()));
  int made_ = 0;
};

Folder& TheFolder() {
  static Folder folder;
  return folder;
}

std::pair<std::filesystem::path, v1::SegmentInfo> Write(uint32_t first, uint32_t rows) {
  std::mt19937 random(first);
  const auto path = TheFolder().NewPath();
  const auto writer = Must(SegmentWriter::Create(path, kDimension));
  Row row;
  for (uint32_t i = first; i < first + rows; ++i) {
    row.id = "package-" + std::to_string(i);
    row.seq_id = SeqId(i + 1);
    row.document = "";
    while (row.document->size() < 500)
      *row.document += "word" + std::to_string(random() % 5000) + " ";
    row.vector.resize(kDimension);
    for (float& x : row.vector) x = static_cast<float>(random() % 2000) / 1000 - 1;
    if (!writer->Add(HashOf(i), row).ok()) std::exit(1);
  }
  return {path, Must(writer->Finish())};
}

const std::shared_ptr<const Segment>& TheSegment() {
  static const auto segment = [] {
    const auto [path, info] = Write(0, kRows);
    return Must(Segment::Open(path, info));
  }();
  return segment;
}

void WriteRows(benchmark::State& state) {
  const auto rows = static_cast<uint32_t>(state.range(0));
  for (auto _ : state) Write(0, rows);
  state.SetItemsProcessed(state.iterations() * rows);
}
BENCHMARK(WriteRows)->Arg(1000)->Arg(kRows)->Unit(benchmark::kMillisecond);

void Open(benchmark::State& state) {
  const auto [path, info] = Write(0, static_cast<uint32_t>(state.range(0)));
  for (auto _ : state) Must(Segment::Open(path, info));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(info.bytes()));
}
BENCHMARK(Open)->Arg(100)->Arg(kRows)->Unit(benchmark::kMillisecond);

void Search(benchmark::State& state) {
  const auto set = SegmentSet::Build({TheSegment()}, nullptr);
  const auto metric = static_cast<v1::Metric>(state.range(0));
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        set->Search(metric, TheSegment()->Vector(1), 10, [](SegmentSet::Place) { return false; }));
  }
  state.SetItemsProcessed(state.iterations() * kRows);
  state.SetLabel(v1::Metric_Name(metric));
}
BENCHMARK(Search)->DenseRange(v1::METRIC_L2, v1::METRIC_IP)->Unit(benchmark::kMillisecond);

// Over 8 segments of 20,000 vectors each, by as many threads.
void SearchShared(benchmark::State& state) {
  static const auto set = [] {
    std::vector<std::shared_ptr<const Segment>> segments;
    for (uint32_t i = 0; i < 8; ++i) {
      const auto [path, info] = Write(i * 20'000, 20'000);
      segments.push_back(Must(Segment::Open(path, info)));
    }
    return SegmentSet::Build(std::move(segments), nullptr);
  }();
  Executor executor(static_cast<size_t>(state.range(0) - 1));
  std::vector<double> took;
  for (auto _ : state) {
    const auto since = std::chrono::steady_clock::now();
    benchmark::DoNotOptimize(set->Search(v1::METRIC_COSINE, TheSegment()->Vector(1), 10,
                                         [](SegmentSet::Place) { return false; },
                                         {.helpers = &executor}));
    const std::chrono::duration<double, std::milli> one = std::chrono::steady_clock::now() - since;
    took.push_back(one.count());
  }
  std::ranges::nth_element(took, took.begin() + took.size() / 2);
  state.counters["p50_ms"] = took[took.size() / 2];
}
BENCHMARK(SearchShared)->Arg(1)->Arg(2)->Unit(benchmark::kMillisecond)->UseRealTime();

void Find(benchmark::State& state) {
  std::vector<IdHash> ids;
  for (uint32_t i = 0; i < 2 * kRows; ++i) ids.push_back(HashOf(i));
  size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(TheSegment()->Find(ids[i++ % ids.size()]));
}
BENCHMARK(Find);

void ReadRandomRow(benchmark::State& state) {
  std::mt19937 random(1);
  for (auto _ : state) benchmark::DoNotOptimize(Must(TheSegment()->ReadRow(random() % kRows)));
}
BENCHMARK(ReadRandomRow)->Unit(benchmark::kMicrosecond);

// Of two segments, the newer of which overwrites half the older's rows.
void Merge(benchmark::State& state) {
  const auto [path, info] = Write(kRows / 2, kRows / 2);
  const std::shared_ptr<const Segment> inputs[] = {TheSegment(), Must(Segment::Open(path, info))};
  for (auto _ : state) {
    const auto out = TheFolder().NewPath();
    benchmark::DoNotOptimize(Must(MergeSegments(inputs, {.dimension = kDimension}, out)));
    std::filesystem::remove(out);
  }
  state.SetItemsProcessed(state.iterations() * kRows);
}
BENCHMARK(Merge)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sluice

BENCHMARK_MAIN();

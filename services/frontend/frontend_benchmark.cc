// What the frontend's own work costs, without gRPC: build/bin/frontend_benchmark.
#include <benchmark/benchmark.h>

#include <random>

#include "common/objects/folder_store.h"
#include "common/record/fold.h"
#include "services/frontend/fake_log.h"
#include "services/frontend/reads.h"
#include "services/frontend/writes.h"
#include "sluice/v1/frontend.pb.h"
#include "tests/support/temp_folder.h"

namespace sluice::frontend {
namespace {

constexpr int kRecords = 1000;

// A package's description with its metadata, as in the demo: about 1 KB.
v1::OperationRecord Document(int i) {
  v1::OperationRecord record;
  record.set_id("package-" + std::to_string(i));
  record.set_document(std::string(800, 'x'));
  record.set_uri("https://example.org/" + std::to_string(i));
  for (const char* key : {"architecture", "priority", "section", "tags"}) {
    v1::MetadataEntry* const entry = record.add_metadata();
    entry->set_key(key);
    entry->mutable_value()->set_string_value("value of " + std::to_string(i));
  }
  return record;
}

std::string WriteRequest() {
  v1::WriteRequest request;
  request.mutable_collection()->set_name("packages");
  for (int i = 0; i < kRecords; ++i) *request.add_records() = Document(i);
  return request.SerializeAsString();
}

void BM_WriteAsBytes(benchmark::State& state) {
  const std::string request = WriteRequest();
  for (auto _ : state) benchmark::DoNotOptimize(PushOf(v1::OPERATION_ADD, request));
  state.SetItemsProcessed(state.iterations() * kRecords);
}
BENCHMARK(BM_WriteAsBytes);

// What it replaces: parsed, changed and serialised again, without any check.
void BM_WriteAsMessages(benchmark::State& state) {
  const std::string bytes = WriteRequest();
  for (auto _ : state) {
    v1::WriteRequest request;
    request.ParseFromString(bytes);
    v1::PushLogsRequest push;
    push.mutable_records()->Swap(request.mutable_records());
    for (auto& record : *push.mutable_records()) record.set_operation(v1::OPERATION_ADD);
    benchmark::DoNotOptimize(push.SerializeAsString());
  }
  state.SetItemsProcessed(state.iterations() * kRecords);
}
BENCHMARK(BM_WriteAsMessages);

// A collection of `applied` rows in one segment, and a tail of as many updates as asked for.
class Collection {
 public:
  Collection(int applied, int tail)
      : objects_(*FolderStore::Open(folder_.path())), fake_(&objects_, 384, "hashing") {
    std::mt19937 random(1);
    std::uniform_real_distribution<float> component(-1, 1);
    std::vector<float> vector(384);
    for (int i = 0; i < applied + tail; ++i) {
      v1::OperationRecord record = Document(i % applied);
      record.set_operation(v1::OPERATION_UPSERT);
      for (float& c : vector) c = component(random);
      SetVector(vector, record.mutable_vector());
      fake_.Push(std::move(record));
      if (i + 1 == applied) fake_.Compact(fake_.tail());
    }
    query_.mutable_vector()->set_dimension(384);
    SetVector(vector, query_.mutable_vector());
    for (v1::ReadViewResponse& message : fake_.ReadView({})) {
      if (message.has_header()) delta_.header = message.header();
      delta_.messages.push_back(std::make_shared<v1::ReadViewResponse>(std::move(message)));
    }
  }

  // From nothing, but for the segment.
  std::shared_ptr<const View> Take() {
    return *Advance(fake_.id(), nullptr, delta_, [&](const v1::SegmentInfo& info) {
      if (!segment_) {
        segment_ = *Segment::Open(
            **objects_.Fetch(SegmentObjectName(fake_.id(), fake_.incarnation(), info.token(), 1)),
            info);
      }
      return absl::StatusOr<std::shared_ptr<const Segment>>(segment_);
    });
  }
  const v1::QueryRequest& query() const { return query_; }

 private:
  testing::TempFolder folder_;
  FolderStore objects_;
  FakeCollection fake_;
  ViewDelta delta_;
  v1::QueryRequest query_;
  std::shared_ptr<const Segment> segment_;
};

void BM_TakeView(benchmark::State& state) {
  Collection collection(50'000, static_cast<int>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(collection.Take());
}
BENCHMARK(BM_TakeView)->Arg(0)->Arg(10'000)->Arg(50'000)->Unit(benchmark::kMillisecond);

// The first Count of a view works out what the tail does.
void BM_FirstCount(benchmark::State& state) {
  Collection collection(50'000, static_cast<int>(state.range(0)));
  for (auto _ : state) {
    state.PauseTiming();
    const auto view = collection.Take();
    state.ResumeTiming();
    benchmark::DoNotOptimize(Answer(*view, v1::CountRequest()));
  }
}
BENCHMARK(BM_FirstCount)->Arg(10'000)->Arg(50'000)->Unit(benchmark::kMillisecond);

void BM_Query(benchmark::State& state) {
  Collection collection(50'000, static_cast<int>(state.range(0)));
  const auto view = collection.Take();
  for (auto _ : state) benchmark::DoNotOptimize(Answer(*view, collection.query()));
}
BENCHMARK(BM_Query)->Arg(0)->Arg(10'000)->Arg(50'000)->Unit(benchmark::kMillisecond);

void BM_Page(benchmark::State& state) {
  Collection collection(50'000, 0);
  const auto view = collection.Take();
  v1::GetRequest request;
  request.set_page_size(1'000);
  for (auto _ : state) benchmark::DoNotOptimize(Answer(*view, request));
}
BENCHMARK(BM_Page)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace sluice::frontend

BENCHMARK_MAIN();

// Bytes a second that one core scans: pushes of 100 records with a vector of 384 (1.6 KB), and with
// a text of 1.6 KB instead.
#include <benchmark/benchmark.h>

#include "common/record/fold.h"
#include "common/record/scan.h"
#include "sluice/v1/log.pb.h"

namespace sluice {
namespace {

void ScanAll(benchmark::State& state, const v1::PushLogsRequest& push) {
  const std::string message = push.SerializeAsString();
  for (auto _ : state) {
    ScannedPush scanned;
    if (!ScanPush(message, &scanned).ok()) state.SkipWithError("refused");
    benchmark::DoNotOptimize(scanned.shape.offsets.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * message.size()));
}

v1::OperationRecord* NewRecord(v1::PushLogsRequest* push) {
  v1::OperationRecord* record = push->add_records();
  record->set_id("document-" + std::to_string(push->records_size()));
  record->set_operation(v1::OPERATION_UPSERT);
  v1::MetadataEntry* entry = record->add_metadata();
  entry->set_key("section");
  entry->mutable_value()->set_string_value("utils");
  return record;
}

void BM_ScanVectors(benchmark::State& state) {
  v1::PushLogsRequest push;
  for (int i = 0; i < 100; ++i) {
    SetVector(std::vector<float>(384, 0.25f), NewRecord(&push)->mutable_vector());
  }
  ScanAll(state, push);
}
BENCHMARK(BM_ScanVectors);

void BM_ScanTexts(benchmark::State& state, const char* word) {
  v1::PushLogsRequest push;
  for (int i = 0; i < 100; ++i) {
    std::string* document = NewRecord(&push)->mutable_document();
    while (document->size() < 1600) *document += word;
  }
  ScanAll(state, push);
}
BENCHMARK_CAPTURE(BM_ScanTexts, ascii, "sixteen letters ");
BENCHMARK_CAPTURE(BM_ScanTexts, german, "schöne grüße aus ");
BENCHMARK_CAPTURE(BM_ScanTexts, japanese, "東京都千代田区");

}  // namespace
}  // namespace sluice

BENCHMARK_MAIN();

// From a log that is full to segments that are searched by graphs, over hnswlib by itself.
#include <signal.h>

#include <chrono>
#include <string>
#include <thread>

#include "common/errors/errors.h"
#include "common/record/fold.h"
#include "tools/bench/clustered.h"
#include "tools/bench/compact.h"
#include "tools/bench/hnswlib.h"
#include "tools/bench/indexed.h"

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kDimension = 384;
constexpr size_t kDocuments = 100'000;
constexpr size_t kRecordsAPush = 500;
constexpr size_t kDocumentBytes = 500;

v1::OperationRecord DocumentOf(const Clustered& vectors, uint64_t number) {
  v1::OperationRecord record;
  record.set_id("document-" + std::to_string(number));
  record.set_operation(v1::OPERATION_UPSERT);
  SetVector(vectors.At(number), record.mutable_vector());
  std::string& document = *record.mutable_document();
  for (uint64_t word = number; document.size() < kDocumentBytes; word = word * 31 + 7) {
    document += "word" + std::to_string(word % 50'000) + " ";
  }
  return record;
}

}  // namespace

absl::StatusOr<Figures> BenchCompactBuild(const BenchOptions& options) {
  const size_t count = options.Sized(kDocuments);
  const int threads = static_cast<int>(std::thread::hardware_concurrency());
  const Clustered vectors(kDimension);
  Progress("compact", "from a log of " + std::to_string(count) + " documents to segments");
  Figures raw;
  double seconds = 0;
  {
    SLUICE_ASSIGN_OR_RETURN(
        const auto cluster,
        StartIndexed(options, {.compactors = 1, .frontends = 0},
                     {{"SLUICE_COMPACTOR_GRAPH_THREADS", std::to_string(threads)}}));
    client::Log log(client::Connect(cluster->address(cluster->log())));
    cluster->Kill(cluster->compactor(0));
    SLUICE_ASSIGN_OR_RETURN(const CollectionId collection,
                            NewIndexed(*cluster, kDimension, DueAtOnce()));
    SLUICE_ASSIGN_OR_RETURN(raw["ingested_bytes"], PushRecords(log, collection, 0, count,
                                                               kRecordsAPush, [&](uint64_t number) {
                                                                 return DocumentOf(vectors, number);
                                                               }));
    const Clock::time_point began = Clock::now();
    SLUICE_RETURN_IF_ERROR(cluster->Restart(cluster->compactor(0), SIGKILL));
    SLUICE_RETURN_IF_ERROR(AwaitApplied(log, collection));
    raw["applied_seconds"] = std::chrono::duration<double>(Clock::now() - began).count();
    SLUICE_ASSIGN_OR_RETURN(const v1::DescribeLogResponse settled, AwaitSettled(log, collection));
    seconds = std::chrono::duration<double>(Clock::now() - began).count();
    raw["seconds"] = seconds;
    raw["segments"] = Summary(settled);
    const Stored stored = StoredIn(cluster->objects());
    raw["objects"] = stored.objects;
    raw["stored_bytes"] = stored.bytes;
    SLUICE_ASSIGN_OR_RETURN(raw["graph_vectors"],
                            ReadMetric(cluster->http_address(cluster->compactor(0)),
                                       "sluice_compactor_graph_vectors_total"));
  }
  Progress("compact", "hnswlib by itself");
  SLUICE_ASSIGN_OR_RETURN(
      raw["hnswlib"],
      RunHnswlib(options.folder, kDimension,
                 {.count = count, .at = [&](size_t i) { return vectors.At(i); }},
                 {.count = 0, .at = [](size_t) { return std::vector<float>(); }}, threads));
  return Figures{{"compact_over_hnswlib", seconds / raw["hnswlib"]["build_seconds"].get<double>()},
                 {"raw", std::move(raw)}};
}

}  // namespace sluice::bench

// What a record costs as a collection grows: bytes put into the object store, and vectors put into
// graphs.
#include <algorithm>
#include <string>
#include <thread>

#include "common/errors/errors.h"
#include "common/record/fold.h"
#include "tools/bench/clustered.h"
#include "tools/bench/compact.h"
#include "tools/bench/indexed.h"

namespace sluice::bench {
namespace {

constexpr uint32_t kDimension = 32;
constexpr size_t kRecords = 1'000'000;
constexpr size_t kBatch = 1'000;
constexpr size_t kDocumentBytes = 64;
// Of the records, at which the costs are noted.
constexpr double kShares[] = {0.01, 0.1, 1};

v1::OperationRecord RecordOf(const Clustered& vectors, uint64_t number) {
  v1::OperationRecord record;
  record.set_id("record-" + std::to_string(number));
  record.set_operation(v1::OPERATION_UPSERT);
  SetVector(vectors.At(number), record.mutable_vector());
  std::string& document = *record.mutable_document();
  for (uint64_t word = number; document.size() < kDocumentBytes; word = word * 31 + 7) {
    document += std::to_string(word % 50'000) + " ";
  }
  return record;
}

}  // namespace

absl::StatusOr<Figures> BenchCompactGrowth(const BenchOptions& options) {
  const size_t count = options.Sized(kRecords);
  Progress("compact", std::to_string(count) + " records, 1,000 a compaction");
  SLUICE_ASSIGN_OR_RETURN(const auto cluster,
                          StartIndexed(options, {.compactors = 1, .frontends = 0},
                                       {{"SLUICE_COMPACTOR_GRAPH_THREADS",
                                         std::to_string(std::thread::hardware_concurrency())}}));
  client::Log log(client::Connect(cluster->address(cluster->log())));
  SLUICE_ASSIGN_OR_RETURN(const CollectionId collection,
                          NewIndexed(*cluster, kDimension, DueAtOnce()));
  const Clustered vectors(kDimension);
  Figures raw = Figures::array();
  double amplification = 0;
  uint64_t pushed = 0;
  uint64_t ingested_bytes = 0;
  for (const double share : kShares) {
    const auto until =
        std::max<uint64_t>(1, static_cast<uint64_t>(share * static_cast<double>(count)));
    v1::DescribeLogResponse settled;
    while (pushed < until) {
      const uint64_t some = std::min<uint64_t>(kBatch, until - pushed);
      SLUICE_ASSIGN_OR_RETURN(const uint64_t bytes, PushRecords(log, collection, pushed, some,
                                                                kBatch, [&](uint64_t number) {
                                                                  return RecordOf(vectors, number);
                                                                }));
      ingested_bytes += bytes;
      pushed += some;
      // So that merges are never late, which would spare some of them.
      SLUICE_ASSIGN_OR_RETURN(settled, AwaitSettled(log, collection));
    }
    const Stored stored = StoredIn(cluster->objects());
    SLUICE_ASSIGN_OR_RETURN(const double graph_vectors,
                            ReadMetric(cluster->http_address(cluster->compactor(0)),
                                       "sluice_compactor_graph_vectors_total"));
    amplification = static_cast<double>(stored.bytes) / static_cast<double>(ingested_bytes);
    raw.push_back({{"records", pushed},
                   {"ingested_bytes", ingested_bytes},
                   {"stored_bytes", stored.bytes},
                   {"objects", stored.objects},
                   {"write_amplification", amplification},
                   {"stored_bytes_per_record",
                    static_cast<double>(stored.bytes) / static_cast<double>(pushed)},
                   {"graph_insertions_per_record", graph_vectors / static_cast<double>(pushed)},
                   {"segments", Summary(settled)}});
  }
  return Figures{{"store_write_amplification", amplification}, {"raw", std::move(raw)}};
}

}  // namespace sluice::bench

// Queries of a collection whose documents were replaced again and again, over hnswlib by itself on
// what is live; and what a tail of records that no segment has yet adds to that.
#include <algorithm>
#include <chrono>
#include <fstream>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "common/record/fold.h"
#include "tools/bench/clustered.h"
#include "tools/bench/compact.h"
#include "tools/bench/hnswlib.h"
#include "tools/bench/indexed.h"
#include "tools/bench/load.h"
#include "tools/bench/log_process.h"

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kDimension = 384;
constexpr size_t kDocuments = 100'000;
// Replacements of documents at random, before the queries.
constexpr size_t kUpdates = 100'000;
constexpr size_t kUnapplied = 10'000;
constexpr size_t kRecordsAPush = 500;
constexpr size_t kDocumentBytes = 500;
constexpr size_t kQueries = 1'000;
constexpr uint32_t kNeighbours = 10;
// Numbers of queries' vectors: far from those of documents.
constexpr uint64_t kFirstQuery = uint64_t{1} << 40;
constexpr char kIdPrefix[] = "document-";

// Which vector each document has: replaced ones get numbers that none had before.
class Documents {
 public:
  explicit Documents(size_t count) : vectors_(kDimension), vector_of_(count), next_(count) {
    std::iota(vector_of_.begin(), vector_of_.end(), 0);
  }

  size_t count() const { return vector_of_.size(); }
  std::vector<float> VectorOf(size_t document) const { return vectors_.At(vector_of_[document]); }
  std::vector<float> Query(size_t number) const { return vectors_.At(kFirstQuery + number); }

  v1::OperationRecord RecordOf(size_t document) const {
    v1::OperationRecord record;
    record.set_id(absl::StrCat(kIdPrefix, document));
    record.set_operation(v1::OPERATION_UPSERT);
    SetVector(VectorOf(document), record.mutable_vector());
    std::string& text = *record.mutable_document();
    for (uint64_t word = vector_of_[document]; text.size() < kDocumentBytes; word = word * 31 + 7) {
      absl::StrAppend(&text, "word", word % 50'000, " ");
    }
    return record;
  }
  // Gives one of them another vector, and returns which.
  size_t ReplaceOne() {
    const size_t document = random_() % count();
    vector_of_[document] = next_++;
    return document;
  }

 private:
  const Clustered vectors_;
  std::vector<uint64_t> vector_of_;
  uint64_t next_;
  std::mt19937_64 random_{1};
};

v1::QueryRequest QueryOf(const CollectionId& collection, const std::vector<float>& vector) {
  v1::QueryRequest request;
  request.mutable_collection()->set_id(collection.ToString());
  SetVector(vector, request.mutable_vector());
  request.set_limit(kNeighbours);
  request.mutable_include()->set_document(true);
  return request;
}

struct Asked {
  LoadResult load;
  std::vector<v1::QueryResponse> answers;
};

// One query after the other. The first pass, which is not counted, fills caches.
absl::StatusOr<Asked> Ask(const std::string& address,
                          const std::vector<v1::QueryRequest>& queries) {
  client::Frontend frontend(client::Connect(address));
  Asked asked;
  for (const v1::QueryRequest& query : queries) {
    SLUICE_ASSIGN_OR_RETURN(asked.answers.emplace_back(), frontend.Query(query));
  }
  const Clock::time_point start = Clock::now();
  for (const v1::QueryRequest& query : queries) {
    const Clock::time_point began = Clock::now();
    SLUICE_RETURN_IF_ERROR(frontend.Query(query).status());
    asked.load.latencies_us.push_back(
        std::chrono::duration<double, std::micro>(Clock::now() - began).count());
  }
  asked.load.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  std::sort(asked.load.latencies_us.begin(), asked.load.latencies_us.end());
  return asked;
}

// The p50 of the same requests to a server that answers each with the first answer.
absl::StatusOr<double> EchoMicros(const BenchOptions& options, const Asked& asked,
                                  const std::vector<v1::QueryRequest>& queries) {
  const std::filesystem::path file = options.folder / "query-response";
  std::ofstream(file, std::ios::binary) << asked.answers.front().SerializeAsString();
  SLUICE_ASSIGN_OR_RETURN(const auto echo, StartSelf({"--serve-query-echo", file}));
  SLUICE_ASSIGN_OR_RETURN(const Asked echoed, Ask(echo->grpc_address(), queries));
  return echoed.load.latency_us(0.5);
}

// `nearest`: of each query, by number of document.
double RecallOf(const Asked& asked, const Figures& nearest) {
  size_t found = 0;
  size_t wanted = 0;
  for (size_t q = 0; q < asked.answers.size(); ++q) {
    const auto expected = nearest[q].get<std::vector<size_t>>();
    wanted += expected.size();
    for (const v1::QueryHit& hit : asked.answers[q].hits()) {
      size_t document = 0;
      const bool is_one = absl::SimpleAtoi(
          absl::string_view(hit.row().id()).substr(sizeof(kIdPrefix) - 1), &document);
      if (is_one) found += std::ranges::count(expected, document);
    }
  }
  return static_cast<double>(found) / static_cast<double>(wanted);
}

absl::StatusOr<Figures> Ceiling(const BenchOptions& options, const Documents& documents,
                                size_t queries) {
  return RunHnswlib(
      options.folder, kDimension,
      {.count = documents.count(), .at = [&](size_t i) { return documents.VectorOf(i); }},
      {.count = queries, .at = [&](size_t i) { return documents.Query(i); }},
      static_cast<int>(std::thread::hardware_concurrency()));
}

absl::Status PushReplacements(client::Log& log, const CollectionId& collection,
                              Documents& documents, size_t count) {
  return PushRecords(log, collection, 0, count, kRecordsAPush,
                     [&](uint64_t) { return documents.RecordOf(documents.ReplaceOne()); })
      .status();
}

}  // namespace

absl::StatusOr<Figures> BenchCompactQuery(const BenchOptions& options) {
  Documents documents(options.Sized(kDocuments));
  // One thread searches, as hnswlib's does.
  SLUICE_ASSIGN_OR_RETURN(const auto cluster,
                          StartIndexed(options, {.compactors = 1, .frontends = 1},
                                       {{"SLUICE_FRONTEND_READ_THREADS", "1"},
                                        {"SLUICE_COMPACTOR_GRAPH_THREADS",
                                         std::to_string(std::thread::hardware_concurrency())}}));
  client::Log log(client::Connect(cluster->address(cluster->log())));
  SLUICE_ASSIGN_OR_RETURN(const CollectionId collection,
                          NewIndexed(*cluster, kDimension, DueAtOnce()));
  Progress("compact", "documents that are replaced at random");
  SLUICE_RETURN_IF_ERROR(
      PushRecords(log, collection, 0, documents.count(), kRecordsAPush, [&](uint64_t document) {
        return documents.RecordOf(document);
      }).status());
  // The first graph is there before anything is replaced.
  SLUICE_RETURN_IF_ERROR(AwaitSettled(log, collection).status());
  SLUICE_RETURN_IF_ERROR(PushReplacements(log, collection, documents, options.Sized(kUpdates)));
  SLUICE_ASSIGN_OR_RETURN(const v1::DescribeLogResponse settled, AwaitSettled(log, collection));

  Progress("compact", "queries");
  std::vector<v1::QueryRequest> queries;
  for (size_t i = 0; i < options.Sized(kQueries); ++i) {
    queries.push_back(QueryOf(collection, documents.Query(i)));
  }
  const std::string frontend = cluster->address(cluster->frontend(0));
  SLUICE_ASSIGN_OR_RETURN(const Asked clean, Ask(frontend, queries));
  SLUICE_ASSIGN_OR_RETURN(const double echo_us, EchoMicros(options, clean, queries));
  Progress("compact", "hnswlib by itself");
  SLUICE_ASSIGN_OR_RETURN(const Figures hnswlib, Ceiling(options, documents, queries.size()));

  Progress("compact", "queries over a tail");
  cluster->Kill(cluster->compactor(0));
  SLUICE_RETURN_IF_ERROR(PushReplacements(log, collection, documents, options.Sized(kUnapplied)));
  SLUICE_ASSIGN_OR_RETURN(const Asked backlog, Ask(frontend, queries));

  const double recall = RecallOf(clean, hnswlib["nearest"]);
  const Figures equal = LeastWithRecall(hnswlib["search"], recall);
  const double clean_us = clean.load.latency_us(0.5);
  const double hnswlib_us = equal["p50_us"].get<double>();
  const double backlog_us = backlog.load.latency_us(0.5);
  return Figures{{"query_over_hnswlib", clean_us / (hnswlib_us + echo_us)},
                 {"query_backlog_over_clean", backlog_us / clean_us},
                 {"raw",
                  {{"query_p50_us", clean_us},
                   {"query_p99_us", clean.load.latency_us(0.99)},
                   {"recall", recall},
                   {"echo_p50_us", echo_us},
                   {"hnswlib_p50_us", hnswlib_us},
                   {"hnswlib_breadth", equal["breadth"]},
                   {"hnswlib_recall", equal["recall"]},
                   {"query_over_hnswlib_without_echo", clean_us / hnswlib_us},
                   {"hnswlib_search", hnswlib["search"]},
                   {"segments", Summary(settled)},
                   {"unapplied", options.Sized(kUnapplied)},
                   {"backlog_p50_us", backlog_us},
                   {"backlog_p99_us", backlog.load.latency_us(0.99)}}}};
}

}  // namespace sluice::bench

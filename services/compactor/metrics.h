// Every metric of the compactor, declared once. Lag is the log's to tell; here is what the workers
// do. Thread-safe.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <array>
#include <chrono>
#include <optional>
#include <string>

#include "common/embed/embed_client.h"
#include "services/compactor/failure.h"
#include "sluice/v1/compaction.pb.h"

namespace sluice::compactor {

// What is measured of one kind of lease.
struct JobMetrics {
  JobMetrics(prometheus::Registry& registry, const char* kind);

  prometheus::Counter& CommitsFailed(Failure failure);

  prometheus::Gauge& leases;
  prometheus::Counter& commits;
  prometheus::Counter& lost;
  prometheus::Counter& failed_infrastructure;
  prometheus::Counter& failed_collection;
  prometheus::Counter& segment_bytes;
  prometheus::Histogram& seconds;
};

struct Metrics {
  explicit Metrics(prometheus::Registry& registry);

  JobMetrics compactions;
  JobMetrics merges;

  prometheus::Counter& records;
  prometheus::Counter& bytes;
  prometheus::Counter& no_effect_adds;
  prometheus::Counter& no_effect_updates;
  prometheus::Counter& no_effect_deletes;
  prometheus::Histogram& read_seconds;
  prometheus::Histogram& embed_seconds;
  prometheus::Counter& embedded;
  prometheus::Counter& reused;
  prometheus::Counter& owed;
  prometheus::Counter& refused;
  prometheus::Counter& failing;
  prometheus::Counter& graph_vectors;
  prometheus::Counter& garbage_objects;
  prometheus::Counter& claim_failures;
};

// What is measured of one embedder of the settings.
struct EmbedderMetrics {
  EmbedderMetrics(prometheus::Registry& registry, const std::string& embedder);

  prometheus::Counter& CallsThat(const std::optional<embed::Failure>& failure);

  // By fault; the last: of calls that succeeded.
  std::array<prometheus::Counter*, 6> calls;
  prometheus::Histogram& call_tokens;
  prometheus::Counter& busy_seconds;
  prometheus::Gauge& running_calls;
  prometheus::Gauge& waiting_texts;
};

// Observes, at the end of the scope, how long it lasted.
class Timer {
 public:
  explicit Timer(prometheus::Histogram& histogram) : histogram_(histogram) {}
  ~Timer() {
    histogram_.Observe(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count());
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

 private:
  prometheus::Histogram& histogram_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace sluice::compactor

// The metrics of the frontend, each declared once. Thread-safe. README.md lists them.
#pragma once

#include <grpcpp/support/status.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <chrono>
#include <string>

namespace sluice::frontend {

class Metrics {
 public:
  // `registry` must outlive this.
  explicit Metrics(prometheus::Registry& registry);

  // A call that was answered.
  void Answered(const std::string& call, grpc::StatusCode code,
                std::chrono::steady_clock::duration took);

 private:
  prometheus::Family<prometheus::Counter>& requests_;
  prometheus::Family<prometheus::Histogram>& request_seconds_;
  prometheus::Family<prometheus::Counter>& views_;
  prometheus::Family<prometheus::Counter>& ahead_;
  prometheus::Family<prometheus::Counter>& segments_;

 public:
  prometheus::Gauge& pending_requests;
  prometheus::Counter& written_records;
  prometheus::Counter& written_bytes;
  // By what a read's ReadView brought.
  prometheus::Counter& views_unchanged;
  prometheus::Counter& views_advanced;
  prometheus::Counter& views_new;
  prometheus::Counter& views_failed;
  prometheus::Counter& views_evicted;
  prometheus::Gauge& cached_views;
  prometheus::Gauge& cached_bytes;
  prometheus::Gauge& tail_records;
  // Answers made before the log had said whether their view still holds.
  prometheus::Counter& ahead_used;
  prometheus::Counter& ahead_discarded;
  // By where they lay.
  prometheus::Counter& segments_local;
  prometheus::Counter& segments_remote;
  prometheus::Gauge& loading_segments;
  prometheus::Counter& loads_failed;
  prometheus::Histogram& embed_seconds;
};

}  // namespace sluice::frontend

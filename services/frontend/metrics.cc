#include "services/frontend/metrics.h"

#include "common/server/metrics.h"

namespace sluice::frontend {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;

const char* CodeName(grpc::StatusCode code) {
  static constexpr const char* kNames[] = {"OK",
                                           "CANCELLED",
                                           "UNKNOWN",
                                           "INVALID_ARGUMENT",
                                           "DEADLINE_EXCEEDED",
                                           "NOT_FOUND",
                                           "ALREADY_EXISTS",
                                           "PERMISSION_DENIED",
                                           "RESOURCE_EXHAUSTED",
                                           "FAILED_PRECONDITION",
                                           "ABORTED",
                                           "OUT_OF_RANGE",
                                           "UNIMPLEMENTED",
                                           "INTERNAL",
                                           "UNAVAILABLE",
                                           "DATA_LOSS",
                                           "UNAUTHENTICATED"};
  const auto i = static_cast<size_t>(code);
  return i < std::size(kNames) ? kNames[i] : "UNKNOWN";
}

prometheus::Gauge& AddGauge(prometheus::Registry& registry, const char* name, const char* help) {
  return BuildGauge().Name(name).Help(help).Register(registry).Add({});
}

prometheus::Counter& AddCounter(prometheus::Registry& registry, const char* name,
                                const char* help) {
  return BuildCounter().Name(name).Help(help).Register(registry).Add({});
}

}  // namespace

Metrics::Metrics(prometheus::Registry& registry)
    : requests_(BuildCounter()
                    .Name("sluice_frontend_requests_total")
                    .Help("Calls answered, by call and gRPC code")
                    .Register(registry)),
      request_seconds_(BuildHistogram()
                           .Name("sluice_frontend_request_seconds")
                           .Help("From a call's arrival to its answer, by call")
                           .Register(registry)),
      views_(BuildCounter()
                 .Name("sluice_frontend_views_total")
                 .Help("Views read from the log, by result: unchanged, advanced (what was held was "
                       "brought up to date), new (nothing usable was held), failed")
                 .Register(registry)),
      ahead_(BuildCounter()
                 .Name("sluice_frontend_answers_ahead_total")
                 .Help("Answers to queries made while the log was asked whether the view at hand "
                       "still holds, by result: used (it did), discarded (made again)")
                 .Register(registry)),
      segments_(BuildCounter()
                    .Name("sluice_frontend_segments_opened_total")
                    .Help("Segments opened, by place: local (mapped, once its object is on the "
                          "local disk), remote (read by range meanwhile)")
                    .Register(registry)),
      pending_requests(AddGauge(registry, "sluice_frontend_pending_requests",
                                "Calls that are not answered yet")),
      written_records(AddCounter(registry, "sluice_frontend_written_records_total",
                                 "Records that the log has acknowledged")),
      written_bytes(AddCounter(registry, "sluice_frontend_written_bytes_total",
                               "Bytes of records that the log has acknowledged, as encoded")),
      views_unchanged(views_.Add({{"result", "unchanged"}})),
      views_advanced(views_.Add({{"result", "advanced"}})),
      views_new(views_.Add({{"result", "new"}})),
      views_failed(views_.Add({{"result", "failed"}})),
      views_evicted(AddCounter(registry, "sluice_frontend_views_evicted_total",
                               "Views dropped to keep within frontend.view.max_bytes")),
      cached_views(AddGauge(registry, "sluice_frontend_cached_views",
                            "Collections with a view "
                            "in memory")),
      cached_bytes(AddGauge(registry, "sluice_frontend_cached_bytes",
                            "Estimated memory of the views: tails and id indexes")),
      tail_records(
          AddGauge(registry, "sluice_frontend_tail_records", "Records in the tails of the views")),
      ahead_used(ahead_.Add({{"result", "used"}})),
      ahead_discarded(ahead_.Add({{"result", "discarded"}})),
      segments_local(segments_.Add({{"place", "local"}})),
      segments_remote(segments_.Add({{"place", "remote"}})),
      loading_segments(AddGauge(registry, "sluice_frontend_loading_segments",
                                "Remote segments whose objects are on their way to the local "
                                "disk, or wait for it")),
      loads_failed(AddCounter(registry, "sluice_frontend_segment_loads_failed_total",
                              "Loads of segments to the local disk that failed, other than for "
                              "their objects being gone")),
      embed_seconds(BuildHistogram()
                        .Name("sluice_frontend_embed_seconds")
                        .Help("Embedding the text of a query by an embedder elsewhere, failures "
                              "included")
                        .Register(registry)
                        .Add({}, server::LatencyBuckets())) {}

void Metrics::Answered(const std::string& call, grpc::StatusCode code,
                       std::chrono::steady_clock::duration took) {
  requests_.Add({{"call", call}, {"code", CodeName(code)}}).Increment();
  request_seconds_.Add({{"call", call}}, server::LatencyBuckets())
      .Observe(std::chrono::duration<double>(took).count());
}

}  // namespace sluice::frontend

#include "services/compactor/metrics.h"

#include <string>

#include "common/server/metrics.h"

namespace sluice::compactor {
namespace {

using Labels = std::map<std::string, std::string>;

// A family that is built again with the same name and help is the same family, so each metric names
// its own.
prometheus::Counter& Counter(prometheus::Registry& registry, const char* name, const char* help,
                             const Labels& labels = {}) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add(labels);
}

prometheus::Histogram& Seconds(prometheus::Registry& registry, const char* name, const char* help,
                               const Labels& labels = {}) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add(
      labels, server::LatencyBuckets());
}

prometheus::Counter& Jobs(prometheus::Registry& registry, const char* kind, const char* outcome) {
  return Counter(registry, "sluice_compactor_commits_total",
                 "Pieces of work by how they ended: committed; lost (somebody else took over: no "
                 "harm); failed for reasons around the worker (infrastructure) or of the "
                 "collection itself (collection). Alert on any collection, on infrastructure that "
                 "lasts, and on a share of lost: leases are too short",
                 {{"kind", kind}, {"outcome", outcome}});
}

prometheus::Counter& NoEffectCounter(prometheus::Registry& registry, const char* operation) {
  return Counter(registry, "sluice_compactor_no_effect_records_total",
                 "Records applied that changed nothing: ADD of an id that exists, UPDATE or DELETE "
                 "of one that does not",
                 {{"operation", operation}});
}

prometheus::Counter& MissingCounter(prometheus::Registry& registry, const char* reason) {
  return Counter(registry, "sluice_compactor_missing_vectors_total",
                 "Rows committed without the vector of their document: owed (the embedder was away "
                 "for long), refused (it does not take the text), failing (calls with the text "
                 "fail). Alert on any: MissingVectors are listed, retried and dropped at the log",
                 {{"reason", reason}});
}

}  // namespace

JobMetrics::JobMetrics(prometheus::Registry& registry, const char* kind)
    : leases(prometheus::BuildGauge()
                 .Name("sluice_compactor_held_leases")
                 .Help("Leases held now. Alert when all workers hold one for long (log: "
                       "sluice_log_due_seconds): add workers")
                 .Register(registry)
                 .Add({{"kind", kind}})),
      commits(Jobs(registry, kind, "committed")),
      lost(Jobs(registry, kind, "lost")),
      failed_infrastructure(Jobs(registry, kind, "infrastructure")),
      failed_collection(Jobs(registry, kind, "collection")),
      segment_bytes(Counter(registry, "sluice_compactor_segment_bytes_total",
                            "Bytes of segments stored", {{"kind", kind}})),
      seconds(Seconds(registry, "sluice_compactor_commit_seconds",
                      "From the start of the work that a commit makes visible until its answer. "
                      "Alert when it comes near the lease",
                      {{"kind", kind}})) {}

prometheus::Counter& JobMetrics::CommitsFailed(Failure failure) {
  switch (failure) {
    case Failure::kLost:
      return lost;
    case Failure::kInfrastructure:
      return failed_infrastructure;
    case Failure::kCollection:
      break;
  }
  return failed_collection;
}

Metrics::Metrics(prometheus::Registry& registry)
    : compactions(registry, "compaction"),
      merges(registry, "merge"),
      records(Counter(registry, "sluice_compactor_applied_records_total", "Records applied")),
      bytes(Counter(registry, "sluice_compactor_applied_bytes_total",
                    "Bytes of records applied, as encoded")),
      no_effect_adds(NoEffectCounter(registry, "add")),
      no_effect_updates(NoEffectCounter(registry, "update")),
      no_effect_deletes(NoEffectCounter(registry, "delete")),
      read_seconds(
          Seconds(registry, "sluice_compactor_read_seconds", "Reading one batch from the log")),
      embed_seconds(Seconds(registry, "sluice_compactor_embed_seconds",
                            "Embedding the new texts among a few MiB of rows")),
      embedded(
          Counter(registry, "sluice_compactor_embedded_documents_total", "Documents embedded")),
      reused(Counter(registry, "sluice_compactor_reused_vectors_total",
                     "Documents that got the vector of the same text, embedded before, instead")),
      owed(MissingCounter(registry, "owed")),
      refused(MissingCounter(registry, "refused")),
      failing(MissingCounter(registry, "failing")),
      graph_vectors(Counter(registry, "sluice_compactor_graph_vectors_total",
                            "Vectors of merged segments that are large enough for a graph: about "
                            "what merging costs in CPU time")),
      garbage_objects(
          Counter(registry, "sluice_compactor_garbage_objects_total",
                  "Objects deleted that nothing refers to any more. Alert when it stands "
                  "still while segments are merged: space does not come back")),
      claim_failures(Counter(registry, "sluice_compactor_claim_failures_total",
                             "Claims that the log did not answer. Alert when it lasts: nothing is "
                             "applied")) {}

EmbedderMetrics::EmbedderMetrics(prometheus::Registry& registry, const std::string& embedder)
    : call_tokens(
          prometheus::BuildHistogram()
              .Name("sluice_compactor_embed_call_tokens")
              .Help("Tokens of one call to an embedder, estimated, padding included: how well "
                    "batches are filled, beside the setting max_tokens")
              .Register(registry)
              .Add({{"embedder", embedder}},
                   prometheus::Histogram::BucketBoundaries{64, 256, 1'024, 2'048, 4'096, 8'192,
                                                           16'384, 32'768, 65'536, 262'144})),
      busy_seconds(Counter(registry, "sluice_compactor_embed_busy_seconds_total",
                           "Time in which at least one call to the embedder was under way; while "
                           "texts wait, it should grow as fast as time",
                           {{"embedder", embedder}})),
      running_calls(prometheus::BuildGauge()
                        .Name("sluice_compactor_embed_running_calls")
                        .Help("Calls to the embedder under way")
                        .Register(registry)
                        .Add({{"embedder", embedder}})),
      waiting_texts(prometheus::BuildGauge()
                        .Name("sluice_compactor_embed_waiting_texts")
                        .Help("Texts that wait for a call, those sent again included")
                        .Register(registry)
                        .Add({{"embedder", embedder}})) {
  for (size_t i = 0; i < calls.size(); ++i) {
    const std::string outcome =
        i + 1 == calls.size() ? "ok" : std::string(embed::FaultName(static_cast<embed::Fault>(i)));
    calls[i] = &Counter(registry, "sluice_compactor_embed_calls_total",
                        "Calls to an embedder by how they ended: ok, or the class of the failure "
                        "(common/embed/README.md); alert on anything but ok and overloaded",
                        {{"embedder", embedder}, {"outcome", outcome}});
  }
}

prometheus::Counter& EmbedderMetrics::CallsThat(const std::optional<embed::Failure>& failure) {
  return *calls[failure ? static_cast<size_t>(failure->fault) : calls.size() - 1];
}

}  // namespace sluice::compactor

#include "services/log/metrics.h"

#include "common/errors/errors.h"
#include "common/server/metrics.h"

namespace sluice::log {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using prometheus::Registry;

Family<Counter>& Counters(Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}
Counter& OneCounter(Registry& registry, const char* name, const char* help) {
  return Counters(registry, name, help).Add({});
}
Family<Gauge>& Gauges(Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}
Gauge& OneGauge(Registry& registry, const char* name, const char* help) {
  return Gauges(registry, name, help).Add({});
}
Histogram& OneHistogram(Registry& registry, const char* name, const char* help,
                        const Histogram::BucketBoundaries& bounds) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({}, bounds);
}

Family<Counter>& Lost(Registry& registry) {
  return Counters(registry, "sluice_log_cursors_lost_total",
                  "Cursors that were given up since they held too much for too long, by why. Alert "
                  "on any: their consumers miss records.");
}
Family<Gauge>& CursorsByState(Registry& registry) {
  return Gauges(registry, "sluice_log_cursors",
                "Cursors of all collections (10,000 are counted), by state. Alert on LOST: their "
                "consumers stand still until somebody rolls them back.");
}

Family<Gauge>& DueCollections(Registry& registry) {
  return Gauges(registry, "sluice_log_due_collections",
                "Collections that are due and that no worker has taken, by kind of work. Alert on "
                "growth that lasts: add compactors.");
}
Family<Gauge>& DueSeconds(Registry& registry) {
  return Gauges(registry, "sluice_log_due_seconds",
                "For how long the first of them has waited. Alert on minutes: too few workers, or "
                "none.");
}
Family<Gauge>& MissingVectors(Registry& registry) {
  return Gauges(registry, "sluice_log_missing_vectors",
                "Rows without the vector of their document, of all collections: owed (the embedder "
                "was away), refused (it does not take the text, or fails with it). Alert on owed "
                "that does not fall while the embedder is there, and on any refused: list, retry "
                "or drop them.");
}

double Seconds(std::chrono::nanoseconds d) { return std::chrono::duration<double>(d).count(); }

std::string CodeName(const absl::Status& status) { return absl::StatusCodeToString(status.code()); }

std::string ReasonOrCode(const absl::Status& status) {
  const auto reason = ReasonOf(status);
  return reason ? std::string(ReasonName(*reason)) : CodeName(status);
}

const Histogram::BucketBoundaries kCommandBuckets = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000};
const Histogram::BucketBoundaries kByteBuckets = {1 << 10, 1 << 12, 1 << 14, 1 << 16,
                                                  1 << 18, 1 << 20, 1 << 22, 1 << 24};

}  // namespace

LogMetrics::LogMetrics(Registry& r)
    : pushes_(
          Counters(r, "sluice_log_pushes_total",
                   "Pushes answered, by code, reason and outcome. Alert on outcome UNKNOWN, and "
                   "on a share of RESOURCE_EXHAUSTED that lasts.")),
      pushes_ok_(pushes_.Add({{"code", "OK"}, {"reason", ""}, {"outcome", "IN"}})),
      overloads_(Counters(
          r, "sluice_log_push_overloads_total",
          "Pushes refused with OVERLOADED, by whose limit it was: of bytes in flight collection, "
          "node, store; dedupe. Alert on all but collection, which is one's storm.")),
      duplicates_(OneCounter(r, "sluice_log_push_duplicates_total",
                             "Pushes that had been appended by an earlier attempt.")),
      push_records_(OneCounter(r, "sluice_log_push_records_total", "Records appended.")),
      push_bytes_(OneCounter(r, "sluice_log_push_bytes_total",
                             "Bytes of requests whose records were appended.")),
      push_seconds_(OneHistogram(r, "sluice_log_push_duration_seconds",
                                 "From a push's arrival to its answer, of those that are in. Alert "
                                 "on the 99th percentile.",
                                 server::LatencyBuckets())),
      journal_seconds_(OneHistogram(r, "sluice_log_journal_duration_seconds",
                                    "Writing and syncing one group. Alert when the median rises: "
                                    "the disk is slow.",
                                    server::LatencyBuckets())),
      apply_seconds_(OneHistogram(r, "sluice_log_apply_duration_seconds",
                                  "Applying one group to the store. Alert on seconds: the store "
                                  "stalls.",
                                  server::LatencyBuckets())),
      group_commands_(OneHistogram(r, "sluice_log_group_commands",
                                   "Commands in one group: how well syncs are shared.",
                                   kCommandBuckets)),
      group_bytes_(OneHistogram(r, "sluice_log_group_bytes", "Bytes of one group.", kByteBuckets)),
      delivered_records_(
          OneCounter(r, "sluice_log_delivered_records_total", "Records handed to subscribers.")),
      delivered_bytes_(OneCounter(r, "sluice_log_delivered_bytes_total",
                                  "Bytes of records handed to subscribers.")),
      delivery_seconds_(OneHistogram(r, "sluice_log_delivery_duration_seconds",
                                     "From a record's commit to its being handed to a subscriber "
                                     "that waited for it. Alert on the 99th percentile.",
                                     server::LatencyBuckets())),
      trimmed_records_(OneCounter(r, "sluice_log_trimmed_records_total",
                                  "Records that retention, or an operator, let go.")),
      trimmed_bytes_(OneCounter(r, "sluice_log_trimmed_bytes_total",
                                "Their bytes. Alert when this grows and sluice_log_store_bytes "
                                "does not come down in a day: their space does not come back.")),
      lost_by_age_(Lost(r).Add({{"loss", "AGE"}})),
      lost_by_bytes_(Lost(r).Add({{"loss", "BYTES"}})),
      claims_(
          Counters(r, "sluice_log_claims_total",
                   "Leases granted, by kind. Alert when none is for long while there is lag: no "
                   "compactor works.")),
      warm_claims_(Counters(r, "sluice_log_warm_claims_total",
                            "Of these, leases that went to the worker that had the collection "
                            "last, by kind. Alert when their share falls: others open its segments "
                            "anew each time.")),
      commits_(Counters(r, "sluice_log_commits_total",
                        "Commits answered, by kind and result (OK, or the reason). Alert on "
                        "LEASE_LOST that lasts: leases are too short.")),
      backups_(Counters(r, "sluice_log_backups_total",
                        "Backups that were asked for, by result (OK, or the reason). Alert on "
                        "anything but OK.")),
      backup_newest_(OneGauge(r, "sluice_log_backup_newest_timestamp_seconds",
                              "When the newest complete backup that is there was begun; 0: there "
                              "is none. Alert when it is older than backups are made.")),
      backup_bytes_(OneGauge(r, "sluice_log_backup_newest_bytes",
                             "Its size, with what it shares with other backups.")),
      pins_(Gauges(r, "sluice_log_backup_pins",
                   "Backups whose objects are kept, by state: complete, incomplete. Alert on "
                   "incomplete for longer than a backup takes: it failed, and nothing is collected "
                   "until it is deleted.")),
      pins_complete_(pins_.Add({{"state", "complete"}})),
      pins_incomplete_(pins_.Add({{"state", "incomplete"}})),
      inflight_bytes_(OneGauge(r, "sluice_log_inflight_bytes",
                               "Commands accepted and not answered yet. Near the limit, pushes are "
                               "refused.")),
      journal_bytes_(OneGauge(r, "sluice_log_journal_bytes",
                              "Journal files on disk. Alert on growth: the store does not flush.")),
      store_bytes_(OneGauge(r, "sluice_log_store_bytes",
                            "Live files of the store on disk. Alert by the disk's size.")),
      memtable_bytes_(OneGauge(r, "sluice_log_memtable_bytes", "Memtables of the store.")),
      read_only_(OneGauge(r, "sluice_log_read_only_shards",
                          "Shards that refuse writes because the disk fails or is full. Alert on "
                          "anything but 0.")),
      erase_overdue_(OneGauge(r, "sluice_log_erase_overdue_seconds",
                              "For how long trimmed records that are to be erased from the "
                              "store's files (erase_within, deleted collections) should have "
                              "been: 0 but while an erasure runs. Alert on an hour.")),
      dedupe_bytes_(OneGauge(r, "sluice_log_dedupe_bytes",
                             "Disk that the request ids of the dedupe window take. Alert near "
                             "log.dedupe_max_bytes: pushes with a new id are refused there.")),
      clock_behind_(OneGauge(r, "sluice_log_clock_behind_seconds",
                             "By how much the machine's wall clock is ahead of the one that "
                             "request ids are judged by (less than 0: behind). Alert on more than "
                             "30 either way: set the machine's clock right, then sluicectl clock "
                             "--correct.")),
      streams_(OneGauge(r, "sluice_log_open_streams",
                        "Subscriptions, views and push streams that are open.")),
      stream_bytes_(OneGauge(r, "sluice_log_stream_bytes",
                             "Messages that their consumers have not taken, answers of push "
                             "streams among them. Near the limit, messages get smaller.")),
      waiting_claims_(OneGauge(r, "sluice_log_waiting_claims", "Claims that wait for work.")),
      active_cursors_(CursorsByState(r).Add({{"state", "ACTIVE"}})),
      lost_cursors_(CursorsByState(r).Add({{"state", "LOST"}})),
      pinned_bytes_(OneGauge(r, "sluice_log_pinned_bytes",
                             "Bytes of records, of all collections, that are kept only because a "
                             "cursor has not passed them. Alert on growth: a consumer stands "
                             "still.")),
      lag_records_(OneGauge(r, "sluice_log_lag_records",
                            "Records, of all collections, that the segments do not reflect yet.")),
      lag_bytes_(OneGauge(r, "sluice_log_lag_bytes",
                          "Their bytes. Alert on growth that lasts: compactors do not keep up.")),
      lag_seconds_(
          OneGauge(r, "sluice_log_lag_seconds", "Age of the oldest of them. Alert on minutes.")),
      lag_tokens_(OneGauge(r, "sluice_log_lag_tokens",
                           "Tokens that embedders have to embed for them, at most: their bytes at "
                           "four a token, in collections with an embedder, whatever of them is no "
                           "text or has its vector. Alert on growth that lasts beside idle "
                           "compactors: embedders do not keep up.")),
      worst_records_(Gauges(r, "sluice_log_worst_lag_records",
                            "Of the few collections with the oldest lag: records.")),
      worst_bytes_(Gauges(r, "sluice_log_worst_lag_bytes",
                          "Of the few collections with the oldest lag: bytes.")),
      worst_tokens_(Gauges(r, "sluice_log_worst_lag_tokens",
                           "Of the few collections with the oldest lag: tokens, at most.")),
      worst_seconds_(Gauges(r, "sluice_log_worst_lag_seconds",
                            "Of the few collections with the oldest lag: age. Alert on minutes in "
                            "one while sluice_log_due_seconds is low: it does not move.")),
      due_compactions_(DueCollections(r).Add({{"kind", "compaction"}})),
      due_merges_(DueCollections(r).Add({{"kind", "merge"}})),
      due_compactions_seconds_(DueSeconds(r).Add({{"kind", "compaction"}})),
      due_merges_seconds_(DueSeconds(r).Add({{"kind", "merge"}})),
      stalled_(OneGauge(r, "sluice_log_stalled_collections",
                        "Collections of which nothing was applied for five minutes in which "
                        "something should have been. Alert on any: DescribeLog says who has the "
                        "lease and what failed.")),
      failing_(OneGauge(r, "sluice_log_failing_collections",
                        "Collections whose last compaction or merge failed for a reason of their "
                        "own. Alert on any that lasts: DescribeLog says why.")),
      segments_(OneGauge(r, "sluice_log_segments",
                         "Segments, of all collections. Alert when they grow and the collections "
                         "do not: merges do not keep up.")),
      worst_segments_(Gauges(r, "sluice_log_worst_segments",
                             "Of the few collections with most segments, among those with work: "
                             "segments. Alert on hundreds: their reads are slow.")),
      owed_(MissingVectors(r).Add({{"reason", "owed"}})),
      refused_(MissingVectors(r).Add({{"reason", "refused"}})),
      worst_missing_(Gauges(r, "sluice_log_worst_missing_vectors",
                            "Of the few collections with most of them: rows without the vector of "
                            "their document, of any reason.")) {}

void LogMetrics::Pushed(uint32_t records, size_t bytes, bool duplicate,
                        std::chrono::nanoseconds took) {
  pushes_ok_.Increment();
  push_seconds_.Observe(Seconds(took));
  if (duplicate) return duplicates_.Increment();
  push_records_.Increment(records);
  push_bytes_.Increment(static_cast<double>(bytes));
}

void LogMetrics::PushFailed(const absl::Status& error) {
  const auto reason = ReasonOf(error);
  if (reason == Reason::OVERLOADED) {
    overloads_.Add({{"limit", ErrorMetadata(error, "limit")}}).Increment();
  }
  pushes_
      .Add({{"code", CodeName(error)},
            {"reason", reason ? std::string(ReasonName(*reason)) : ""},
            {"outcome", std::string(OutcomeName(OutcomeOf(error)))}})
      .Increment();
}

void LogMetrics::Applied(const GroupStats& group) {
  journal_seconds_.Observe(Seconds(group.journal));
  apply_seconds_.Observe(Seconds(group.apply));
  group_commands_.Observe(static_cast<double>(group.commands));
  group_bytes_.Observe(static_cast<double>(group.bytes));
}

void LogMetrics::Delivered(uint32_t records, uint64_t bytes) {
  delivered_records_.Increment(records);
  delivered_bytes_.Increment(static_cast<double>(bytes));
}

void LogMetrics::DeliveredLive(int64_t latency_us) {
  delivery_seconds_.Observe(static_cast<double>(latency_us) / 1e6);
}

void LogMetrics::Trimmed(const TrimAnswer& answer) {
  trimmed_records_.Increment(static_cast<double>(answer.records));
  trimmed_bytes_.Increment(static_cast<double>(answer.bytes));
}

void LogMetrics::CursorLost(v1::CursorLoss loss) {
  (loss == v1::CURSOR_LOSS_BYTES ? lost_by_bytes_ : lost_by_age_).Increment();
}

void LogMetrics::Claimed(std::string_view kind, bool warm) {
  const prometheus::Labels labels{{"kind", std::string(kind)}};
  claims_.Add(labels).Increment();
  if (warm) warm_claims_.Add(labels).Increment();
}

void LogMetrics::Committed(std::string_view kind, const absl::Status& status) {
  commits_.Add({{"kind", std::string(kind)}, {"result", ReasonOrCode(status)}}).Increment();
}

void LogMetrics::BackedUp(const absl::Status& status) {
  backups_.Add({{"result", status.ok() ? "OK" : ReasonOrCode(status)}}).Increment();
}

void LogMetrics::SetBackups(int64_t newest_us, uint64_t newest_bytes, size_t complete,
                            size_t incomplete) {
  backup_newest_.Set(static_cast<double>(newest_us) / 1e6);
  backup_bytes_.Set(static_cast<double>(newest_bytes));
  pins_complete_.Set(static_cast<double>(complete));
  pins_incomplete_.Set(static_cast<double>(incomplete));
}

void LogMetrics::SetShard(const Shard& shard, size_t waiting_claims) {
  inflight_bytes_.Set(static_cast<double>(shard.InflightBytes()));
  journal_bytes_.Set(static_cast<double>(shard.JournalBytes()));
  store_bytes_.Set(static_cast<double>(shard.store().DiskBytes()));
  memtable_bytes_.Set(static_cast<double>(shard.store().MemtableBytes()));
  read_only_.Set(shard.Writable().ok() ? 0 : 1);
  waiting_claims_.Set(static_cast<double>(waiting_claims));
  const ClockReading clock = shard.ReadClock();
  clock_behind_.Set(static_cast<double>(clock.wall_us - clock.clock_us) / 1e6);
}

void LogMetrics::SetEraseOverdue(std::chrono::nanoseconds overdue) {
  erase_overdue_.Set(std::chrono::duration<double>(overdue).count());
}

void LogMetrics::SetDedupe(uint64_t bytes) { dedupe_bytes_.Set(static_cast<double>(bytes)); }

void LogMetrics::SetStreams(size_t count, uint64_t held_bytes) {
  streams_.Set(static_cast<double>(count));
  stream_bytes_.Set(static_cast<double>(held_bytes));
}

void LogMetrics::SetCursors(const CursorFigures& figures) {
  active_cursors_.Set(static_cast<double>(figures.active));
  lost_cursors_.Set(static_cast<double>(figures.lost));
  pinned_bytes_.Set(static_cast<double>(figures.pinned_bytes));
}

void LogMetrics::Worst::Clear() {
  for (prometheus::Gauge* const gauge : shown_) family_.Remove(gauge);
  shown_.clear();
}

void LogMetrics::Worst::Add(const CollectionId& collection, double value) {
  shown_.push_back(&family_.Add({{"collection_id", collection.ToString()}}));
  shown_.back()->Set(value);
}

void LogMetrics::SetWork(const WorkFigures& figures) {
  lag_records_.Set(static_cast<double>(figures.lag.records));
  lag_bytes_.Set(static_cast<double>(figures.lag.bytes));
  lag_tokens_.Set(static_cast<double>(figures.lag.tokens));
  lag_seconds_.Set(figures.lag.oldest_seconds);
  due_compactions_.Set(static_cast<double>(figures.compactions.collections));
  due_merges_.Set(static_cast<double>(figures.merges.collections));
  due_compactions_seconds_.Set(figures.compactions.longest_seconds);
  due_merges_seconds_.Set(figures.merges.longest_seconds);
  stalled_.Set(static_cast<double>(figures.stalled));
  failing_.Set(static_cast<double>(figures.failing));
  segments_.Set(static_cast<double>(figures.segments));
  owed_.Set(static_cast<double>(figures.owed_vectors));
  refused_.Set(static_cast<double>(figures.refused_vectors));
  for (Worst* const worst : {&worst_records_, &worst_bytes_, &worst_tokens_, &worst_seconds_,
                             &worst_segments_, &worst_missing_}) {
    worst->Clear();
  }
  for (const auto& [collection, lag] : figures.worst_lag) {
    worst_records_.Add(collection, static_cast<double>(lag.records));
    worst_bytes_.Add(collection, static_cast<double>(lag.bytes));
    worst_tokens_.Add(collection, static_cast<double>(lag.tokens));
    worst_seconds_.Add(collection, lag.oldest_seconds);
  }
  for (const auto& [collection, count] : figures.most_segments) {
    worst_segments_.Add(collection, static_cast<double>(count));
  }
  for (const auto& [collection, count] : figures.most_missing_vectors) {
    worst_missing_.Add(collection, static_cast<double>(count));
  }
}

}  // namespace sluice::log

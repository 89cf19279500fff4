// The metrics of the log service, each declared once. Thread-safe.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "services/log/shard.h"

namespace sluice::log {

// Records that the segments do not reflect yet.
struct Lag {
  uint64_t records = 0;
  uint64_t bytes = 0;
  double oldest_seconds = 0;
};
struct LagOf {
  CollectionId collection;
  Lag lag;
};

// The cursors of all logs, by state; and the bytes that they pin.
struct CursorFigures {
  uint64_t active = 0;
  uint64_t lost = 0;
  uint64_t pinned_bytes = 0;
};

class LogMetrics {
 public:
  explicit LogMetrics(prometheus::Registry& registry);

  // A push that was answered.
  void Pushed(uint32_t records, size_t bytes, bool duplicate, std::chrono::nanoseconds took);
  void PushFailed(const absl::Status& error);
  // A group that was applied (Shard's on_group).
  void Applied(const GroupStats& group);
  // A message handed to a subscriber; `latency_us` since its last record was committed, if the
  // subscriber waited for it.
  void Delivered(uint32_t records, uint64_t bytes);
  void DeliveredLive(int64_t latency_us);
  // A lease that was granted; `warm`: to the worker that held the collection last.
  void Claimed(std::string_view kind, bool warm);
  // Records that went out of a log; a cursor that became LOST.
  void Trimmed(const TrimAnswer& answer);
  void CursorLost(v1::CursorLoss loss);
  // A commit that was answered: "OK", or the reason of the error.
  void Committed(std::string_view kind, const absl::Status& status);

  // A backup that was asked for: made, or not.
  void BackedUp(const absl::Status& status);
  // The backups that pins are held for: the newest complete one (0: none), and how many are not.
  void SetBackups(int64_t newest_us, uint64_t newest_bytes, size_t complete, size_t incomplete);

  // What the node looks at every so often.
  void SetShard(const Shard& shard, size_t waiting_claims);
  // Bytes of the rows of request ids.
  void SetDedupe(uint64_t bytes);
  // For how long an erasure has been due, and not ended.
  void SetEraseOverdue(std::chrono::nanoseconds overdue);
  // Open streams, and what their messages hold.
  void SetStreams(size_t count, uint64_t held_bytes);
  void SetCursors(const CursorFigures& figures);
  // `worst`: few, the longest lag first.
  void SetLag(const Lag& total, const std::vector<LagOf>& worst);

 private:
  prometheus::Family<prometheus::Counter>& pushes_;
  prometheus::Counter& pushes_ok_;
  prometheus::Family<prometheus::Counter>& overloads_;
  prometheus::Counter& duplicates_;
  prometheus::Counter& push_records_;
  prometheus::Counter& push_bytes_;
  prometheus::Histogram& push_seconds_;
  prometheus::Histogram& journal_seconds_;
  prometheus::Histogram& apply_seconds_;
  prometheus::Histogram& group_commands_;
  prometheus::Histogram& group_bytes_;
  prometheus::Counter& delivered_records_;
  prometheus::Counter& delivered_bytes_;
  prometheus::Histogram& delivery_seconds_;
  prometheus::Counter& trimmed_records_;
  prometheus::Counter& trimmed_bytes_;
  prometheus::Counter& lost_by_age_;
  prometheus::Counter& lost_by_bytes_;
  prometheus::Family<prometheus::Counter>& claims_;
  prometheus::Family<prometheus::Counter>& warm_claims_;
  prometheus::Family<prometheus::Counter>& commits_;

  prometheus::Family<prometheus::Counter>& backups_;
  prometheus::Gauge& backup_newest_;
  prometheus::Gauge& backup_bytes_;
  prometheus::Family<prometheus::Gauge>& pins_;
  prometheus::Gauge& pins_complete_;
  prometheus::Gauge& pins_incomplete_;

  prometheus::Gauge& inflight_bytes_;
  prometheus::Gauge& journal_bytes_;
  prometheus::Gauge& store_bytes_;
  prometheus::Gauge& memtable_bytes_;
  prometheus::Gauge& read_only_;
  prometheus::Gauge& erase_overdue_;
  prometheus::Gauge& dedupe_bytes_;
  prometheus::Gauge& clock_behind_;
  prometheus::Gauge& streams_;
  prometheus::Gauge& stream_bytes_;
  prometheus::Gauge& waiting_claims_;
  prometheus::Gauge& active_cursors_;
  prometheus::Gauge& lost_cursors_;
  prometheus::Gauge& pinned_bytes_;
  prometheus::Gauge& lag_records_;
  prometheus::Gauge& lag_bytes_;
  prometheus::Gauge& lag_seconds_;
  prometheus::Family<prometheus::Gauge>& worst_records_;
  prometheus::Family<prometheus::Gauge>& worst_bytes_;
  prometheus::Family<prometheus::Gauge>& worst_seconds_;
  // Of the worst families, those in force. Set by one thread.
  struct Worst {
    prometheus::Gauge* records;
    prometheus::Gauge* bytes;
    prometheus::Gauge* seconds;
  };
  std::vector<Worst> worst_;
};

}  // namespace sluice::log

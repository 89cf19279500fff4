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
#include "services/log/figures.h"
#include "services/log/shard.h"

namespace sluice::log {

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
  void SetWork(const WorkFigures& figures);

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
  prometheus::Gauge& lag_tokens_;
  // Of a few collections, which are others each time. Set by one thread.
  class Worst {
   public:
    explicit Worst(prometheus::Family<prometheus::Gauge>& family) : family_(family) {}
    void Clear();
    void Add(const CollectionId& collection, double value);

   private:
    prometheus::Family<prometheus::Gauge>& family_;
    std::vector<prometheus::Gauge*> shown_;
  };
  Worst worst_records_;
  Worst worst_bytes_;
  Worst worst_tokens_;
  Worst worst_seconds_;
  prometheus::Gauge& due_compactions_;
  prometheus::Gauge& due_merges_;
  prometheus::Gauge& due_compactions_seconds_;
  prometheus::Gauge& due_merges_seconds_;
  prometheus::Gauge& stalled_;
  prometheus::Gauge& failing_;
  prometheus::Gauge& segments_;
  Worst worst_segments_;
  prometheus::Gauge& owed_;
  prometheus::Gauge& refused_;
  Worst worst_missing_;
};

}  // namespace sluice::log

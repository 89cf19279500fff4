#include "services/log/figures.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "common/errors/errors.h"
#include "services/log/due.h"
#include "services/log/keys.h"
#include "services/log/reader.h"

namespace sluice::log {
namespace {

constexpr size_t kMaxLogs = 10'000;
constexpr size_t kWorst = 10;
// As the compactor's estimate for ASCII.
constexpr uint64_t kBytesPerToken = 4;

double SecondsSince(int64_t time_us, int64_t now_us) {
  return time_us == 0 ? 0 : static_cast<double>(std::max<int64_t>(0, now_us - time_us)) / 1e6;
}

Lag LagIn(const pb::LogState& log, int64_t now_us) {
  Lag lag;
  lag.records = log.tail() - log.applied();
  lag.bytes = log.tail_bytes() - log.applied_bytes();
  if (!log.schema().embedder().kind().empty()) lag.tokens = lag.bytes / kBytesPerToken;
  lag.oldest_seconds = SecondsSince(log.oldest_unapplied_us(), now_us);
  return lag;
}

void Add(const Lag& lag, Lag* sum) {
  sum->records += lag.records;
  sum->bytes += lag.bytes;
  sum->tokens += lag.tokens;
  sum->oldest_seconds = std::max(sum->oldest_seconds, lag.oldest_seconds);
}

void Add(const DueKey& row, int64_t now_us, Waiting* waiting) {
  if (row.due_us > now_us) return;
  ++waiting->collections;
  waiting->longest_seconds = std::max(waiting->longest_seconds, SecondsSince(row.due_us, now_us));
}

template <class T, class Less>
void KeepFirst(std::vector<T>* all, const Less& before) {
  const auto end = all->begin() + static_cast<ptrdiff_t>(std::min(all->size(), kWorst));
  std::partial_sort(all->begin(), end, all->end(), before);
  all->erase(end, all->end());
}
bool HasMore(const CountOf& a, const CountOf& b) { return a.count > b.count; }

absl::Status MeasureMissing(const Snapshot& snapshot, WorkFigures* figures) {
  const std::string prefix = TypePrefix(RowType::kMissing);
  auto it = snapshot.Scan(prefix, PrefixEnd(prefix));
  // One row of each log; its state has the counts.
  for (size_t logs = 0; it.Valid() && logs < kMaxLogs; ++logs) {
    const auto collection = CollectionOfKey(it.key());
    if (!collection) break;
    if (const auto log = ReadLog(snapshot, *collection); log.ok()) {
      figures->owed_vectors += log->owed_vectors();
      figures->refused_vectors += log->missing_vectors() - log->owed_vectors();
      figures->most_missing_vectors.push_back({*collection, log->missing_vectors()});
    }
    it.Seek(PrefixEnd(CollectionPrefix(RowType::kMissing, *collection)));
  }
  KeepFirst(&figures->most_missing_vectors, HasMore);
  return it.status();
}

}  // namespace

bool StallWatch::IsStalled(const CollectionId& collection, const pb::LogState& log,
                           int64_t now_us) {
  const int64_t wanted_us = CompactionWanted(log, now_us);
  if (wanted_us == 0 || wanted_us > now_us) return false;
  Seen seen{log.applied(), now_us};
  const auto it = before_.find(collection);
  if (it != before_.end() && it->second.applied == seen.applied) seen = it->second;
  now_[collection] = seen;
  return now_us - seen.since_us >= kStalledAfterUs;
}

void StallWatch::EndRound() { before_ = std::exchange(now_, {}); }

absl::StatusOr<WorkFigures> MeasureWork(const Snapshot& snapshot, int64_t now_us,
                                        StallWatch* stalls) {
  WorkFigures figures;
  absl::flat_hash_set<CollectionId> seen;
  for (const DueKind kind : {DueKind::kCompaction, DueKind::kMerge}) {
    SLUICE_ASSIGN_OR_RETURN(const auto rows, ReadDue(snapshot, kind, INT64_MAX, kMaxLogs));
    for (const DueKey& row : rows) {
      const absl::StatusOr<pb::LogState> log = ReadLog(snapshot, row.collection);
      if (!log.ok()) continue;
      Add(row, now_us, kind == DueKind::kMerge ? &figures.merges : &figures.compactions);
      if (!seen.insert(row.collection).second) continue;
      if (log->failures() > 0) ++figures.failing;
      // 0: there are none, or the store is from before they were counted.
      if (log->segments() > 0) figures.most_segments.push_back({row.collection, log->segments()});
      if (kind == DueKind::kMerge) continue;
      const Lag lag = LagIn(*log, now_us);
      Add(lag, &figures.lag);
      figures.worst_lag.push_back({row.collection, lag});
      if (lag.records > 0 && stalls->IsStalled(row.collection, *log, now_us)) ++figures.stalled;
    }
  }
  stalls->EndRound();
  KeepFirst(&figures.worst_lag, [](const LagOf& a, const LagOf& b) {
    return a.lag.oldest_seconds > b.lag.oldest_seconds;
  });
  KeepFirst(&figures.most_segments, HasMore);
  SLUICE_RETURN_IF_ERROR(MeasureMissing(snapshot, &figures));
  SLUICE_ASSIGN_OR_RETURN(const pb::ShardState shard, ReadShardState(snapshot));
  figures.segments = shard.segments();
  return figures;
}

}  // namespace sluice::log

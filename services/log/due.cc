#include "services/log/due.h"

#include <algorithm>

#include "services/log/retention.h"

namespace sluice::log {
namespace {

constexpr int64_t kEraseDeadAfterQuarters = 2;
// About a commit's worth.
constexpr uint64_t kFarBehindBytes = 16 << 20;
constexpr size_t kManySegments = 12;

// `due` was in force before; what could run at `now` keeps its place.
int64_t AtOnce(int64_t due_us, int64_t now_us) {
  return due_us != 0 && due_us <= now_us ? due_us : now_us;
}

int64_t NotBefore(int64_t due_us, int64_t retry_after_us, const pb::LeaseState& lease,
                  int64_t now_us) {
  due_us = std::max(due_us, retry_after_us);
  if (lease.token() != 0 && lease.expires_us() > now_us) {
    due_us = std::max(due_us, lease.expires_us());
  }
  return due_us;
}

}  // namespace

int64_t CompactionWanted(const pb::LogState& log, int64_t now_us) {
  const bool is_unapplied = log.tail() != log.applied();
  if (log.deleted() || log.schema().log_only()) return 0;
  if (!is_unapplied && log.owed_vectors() == 0) return 0;
  const v1::CompactionTrigger& trigger = log.settings().compaction();
  const uint64_t max_bytes = trigger.max_bytes() ? trigger.max_bytes() : kDefaultCompactionBytes;
  const int64_t max_age_us = trigger.max_age_ms()
                                 ? static_cast<int64_t>(trigger.max_age_ms()) * 1000
                                 : kDefaultCompactionAgeUs;
  int64_t due_us = INT64_MAX;
  if (is_unapplied) due_us = log.oldest_unapplied_us() + max_age_us;
  if (log.owed_vectors() > 0) due_us = std::min(due_us, log.owed_due_us());
  if (UnappliedBytes(log) >= max_bytes) {
    due_us = std::min(due_us, AtOnce(log.compaction_due_us(), now_us));
  }
  return due_us;
}

int64_t CompactionDue(const pb::LogState& log, int64_t now_us) {
  const int64_t wanted_us = CompactionWanted(log, now_us);
  if (wanted_us == 0) return 0;
  return NotBefore(wanted_us, log.retry_after_us(), log.compaction_lease(), now_us);
}

bool MergesWait(const pb::LogState& log, size_t segments) {
  return UnappliedBytes(log) > kFarBehindBytes && segments <= kManySegments;
}

int64_t MergeDue(const pb::LogState& log, std::span<const v1::SegmentInfo> segments, bool wanted,
                 int64_t now_us) {
  if (log.deleted()) return 0;
  int64_t due_us = INT64_MAX;
  if (wanted && !MergesWait(log, segments.size())) due_us = AtOnce(log.merge_due_us(), now_us);
  if (const int64_t quarter_us = EraseQuarterUs(log)) {
    for (const v1::SegmentInfo& segment : segments) {
      if (segment.dead_rows() == 0) continue;
      due_us = std::min(due_us, segment.dead_since_us() + kEraseDeadAfterQuarters * quarter_us);
    }
  }
  if (due_us == INT64_MAX) return 0;
  return NotBefore(due_us, log.merge_retry_after_us(), log.merge_lease(), now_us);
}

int64_t EraseDeadBefore(const pb::LogState& log, int64_t now_us) {
  const int64_t quarter_us = EraseQuarterUs(log);
  return quarter_us == 0 ? 0 : now_us - kEraseDeadAfterQuarters * quarter_us;
}

}  // namespace sluice::log

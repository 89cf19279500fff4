// When the work of compactors on a log is due. Pure functions of the log's state and the shard's
// time; thread-safe. Times in microseconds; 0: not due.
#pragma once

#include <cstdint>
#include <span>

#include "services/log/command.pb.h"

namespace sluice::log {

inline constexpr uint64_t kDefaultCompactionBytes = 1 << 20;
inline constexpr int64_t kDefaultCompactionAgeUs = 10'000'000;
inline constexpr uint64_t kDefaultMaxBacklogBytes = uint64_t{4} << 30;

// None of a log_only collection, to which nothing is applied.
inline uint64_t UnappliedBytes(const pb::LogState& log) {
  return log.schema().log_only() ? 0 : log.tail_bytes() - log.applied_bytes();
}

// When a log should be compacted, whoever holds it or has put it off: at once if enough bytes are
// unapplied, else when the oldest record gets too old, or when owed vectors are to be looked at.
int64_t CompactionWanted(const pb::LogState& log, int64_t now_us);
// As CompactionWanted, but not before retry-after, nor while a lease has not run out. What is due
// already keeps its place in the queue.
int64_t CompactionDue(const pb::LogState& log, int64_t now_us);

// While a log is far behind, what would be merged is soon merged again with what comes: merges
// wait, unless there are many segments by now.
bool MergesWait(const pb::LogState& log, size_t segments);

// At once if some neighbours are worth merging (`wanted`), else when something that died in
// `segments` is to be erased; with the same two exceptions.
int64_t MergeDue(const pb::LogState& log, std::span<const v1::SegmentInfo> segments, bool wanted,
                 int64_t now_us);
// What has been dead since then, or longer, is to be erased from the segments. 0: nothing.
int64_t EraseDeadBefore(const pb::LogState& log, int64_t now_us);

}  // namespace sluice::log

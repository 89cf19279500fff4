// What a log keeps, and when some of it may go. Pure functions of the log's state and the shard's
// time; thread-safe. Times in microseconds; 0: not due.
//
// A record *passes* when it is applied; in a log_only collection, when it is appended. At an age
// since then, or where more bytes than the setting says have passed, retention lets it go. It is
// trimmed once every cursor has passed it too: what they hold beyond is *pinned*.
//
// When records passed is noted in a few marks, each for an eighth of the setting's age or bytes, so
// that no record needs to be read for it. So what is let go by age is up to an eighth older, and
// what is kept by bytes up to an eighth less.
#pragma once

#include <cstdint>

#include "services/log/command.pb.h"

namespace sluice::log {

inline constexpr int64_t kDefaultLogOnlyAgeUs = int64_t{7} * 24 * 60 * 60 * 1'000'000;

// What is in force for a collection: its setting, or the shard's.
struct RetentionRule {
  int64_t max_age_us = 0;
  uint64_t max_bytes = 0;
};
RetentionRule RetentionOf(const pb::LogState& log, const pb::Policy& policy);

// The last SeqId that passed, and the bytes of all records up to it.
uint64_t Passed(const pb::LogState& log);
uint64_t PassedBytes(const pb::LogState& log);

// Whether the slowest cursor holds what retention has let go; and how much of it, once the log is
// trimmed as far as that cursor.
bool IsPinned(const pb::LogState& log);
uint64_t PinnedBytes(const pb::LogState& log);

// Takes note of what passed, lets go what is old or too much, and moves trim_due_us to when there
// is something to do (Retain): to trim, to let go, or to give up a cursor. What is due keeps its
// place in the queue.
void UpdateRetention(pb::LogState& log, const pb::Policy& policy, int64_t now_us);

// The collection's erase_within, in four parts: what was applied is trimmed in the first, and goes
// from the store's files in the second; segments in which something has died are written anew in
// the second half's first quarter, and deleted in its last. 0: nothing is promised.
int64_t EraseQuarterUs(const pb::LogState& log);

// Where the log may be trimmed to: what was let go, and every cursor has passed.
uint64_t TrimTarget(const pb::LogState& log);

// Why the slowest cursor of a log that is trimmed as far as that cursor is to be given up; unset:
// it is not.
v1::CursorLoss LossOfSlowest(const pb::LogState& log, const pb::Policy& policy, int64_t now_us);

}  // namespace sluice::log

// The memory of request ids: which appends are in, for as long as the dedupe window lasts. Part of
// the log machine; applier thread only.
//
// An id whose own time lies before the horizon is refused, and by the same comparison its row is
// deleted, in bounded steps. The horizon is the dedupe window before the machine's clock, and never
// before an id that was forgotten: whatever the clock does, an id is known, or refused, or new. So
// a clock that was far ahead and is right again costs no more than what was forgotten meanwhile.
//
// Times are by the machine's clock, not by the shard's time, which never goes back: after a clock
// was ahead, callers with the right time would be refused until the shard's time has been reached.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/log/command.h"
#include "services/log/command.pb.h"
#include "services/log/rows.h"

namespace sluice::log {

class Dedupe {
 public:
  Dedupe(Rows& rows, pb::ShardState& shard) : rows_(rows), shard_(shard) {}

  // Moves the horizon to where the clock says, and deletes some of the rows behind it. Before each
  // command.
  absl::Status Advance(int64_t clock_us);

  // What the first attempt was, if there was one; nullopt: this is the first. REQUEST_ID_EXPIRED,
  // REQUEST_ID_IN_FUTURE, REQUEST_ID_REUSED.
  absl::StatusOr<std::optional<pb::DedupeState>> Find(const PushView& push);
  // PREDECESSOR_MISSING unless an append to `collection` with this request_id is in.
  absl::Status CheckPredecessor(const RequestId& predecessor, const CollectionId& collection);
  // OVERLOADED if the rows would take more bytes than the policy allows; with the time until the
  // oldest falls out of the window. To be asked before Remember.
  absl::Status CheckRoom();
  void Remember(const PushView& push, SeqId first);

 private:
  int64_t HorizonMs() const;
  absl::Status Sweep();

  Rows& rows_;
  pb::ShardState& shard_;
  int64_t clock_us_ = 0;
};

}  // namespace sluice::log

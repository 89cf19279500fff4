// The memory of request ids: which appends are in, for as long as the dedupe window lasts. Part of
// the log machine; applier thread only.
//
// The horizon only moves forward: an id whose own time lies before it is refused, and by the same
// comparison its row is deleted, in bounded steps.
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

  // Moves the horizon to where the shard's time says, and deletes some of the rows behind it.
  // Before each command.
  absl::Status Advance();

  // What the first attempt was, if there was one; nullopt: this is the first. REQUEST_ID_EXPIRED,
  // REQUEST_ID_IN_FUTURE, REQUEST_ID_REUSED.
  absl::StatusOr<std::optional<pb::DedupeState>> Find(const PushView& push);
  // PREDECESSOR_MISSING unless an append to `collection` with this request_id is in.
  absl::Status CheckPredecessor(const RequestId& predecessor, const CollectionId& collection);
  void Remember(const PushView& push, SeqId first);

 private:
  Rows& rows_;
  pb::ShardState& shard_;
};

}  // namespace sluice::log

// Applies groups of commands to the store: hands each command to the machine it is for, and writes
// all changes of a group, with its position, in one batch. Applier thread only. After a failed
// Finish (or `failure()`), nothing of the group is in the store, and the same group must be applied
// again.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "common/base/ids.h"
#include "services/log/catalog_machine.h"
#include "services/log/command.h"
#include "services/log/command.pb.h"
#include "services/log/log_machine.h"
#include "services/log/rows.h"
#include "services/log/store.h"

namespace sluice::log {

// Where a log stands after a group that moved it.
struct LogPositions {
  CollectionId collection;
  SeqId tail;
  SeqId applied;
  SeqId trim;
  Incarnation incarnation;
  bool deleted = false;
};

class StateMachine {
 public:
  explicit StateMachine(Store& store)
      : store_(store), rows_(store), catalog_(rows_), logs_(rows_, shard_) {}
  StateMachine(const StateMachine&) = delete;

  // Reads where the store stands. Once, before anything else.
  absl::Status Load();

  // The command's bytes must stay until Finish.
  Result Apply(const CommandView& command);
  // Writes the group. Fills `moved` with the logs that it moved.
  absl::Status Finish(JournalPosition position, std::vector<LogPositions>* moved);

  const pb::ShardState& shard() const { return shard_; }

 private:
  Result Dispatch(const CommandView& command);
  Result Configure(const pb::ConfigureShard& command);
  void Discard();

  Store& store_;
  Rows rows_;
  // As of the last command applied, and as of the last group written.
  pb::ShardState shard_;
  pb::ShardState written_;
  CatalogMachine catalog_;
  LogMachine logs_;
};

}  // namespace sluice::log

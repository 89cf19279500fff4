// The catalog and the logs are two state machines, and no command changes both: a change of the
// catalog is followed by commands to the log, and done when the log has followed. A call that
// changed the catalog, its repetition after a crash, and the scan at start-up all end here.
//
// Blocks on the journal: for threads of the commands pool. Thread-safe; repeating is harmless.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/log/shard.h"
#include "sluice/v1/collection.pb.h"

namespace sluice::log {

// Makes the log follow a collection as the catalog has it, and yields what the catalog says then:
// CREATING: the log is opened, the collection becomes ACTIVE. ACTIVE: the log gets its settings.
// DELETING: the log is deleted, the collection becomes DELETED.
absl::StatusOr<v1::Collection> Settle(Shard& shard, const v1::Collection& collection);

// Settles every collection whose log has not followed; reads the whole catalog. For start-up.
absl::Status SettleAll(Shard& shard);

}  // namespace sluice::log

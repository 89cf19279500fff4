// Deletes what the log says may be deleted, and nothing else: every name deleted is named by an
// entry of the log's list, or lies under a prefix that an entry gives away (an ended token's
// objects that it did not commit; all of a deleted collection's incarnation).
//
// May run in several compactors at once, and be killed at any moment: deleting again what is gone
// is OK, and an entry leaves the list only after its objects are gone.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/objects/object_store.h"
#include "services/compactor/job.h"
#include "sluice/v1/compaction.pb.h"

namespace sluice::compactor {

// The objects that `entry` gives away, as they are there now. INVALID_ARGUMENT for an entry that
// this version does not understand: it stays in the list.
absl::StatusOr<std::vector<std::string>> ObjectsOf(const v1::GarbageEntry& entry,
                                                   const ObjectStore& objects);

// Works off the list as it is now.
absl::Status CollectGarbage(const Workplace& workplace, Pulse& pulse, const std::stop_token& stop);

}  // namespace sluice::compactor

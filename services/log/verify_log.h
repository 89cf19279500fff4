// Checks one log: its state, each of its appends, and the rows that its state counts.
//
// Appends are read in stretches, each from a snapshot of its own, so that no snapshot is held for
// long; what is trimmed meanwhile is left out.
#pragma once

#include "absl/status/status.h"
#include "common/base/ids.h"
#include "services/log/store.h"
#include "services/log/verify_work.h"

namespace sluice::log {

// The errors are those of reading at all: CANCELLED, UNAVAILABLE. A log that is not there is none.
absl::Status VerifyLog(const Store& store, const CollectionId& collection, VerifyWork& work);

}  // namespace sluice::log

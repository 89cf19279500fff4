// One claimed merge: neighbouring segments become one that takes their place. It commutes with
// compactions: their commits go on meanwhile.
//
// Whatever fails, the segments are as before; an object stored and not committed goes by the log's
// list of garbage.
#pragma once

#include "absl/status/status.h"
#include "services/compactor/job.h"

namespace sluice::compactor {

// OK: merged, or there was nothing to merge. CANCELLED: dropped, as the process is stopping. The
// caller releases the lease.
absl::Status RunMerge(const Job& job);

}  // namespace sluice::compactor

// One claimed compaction, from its lease to its last commit: open the segments, then, batch by
// batch while there is backlog, read, fold, embed, write one segment, store it, commit. The next
// batch is read while this one is worked on.
//
// Whatever fails, nothing is visible but whole commits; an object stored and not committed goes by
// the log's list of garbage.
#pragma once

#include "absl/status/status.h"
#include "services/compactor/job.h"

namespace sluice::compactor {

// OK: the log's tail was reached, it is the turn of others, or the process is stopping. The caller
// releases the lease.
absl::Status RunCompaction(const Job& job);

}  // namespace sluice::compactor

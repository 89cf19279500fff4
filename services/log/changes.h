// Which of a push's ids changed since a SeqId: the lookup behind the condition if_ids_unchanged.
// Reads the id hashes in the headers of the appends since then, and the records that they hit, so
// that two ids of one hash are told apart. Deterministic; applier thread only.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "services/log/command.h"
#include "services/log/log_table.h"
#include "services/log/rows.h"

namespace sluice::log {

struct IdChange {
  std::string id;
  SeqId seq_id;
};

// The first record in (since, tail] whose id is one of those that the condition of `push` is about
// (its list, or the ids of its records); nullopt: there is none. trim <= since <= tail.
// LOG_CORRUPT.
absl::StatusOr<std::optional<IdChange>> FirstChange(Rows& rows, const Log& log, SeqId since,
                                                    const PushView& push);

}  // namespace sluice::log

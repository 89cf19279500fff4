// Checks the rows of a store: that each can be read and is what its key says, and that rows which
// depend on each other agree. What a log holds: verify_log.h.
#pragma once

#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "services/log/store.h"
#include "services/log/verify_work.h"

namespace sluice::log {

// Visits the rows whose keys begin with `prefix`, in order. Rows that cannot be read are found as
// damage (of `collection`, unless that is ""), as a range of keys that ends where reading works
// again. Errors: those of `visit` and of Read; UNAVAILABLE.
absl::Status VisitRows(
    const Snapshot& snapshot, std::string_view prefix, std::string_view collection,
    VerifyWork& work,
    absl::FunctionRef<absl::Status(std::string_view key, std::string_view value)> visit);

// All rows of a store: of the shard, the catalog and every log. The errors are those of reading at
// all: CANCELLED, UNAVAILABLE.
absl::Status VerifyRows(const Store& store, VerifyWork& work);

}  // namespace sluice::log

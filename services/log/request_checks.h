// What the services check of a request in the same way. Pure functions; thread-safe.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "services/log/command.pb.h"

namespace sluice::log {

// INCARNATION_CHANGED unless `given` is 0 (none) or the log's.
absl::Status CheckIncarnation(uint64_t given, Incarnation of_log);
// TRIMMED, BEYOND_TAIL unless everything after `start` is there to be read.
absl::Status CheckStart(const pb::LogState& log, SeqId start);
// INVALID_REQUEST, naming the field.
absl::Status InvalidField(std::string_view field, std::string_view what);
absl::StatusOr<CollectionId> CheckCollectionId(std::string_view text,
                                               std::string_view field = "collection_id");

}  // namespace sluice::log

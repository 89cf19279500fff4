// What the calls share: where a read may begin, and what to say when it may not. Pure functions.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "common/base/ids.h"
#include "services/log/command.pb.h"

namespace sluice::log {

// INCARNATION_CHANGED unless `given` is 0 (none) or the log's.
absl::Status CheckIncarnation(uint64_t given, Incarnation of_log);
// TRIMMED, BEYOND_TAIL unless everything after `start` is there to be read.
absl::Status CheckStart(const pb::LogState& log, SeqId start);
// INVALID_REQUEST, naming the field.
absl::Status InvalidField(std::string_view field, std::string_view what);

}  // namespace sluice::log

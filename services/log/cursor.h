// Cursors: what they may be called, whether one may be used, and how it is shown. The rules by
// which they move: cursor_machine.cc. Pure functions; thread-safe.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "common/base/ids.h"
#include "services/log/command.pb.h"
#include "sluice/v1/cursor.pb.h"

namespace sluice::log {

// The name of `applied` as a cursor: of no row, and no consumer's.
inline constexpr std::string_view kIndexCursor = "index";

// INVALID_REQUEST unless it is 1..128 bytes of [a-zA-Z0-9._-].
absl::Status CheckCursorName(std::string_view name);
// The same for calls that change the cursor: not "index" either.
absl::Status CheckConsumersCursor(std::string_view name);

// CURSOR_LOST; INCARNATION_CHANGED if the log was restored since the cursor last moved.
absl::Status CheckUsable(std::string_view name, const pb::CursorState& cursor,
                         const pb::LogState& log, Incarnation incarnation);
absl::Status CursorNotFound(std::string_view name);

v1::Cursor ShowCursor(std::string_view name, const pb::CursorState& cursor);
// `applied`, as a cursor.
v1::Cursor ShowIndexCursor(const pb::LogState& log, Incarnation incarnation);

}  // namespace sluice::log

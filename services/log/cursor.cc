#include "services/log/cursor.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "common/record/limits.h"
#include "services/log/request_checks.h"

namespace sluice::log {
namespace {

bool IsNameCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
}

std::string_view LossName(v1::CursorLoss loss) {
  return loss == v1::CURSOR_LOSS_BYTES ? "BYTES" : "AGE";
}

}  // namespace

absl::Status CheckCursorName(std::string_view name) {
  if (name.empty()) return InvalidField("name", "missing");
  if (name.size() > kMaxCursorNameBytes) return InvalidField("name", "longer than 128 bytes");
  if (!std::all_of(name.begin(), name.end(), IsNameCharacter)) {
    return InvalidField("name", "only letters, digits, '.', '_' and '-' are allowed");
  }
  return absl::OkStatus();
}

absl::Status CheckConsumersCursor(std::string_view name) {
  if (name == kIndexCursor) return InvalidField("name", "\"index\" is moved by compaction alone");
  return CheckCursorName(name);
}

absl::Status CheckUsable(std::string_view name, const pb::CursorState& cursor,
                         const pb::LogState& log, Incarnation incarnation) {
  if (cursor.loss() != v1::CURSOR_LOSS_UNSPECIFIED) {
    const std::string_view why = cursor.loss() == v1::CURSOR_LOSS_BYTES ? "bytes" : "long";
    return MakeError(
        Reason::CURSOR_LOST,
        absl::StrCat("cursor ", std::string(name), " was lost at SeqId ", cursor.seq_id(),
                     ": it held records in place for too ", why == "long" ? "long" : "many bytes"),
        {{"cursor", std::string(name)},
         {"loss", std::string(LossName(cursor.loss()))},
         {"seq_id", absl::StrCat(cursor.seq_id())},
         {"first_seq_id", absl::StrCat(log.trim() + 1)}});
  }
  return CheckIncarnation(cursor.incarnation(), incarnation);
}

absl::Status CursorNotFound(std::string_view name) {
  return MakeError(Reason::CURSOR_NOT_FOUND,
                   absl::StrCat("the log has no cursor ", std::string(name)),
                   {{"cursor", std::string(name)}});
}

v1::Cursor ShowCursor(std::string_view name, const pb::CursorState& cursor) {
  v1::Cursor shown;
  shown.set_name(std::string(name));
  shown.set_seq_id(cursor.seq_id());
  shown.set_state(cursor.loss() == v1::CURSOR_LOSS_UNSPECIFIED ? v1::CURSOR_STATE_ACTIVE
                                                               : v1::CURSOR_STATE_LOST);
  shown.set_loss(cursor.loss());
  shown.set_lost_time_us(cursor.lost_us());
  shown.set_created_time_us(cursor.created_us());
  shown.set_moved_time_us(cursor.moved_us());
  shown.set_incarnation(cursor.incarnation());
  return shown;
}

v1::Cursor ShowIndexCursor(const pb::LogState& log, Incarnation incarnation) {
  v1::Cursor shown;
  shown.set_name(std::string(kIndexCursor));
  shown.set_seq_id(log.applied());
  shown.set_state(v1::CURSOR_STATE_ACTIVE);
  shown.set_incarnation(incarnation.value);
  return shown;
}

}  // namespace sluice::log

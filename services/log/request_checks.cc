#include "services/log/request_checks.h"

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"

namespace sluice::log {

absl::Status CheckIncarnation(uint64_t given, Incarnation of_log) {
  if (given == 0 || given == of_log.value) return absl::OkStatus();
  return MakeError(Reason::INCARNATION_CHANGED, "the log was restored from a backup since",
                   {{"incarnation", absl::StrCat(of_log.value)}});
}

absl::Status CheckStart(const pb::LogState& log, SeqId start) {
  if (start.value < log.trim()) {
    return MakeError(Reason::TRIMMED,
                     absl::StrCat("records after ", start.value, " were asked for, those up to ",
                                  log.trim(), " are no longer kept"),
                     {{"first_seq_id", absl::StrCat(log.trim() + 1)}});
  }
  if (start.value > log.tail()) {
    return MakeError(Reason::BEYOND_TAIL,
                     absl::StrCat("start ", start.value, " lies beyond the tail ", log.tail()),
                     {{"tail_seq_id", absl::StrCat(log.tail())}});
  }
  return absl::OkStatus();
}

absl::Status InvalidField(std::string_view field, std::string_view what) {
  return MakeError(Reason::INVALID_REQUEST, std::string(field) + ": " + std::string(what),
                   {{"field", std::string(field)}});
}

absl::StatusOr<CollectionId> CheckCollectionId(std::string_view text, std::string_view field) {
  const absl::StatusOr<Uuid> id = Uuid::Parse(text);
  if (!id.ok()) return InvalidField(field, "not a UUID");
  return CollectionId(*id);
}

}  // namespace sluice::log

// What a push may ask for beside being appended: that another append is in, that the tail has not
// moved, that ids have not changed. A part of the log machine.
#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "common/record/limits.h"
#include "services/log/changes.h"
#include "services/log/log_machine.h"

namespace sluice::log {
namespace {

absl::Status BeyondTail(std::string_view field, uint64_t named, uint64_t tail) {
  return MakeError(Reason::BEYOND_TAIL,
                   absl::StrCat(absl::string_view(field.data(), field.size()), " ", named,
                                " lies beyond the tail ", tail),
                   {{"tail_seq_id", absl::StrCat(tail)}});
}

absl::Status TooOld(uint64_t since, std::string_view why, const pb::LogState& state) {
  return MakeError(
      Reason::OBSERVED_TOO_OLD,
      absl::StrCat("whether an id changed since ", since,
                   " cannot be said: ", absl::string_view(why.data(), why.size())),
      {{"tail_seq_id", absl::StrCat(state.tail())}, {"trim_seq_id", absl::StrCat(state.trim())}});
}

}  // namespace

absl::Status LogMachine::CheckConditions(const PushView& push, const Log& log) {
  if (!push.conditions) return absl::OkStatus();
  const pb::PushConditions& conditions = *push.conditions;
  if (!conditions.predecessor().empty()) {
    const RequestId predecessor(Uuid::FromBytes(conditions.predecessor()));
    SLUICE_RETURN_IF_ERROR(dedupe_.CheckPredecessor(predecessor, log.id));
  }
  const uint64_t tail = log.state.tail();
  if (conditions.has_tail() && conditions.tail() != tail) {
    if (conditions.tail() > tail) return BeyondTail("if_tail_seq_id", conditions.tail(), tail);
    return MakeError(Reason::TAIL_MOVED,
                     absl::StrCat("the tail is ", tail, ", not ", conditions.tail()),
                     {{"tail_seq_id", absl::StrCat(tail)}});
  }
  if (!conditions.has_ids_unchanged()) return absl::OkStatus();
  return CheckIdsUnchanged(push, log);
}

absl::Status LogMachine::CheckIdsUnchanged(const PushView& push, const Log& log) {
  const pb::LogState& state = log.state;
  const uint64_t since = push.conditions->ids_unchanged().since();
  if (since > state.tail()) {
    return BeyondTail("if_ids_unchanged.since_seq_id", since, state.tail());
  }
  if (since == state.tail()) return absl::OkStatus();
  if (since < state.trim()) {
    return TooOld(since, absl::StrCat("records up to ", state.trim(), " are trimmed"), state);
  }
  // Bounded by what the log holds, so that every replica answers alike.
  if (state.tail() - since > kMaxLookBackRecords) {
    return TooOld(since, absl::StrCat(state.tail() - since, " records were written since"), state);
  }
  SLUICE_ASSIGN_OR_RETURN(const LogTable::Place place, table_.Locate(log, SeqId(since + 1)));
  const uint64_t bytes = state.tail_bytes() - place.bytes_before;
  if (bytes > kMaxLookBackBytes) {
    return TooOld(since, absl::StrCat(bytes, " bytes of records were written since"), state);
  }
  SLUICE_ASSIGN_OR_RETURN(const std::optional<IdChange> change,
                          FirstChange(rows_, log, SeqId(since), push));
  if (!change) return absl::OkStatus();
  return MakeError(
      Reason::IDS_CHANGED,
      absl::StrCat("an id has a record at SeqId ", change->seq_id.value, ", after ", since),
      {{"id", change->id},
       {"seq_id", absl::StrCat(change->seq_id.value)},
       {"tail_seq_id", absl::StrCat(state.tail())}});
}

}  // namespace sluice::log

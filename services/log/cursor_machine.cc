// The part of the log machine that moves cursors, and trims as far as the slowest of them.
#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "common/record/limits.h"
#include "services/log/cursor.h"
#include "services/log/log_machine.h"
#include "services/log/request_checks.h"
#include "services/log/retention.h"

namespace sluice::log {
namespace {

bool IsLost(const pb::CursorState& cursor) { return cursor.loss() != v1::CURSOR_LOSS_UNSPECIFIED; }

uint64_t SlowestOr(const pb::LogState& log, uint64_t otherwise) {
  return log.has_slowest_cursor() ? log.slowest_cursor() : otherwise;
}

// Of those that are not LOST.
void SetSlowest(const Cursors& cursors, pb::LogState* log) {
  log->clear_slowest_cursor();
  for (const auto& [name, cursor] : cursors) {
    if (IsLost(cursor)) continue;
    log->set_slowest_cursor(std::min(cursor.seq_id(), SlowestOr(*log, UINT64_MAX)));
  }
}

absl::Status CursorMoved(const std::string& name, uint64_t seq_id) {
  return MakeError(Reason::CURSOR_MOVED, absl::StrCat("cursor ", name, " stands at SeqId ", seq_id),
                   {{"cursor", name}, {"seq_id", absl::StrCat(seq_id)}});
}

// The commit made last, once more: its answer was lost.
bool IsRepeated(const pb::CommitCursor& command, const pb::CursorState& cursor) {
  return !command.request_id().empty() && command.request_id() == cursor.request_id() &&
         command.seq_id() == cursor.seq_id();
}

// That a cursor which is there may be moved as the command says.
absl::Status CheckMove(const pb::CommitCursor& command, const pb::CursorState& cursor) {
  const bool expected = !command.has_expected() || command.expected() == cursor.seq_id();
  if (expected && command.seq_id() >= cursor.seq_id()) return absl::OkStatus();
  return CursorMoved(command.name(), cursor.seq_id());
}

// That a cursor which is not there may be made as the command says.
absl::Status CheckNew(const pb::CommitCursor& command, const pb::LogState& log) {
  if (command.expected() != 0) return CursorNotFound(command.name());
  if (log.cursors() < kMaxCursors) return absl::OkStatus();
  return MakeError(Reason::TOO_MANY_CURSORS,
                   absl::StrCat("the log has ", kMaxCursors, " cursors, and may have no more"),
                   {{"max", absl::StrCat(kMaxCursors)}});
}

const pb::CursorState* Find(const Cursors& cursors, std::string_view name) {
  const auto it = cursors.find(name);
  return it == cursors.end() ? nullptr : &it->second;
}

}  // namespace

Result LogMachine::CommitCursor(const pb::CommitCursor& command) {
  SLUICE_ASSIGN_OR_RETURN(Log* const log, FindOpen(command.collection_id()));
  SLUICE_RETURN_IF_ERROR(CheckIncarnation(command.incarnation()));
  const std::string& name = command.name();
  SLUICE_ASSIGN_OR_RETURN(Cursors* const cursors, table_.CursorsOf(*log));
  const pb::CursorState* const before = Find(*cursors, name);
  if (before) {
    SLUICE_RETURN_IF_ERROR(
        CheckUsable(name, *before, log->state, Incarnation(shard_.incarnation())));
    if (IsRepeated(command, *before)) return CursorAnswer{ShowCursor(name, *before)};
    SLUICE_RETURN_IF_ERROR(CheckMove(command, *before));
    if (command.seq_id() == before->seq_id()) return CursorAnswer{ShowCursor(name, *before)};
  } else {
    SLUICE_RETURN_IF_ERROR(CheckNew(command, log->state));
  }
  SLUICE_RETURN_IF_ERROR(CheckStart(log->state, SeqId(command.seq_id())));

  pb::CursorState cursor;
  cursor.set_seq_id(command.seq_id());
  cursor.set_created_us(before ? before->created_us() : now());
  cursor.set_moved_us(now());
  cursor.set_incarnation(shard_.incarnation());
  cursor.set_request_id(command.request_id());
  SetCursor(*log, *cursors, name, cursor);
  return CursorAnswer{ShowCursor(name, cursor)};
}

Result LogMachine::RollbackCursor(const pb::RollbackCursor& command) {
  SLUICE_ASSIGN_OR_RETURN(Log* const log, FindOpen(command.collection_id()));
  SLUICE_RETURN_IF_ERROR(CheckIncarnation(command.incarnation()));
  const std::string& name = command.name();
  SLUICE_ASSIGN_OR_RETURN(Cursors* const cursors, table_.CursorsOf(*log));
  const pb::CursorState* const before = Find(*cursors, name);
  if (!before) return CursorNotFound(name);
  if (!IsLost(*before) && command.seq_id() > before->seq_id()) {
    return CursorMoved(name, before->seq_id());
  }
  SLUICE_RETURN_IF_ERROR(CheckStart(log->state, SeqId(command.seq_id())));
  pb::CursorState cursor;
  cursor.set_seq_id(command.seq_id());
  cursor.set_created_us(before->created_us());
  cursor.set_moved_us(now());
  cursor.set_incarnation(shard_.incarnation());
  SetCursor(*log, *cursors, name, cursor);
  return CursorAnswer{ShowCursor(name, cursor)};
}

Result LogMachine::DeleteCursor(const pb::DeleteCursor& command) {
  SLUICE_ASSIGN_OR_RETURN(Log* const log, FindOpen(command.collection_id()));
  SLUICE_RETURN_IF_ERROR(CheckIncarnation(command.incarnation()));
  SLUICE_ASSIGN_OR_RETURN(Cursors* const cursors, table_.CursorsOf(*log));
  if (Find(*cursors, command.name())) SetCursor(*log, *cursors, command.name(), std::nullopt);
  return Done{};
}

Result LogMachine::Retain(const pb::Retain& command) {
  SLUICE_ASSIGN_OR_RETURN(Log* const log, FindOpen(command.collection_id()));
  // Worked out on copies: a row that cannot be read refuses the command, and changes nothing.
  pb::LogState state = log->state;
  UpdateRetention(state, shard_.policy(), now());
  Cursors cursors;
  if (IsPinned(state)) {
    SLUICE_ASSIGN_OR_RETURN(const Cursors* const all, table_.CursorsOf(*log));
    cursors = *all;
  }
  RetainAnswer answer;
  answer.trimmed.trim = SeqId(state.trim());
  for (;;) {
    const uint64_t target = std::max(TrimTarget(state), state.trim());
    const bool unknown = state.oldest_kept_us() == 0 && state.trim() < state.tail();
    if (target > state.trim() || unknown) {
      SLUICE_ASSIGN_OR_RETURN(const Kept kept, KeptAfter(*log, target));
      const TrimAnswer trimmed = TrimTo(state, kept);
      answer.trimmed.trim = trimmed.trim;
      answer.trimmed.records += trimmed.records;
      answer.trimmed.bytes += trimmed.bytes;
    }
    const v1::CursorLoss loss = LossOfSlowest(state, shard_.policy(), now());
    if (loss == v1::CURSOR_LOSS_UNSPECIFIED) break;
    for (auto& [name, cursor] : cursors) {
      if (IsLost(cursor) || cursor.seq_id() != state.slowest_cursor()) continue;
      cursor.set_loss(loss);
      cursor.set_lost_us(now());
      answer.lost.push_back(ShowCursor(name, cursor));
    }
    SetSlowest(cursors, &state);
  }
  for (const v1::Cursor& lost : answer.lost) {
    rows_.Put(CursorKey(log->id, lost.name()), cursors[lost.name()].SerializeAsString());
  }
  if (!answer.lost.empty()) log->cursors = std::move(cursors);
  const int64_t due_before = log->state.trim_due_us();
  log->state = std::move(state);
  UpdateRetention(log->state, shard_.policy(), now());
  MoveDueRow(*log, DueKind::kTrim, due_before, log->state.trim_due_us());
  if (answer.trimmed.records > 0) {
    table_.Moved(*log);
  } else {
    table_.Touch(*log);
  }
  return answer;
}

void LogMachine::SetCursor(Log& log, Cursors& cursors, const std::string& name,
                           const std::optional<pb::CursorState>& cursor) {
  if (cursor) {
    rows_.Put(CursorKey(log.id, name), cursor->SerializeAsString());
    cursors[name] = *cursor;
  } else {
    rows_.Delete(CursorKey(log.id, name));
    cursors.erase(name);
  }
  pb::LogState& state = log.state;
  const uint64_t slowest_before = SlowestOr(state, UINT64_MAX);
  SetSlowest(cursors, &state);
  const bool slowest_moved = SlowestOr(state, UINT64_MAX) != slowest_before;
  if (slowest_moved) UpdateTrim(log);
  if (slowest_moved || state.cursors() != cursors.size()) table_.Touch(log);
  state.set_cursors(static_cast<uint32_t>(cursors.size()));
}

absl::Status LogMachine::CheckCursorsPassed(Log& log, uint64_t seq_id) {
  if (seq_id <= SlowestOr(log.state, UINT64_MAX)) return absl::OkStatus();
  const uint64_t slowest = log.state.slowest_cursor();
  SLUICE_ASSIGN_OR_RETURN(const Cursors* const cursors, table_.CursorsOf(log));
  const auto it = std::find_if(cursors->begin(), cursors->end(), [&](const auto& entry) {
    return !IsLost(entry.second) && entry.second.seq_id() == slowest;
  });
  const std::string name = it == cursors->end() ? "" : it->first;
  return MakeError(
      Reason::CURSOR_BEHIND,
      absl::StrCat("cursor ", name, " stands at SeqId ", slowest, ", and has not passed ", seq_id),
      {{"cursor", name}, {"seq_id", absl::StrCat(slowest)}});
}

}  // namespace sluice::log

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

// Where the slowest cursor stands of those that are not LOST; nullopt: there is none.
using Slowest = std::optional<uint64_t>;

Slowest SlowestOf(const pb::LogState& log) {
  return log.has_slowest_cursor() ? Slowest(log.slowest_cursor()) : std::nullopt;
}

void SetSlowest(Slowest slowest, pb::LogState* log) {
  if (slowest) {
    log->set_slowest_cursor(*slowest);
  } else {
    log->clear_slowest_cursor();
  }
}

void TakeSlower(const pb::CursorState& cursor, Slowest* slowest) {
  if (IsLost(cursor)) return;
  if (!*slowest || cursor.seq_id() < **slowest) *slowest = cursor.seq_id();
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

}  // namespace

Result LogMachine::CommitCursor(const pb::CommitCursor& command) {
  SLUICE_ASSIGN_OR_RETURN(Log* const log, FindOpen(command.collection_id()));
  SLUICE_RETURN_IF_ERROR(CheckIncarnation(command.incarnation()));
  const std::string& name = command.name();
  SLUICE_ASSIGN_OR_RETURN(const auto before, FindCursor(*log, name));
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
  SLUICE_RETURN_IF_ERROR(SetCursor(*log, name, before, cursor));
  return CursorAnswer{ShowCursor(name, cursor)};
}

Result LogMachine::RollbackCursor(const pb::RollbackCursor& command) {
  SLUICE_ASSIGN_OR_RETURN(Log* const log, FindOpen(command.collection_id()));
  SLUICE_RETURN_IF_ERROR(CheckIncarnation(command.incarnation()));
  const std::string& name = command.name();
  SLUICE_ASSIGN_OR_RETURN(const auto before, FindCursor(*log, name));
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
  SLUICE_RETURN_IF_ERROR(SetCursor(*log, name, before, cursor));
  return CursorAnswer{ShowCursor(name, cursor)};
}

Result LogMachine::DeleteCursor(const pb::DeleteCursor& command) {
  SLUICE_ASSIGN_OR_RETURN(Log* const log, FindOpen(command.collection_id()));
  SLUICE_RETURN_IF_ERROR(CheckIncarnation(command.incarnation()));
  SLUICE_ASSIGN_OR_RETURN(const auto before, FindCursor(*log, command.name()));
  if (before) SLUICE_RETURN_IF_ERROR(SetCursor(*log, command.name(), before, std::nullopt));
  return Done{};
}

Result LogMachine::Retain(const pb::Retain& command) {
  SLUICE_ASSIGN_OR_RETURN(Log* const log, FindOpen(command.collection_id()));
  // Worked out on a copy: a row that cannot be read refuses the command, and changes nothing.
  pb::LogState state = log->state;
  UpdateRetention(state, shard_.policy(), now());
  std::vector<NamedCursor> cursors;
  if (IsPinned(state)) {
    SLUICE_ASSIGN_OR_RETURN(cursors, Cursors(*log));
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
    Slowest next;
    for (NamedCursor& cursor : cursors) {
      if (!IsLost(cursor.state) && cursor.state.seq_id() == state.slowest_cursor()) {
        cursor.state.set_loss(loss);
        cursor.state.set_lost_us(now());
        cursor.changed = true;
        answer.lost.push_back(ShowCursor(cursor.name, cursor.state));
      }
      TakeSlower(cursor.state, &next);
    }
    SetSlowest(next, &state);
  }
  for (const NamedCursor& cursor : cursors) {
    if (cursor.changed) {
      rows_.Put(CursorKey(log->id, cursor.name), cursor.state.SerializeAsString());
    }
  }
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

absl::StatusOr<std::optional<pb::CursorState>> LogMachine::FindCursor(const Log& log,
                                                                      std::string_view name) {
  SLUICE_ASSIGN_OR_RETURN(const auto row, rows_.Get(CursorKey(log.id, name)));
  if (!row) return std::nullopt;
  pb::CursorState cursor;
  if (!cursor.ParseFromString(*row)) {
    return LogCorrupt(log.id, SeqId(0), "the row of a cursor cannot be read");
  }
  return cursor;
}

absl::StatusOr<std::vector<LogMachine::NamedCursor>> LogMachine::Cursors(const Log& log) {
  std::vector<NamedCursor> cursors;
  bool readable = true;
  const std::string prefix = CollectionPrefix(RowType::kCursor, log.id);
  SLUICE_RETURN_IF_ERROR(
      rows_.Scan(prefix, PrefixEnd(prefix), [&](std::string_view key, std::string_view value) {
        const auto parts = DecodeCursorKey(key);
        readable = parts && cursors.emplace_back().state.ParseFromArray(
                                value.data(), static_cast<int>(value.size()));
        if (readable) cursors.back().name = std::string(parts->name);
        return readable;
      }));
  if (!readable) return LogCorrupt(log.id, SeqId(0), "the row of a cursor cannot be read");
  return cursors;
}

absl::Status LogMachine::SetCursor(Log& log, const std::string& name,
                                   const std::optional<pb::CursorState>& before,
                                   const std::optional<pb::CursorState>& after) {
  pb::LogState& state = log.state;
  Slowest slowest = SlowestOf(state);
  // The others are read only when the slowest moves.
  if (before && !IsLost(*before) && before->seq_id() == slowest) {
    SLUICE_ASSIGN_OR_RETURN(const std::vector<NamedCursor> cursors, Cursors(log));
    slowest.reset();
    for (const NamedCursor& cursor : cursors) {
      if (cursor.name != name) TakeSlower(cursor.state, &slowest);
    }
  }
  if (after) {
    TakeSlower(*after, &slowest);
    rows_.Put(CursorKey(log.id, name), after->SerializeAsString());
  } else {
    rows_.Delete(CursorKey(log.id, name));
  }
  if (before.has_value() != after.has_value()) {
    state.set_cursors(after ? state.cursors() + 1 : state.cursors() - 1);
    table_.Touch(log);
  }
  if (slowest != SlowestOf(state)) {
    SetSlowest(slowest, &state);
    UpdateTrim(log);
    table_.Touch(log);
  }
  return absl::OkStatus();
}

absl::Status LogMachine::CheckCursorsPassed(const Log& log, uint64_t seq_id) {
  if (!log.state.has_slowest_cursor() || seq_id <= log.state.slowest_cursor()) {
    return absl::OkStatus();
  }
  SLUICE_ASSIGN_OR_RETURN(const std::vector<NamedCursor> cursors, Cursors(log));
  const auto slowest = std::find_if(cursors.begin(), cursors.end(), [&](const NamedCursor& cursor) {
    return !IsLost(cursor.state) && cursor.state.seq_id() == log.state.slowest_cursor();
  });
  const std::string name = slowest == cursors.end() ? "" : slowest->name;
  return MakeError(Reason::CURSOR_BEHIND,
                   absl::StrCat("cursor ", name, " stands at SeqId ", log.state.slowest_cursor(),
                                ", and has not passed ", seq_id),
                   {{"cursor", name}, {"seq_id", absl::StrCat(log.state.slowest_cursor())}});
}

absl::Status LogMachine::DeleteCursors(const Log& log) {
  std::vector<std::string> keys;
  const std::string prefix = CollectionPrefix(RowType::kCursor, log.id);
  SLUICE_RETURN_IF_ERROR(
      rows_.Scan(prefix, PrefixEnd(prefix), [&](std::string_view key, std::string_view) {
        keys.emplace_back(key);
        return true;
      }));
  for (const std::string& key : keys) rows_.Delete(key);
  return absl::OkStatus();
}

}  // namespace sluice::log

#include "services/log/log_machine.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/errors/errors.h"
#include "common/segment/merge.h"
#include "services/log/append.h"
#include "services/log/due.h"
#include "services/log/request_checks.h"
#include "services/log/retention.h"

namespace sluice::log {
namespace {

// Compaction takes seconds to change anything.
constexpr std::chrono::milliseconds kBacklogRetry{1000};
// A deleted collection is gone from the files so long after its grace time.
constexpr int64_t kErasePurgedWithinUs = int64_t{12} * 60 * 60 * 1'000'000;

absl::StatusOr<CollectionId> IdFromBytes(std::string_view bytes) {
  if (bytes.size() != 16) {
    return MakeError(Reason::INVALID_REQUEST, "collection_id is not a UUID",
                     {{"field", "collection_id"}});
  }
  return CollectionId(Uuid::FromBytes(bytes));
}

absl::Status Deleted(const CollectionId& id) {
  return MakeError(Reason::COLLECTION_DELETED,
                   absl::StrCat("collection ", id.ToString(), " was deleted"));
}

absl::Status NotFound(const CollectionId& id) {
  return MakeError(Reason::COLLECTION_NOT_FOUND,
                   absl::StrCat("there is no collection ", id.ToString()));
}

}  // namespace

std::optional<Result> LogMachine::Apply(const pb::Command& command) {
  switch (command.change_case()) {
    case pb::Command::kOpenLog:
      return OpenLog(command.open_log());
    case pb::Command::kUpdateLogSettings:
      return UpdateSettings(command.update_log_settings());
    case pb::Command::kDeleteLog:
      return DeleteLog(command.delete_log());
    case pb::Command::kTrim:
      return Trim(command.trim());
    case pb::Command::kRetain:
      return Retain(command.retain());
    case pb::Command::kCommitCursor:
      return CommitCursor(command.commit_cursor());
    case pb::Command::kRollbackCursor:
      return RollbackCursor(command.rollback_cursor());
    case pb::Command::kDeleteCursor:
      return DeleteCursor(command.delete_cursor());
    case pb::Command::kClaim:
      return Claim(command.claim());
    case pb::Command::kRenew:
      return Renew(command.renew());
    case pb::Command::kCommit:
      return Commit(command.commit());
    case pb::Command::kRelease:
      return Release(command.release());
    case pb::Command::kCollectGarbage:
      return CollectGarbage(command.collect_garbage());
    case pb::Command::kRetryMissing:
      return RetryMissing(command.retry_missing());
    case pb::Command::kDropMissing:
      return DropMissing(command.drop_missing());
    case pb::Command::kBeginErasure:
      return BeginErasure();
    case pb::Command::kFinishErasure:
      return FinishErasure();
    case pb::Command::kBeginPin:
      return BeginPin();
    case pb::Command::kSealPin:
      return SealPin(command.seal_pin());
    case pb::Command::kEndPin:
      return EndPin(command.end_pin());
    default:
      return std::nullopt;
  }
}

Result LogMachine::Push(const PushView& push) {
  SLUICE_ASSIGN_OR_RETURN(Log* const log, FindOpen(push.collection.view()));
  SLUICE_RETURN_IF_ERROR(CheckIncarnation(push.incarnation.value));
  pb::LogState& state = log->state;
  PushAnswer answer;
  answer.incarnation = Incarnation(shard_.incarnation());

  if (!push.request_id.is_nil()) {
    SLUICE_ASSIGN_OR_RETURN(const std::optional<pb::DedupeState> first, dedupe_.Find(push));
    if (first) {
      answer.first = SeqId(first->first_seq_id());
      answer.count = first->count();
      answer.commit_time_us = first->commit_time_us();
      answer.tail = SeqId(state.tail());
      answer.duplicate = true;
      // What may have been erased is in the journal again.
      Erase(EraseQuarterUs(state));
      return answer;
    }
  }
  SLUICE_RETURN_IF_ERROR(CheckConditions(push, *log));
  if (push.dimension != 0 && state.dimension() != 0 && push.dimension != state.dimension()) {
    return MakeError(Reason::DIMENSION_MISMATCH,
                     absl::StrCat("records[", push.first_vector_record, "].vector: dimension ",
                                  push.dimension, ", but the collection's is ", state.dimension()),
                     {{"record", absl::StrCat(push.first_vector_record)},
                      {"expected", absl::StrCat(state.dimension())},
                      {"actual", absl::StrCat(push.dimension)}});
  }
  const uint64_t max_backlog = state.settings().max_backlog_bytes()
                                   ? state.settings().max_backlog_bytes()
                                   : kDefaultMaxBacklogBytes;
  const bool log_only = state.schema().log_only();
  if (!log_only && UnappliedBytes(state) + push.records.size() > max_backlog) {
    return MakeRetryableError(
        Reason::BACKLOG,
        absl::StrCat("collection ", log->id.ToString(), " has ", UnappliedBytes(state),
                     " bytes that are not applied yet, of at most ", max_backlog),
        kBacklogRetry);
  }

  if (!push.request_id.is_nil()) SLUICE_RETURN_IF_ERROR(dedupe_.CheckRoom());

  const SeqId first(state.tail() + 1);
  const SeqId last(state.tail() + push.count);
  const auto header = EncodeAppendHeader(push, first, now(), state.tail_bytes());
  const std::string_view parts[] = {{header.data(), header.size()}, push.tables, push.records};
  rows_.PutParts(AppendKey(log->id, last), parts);
  if (!push.request_id.is_nil()) dedupe_.Remember(push, first);

  log->new_appends.push_back(
      {first, push.count, now(), state.tail_bytes(), push.tables, push.records});
  if (!log_only && state.tail() == state.applied()) state.set_oldest_unapplied_us(now());
  if (state.tail() == state.trim()) state.set_oldest_kept_us(now());
  if (state.dimension() == 0) state.set_dimension(push.dimension);
  state.set_tail(last.value);
  state.set_tail_bytes(state.tail_bytes() + push.records.size());
  state.set_last_commit_us(now());
  UpdateCompactionDue(*log, /*afresh=*/false);
  // Elsewhere, only a commit makes records pass.
  if (log_only) UpdateTrim(*log);
  table_.Moved(*log);

  answer.first = first;
  answer.count = push.count;
  answer.tail = last;
  answer.commit_time_us = now();
  return answer;
}

Result LogMachine::OpenLog(const pb::OpenLog& command) {
  SLUICE_ASSIGN_OR_RETURN(const CollectionId id, IdFromBytes(command.collection_id()));
  SLUICE_ASSIGN_OR_RETURN(Log * log, table_.Find(id));
  if (log) {
    if (log->state.deleted()) return Deleted(id);
    return Done{};
  }
  log = table_.Create(id);
  pb::LogState& state = log->state;
  *state.mutable_schema() = command.schema();
  *state.mutable_settings() = command.settings();
  state.set_settings_version(command.settings_version());
  state.set_id_hash_key(command.id_hash_key());
  state.set_dimension(command.schema().dimension());
  state.set_opened_backup_epoch(shard_.backup_epoch());
  // 0 means "I hold none" when a reader asks for a view.
  state.set_segments_version(1);
  table_.Moved(*log);
  return Done{};
}

Result LogMachine::UpdateSettings(const pb::UpdateLogSettings& command) {
  SLUICE_ASSIGN_OR_RETURN(Log* const log, FindOpen(command.collection_id()));
  if (command.settings_version() <= log->state.settings_version()) return Done{};
  *log->state.mutable_settings() = command.settings();
  log->state.set_settings_version(command.settings_version());
  // What was trimmed before, too.
  if (log->state.trim() > 0) Erase(EraseQuarterUs(log->state));
  UpdateCompactionDue(*log, /*afresh=*/true);
  UpdateMergeDue(*log, /*afresh=*/true);
  UpdateTrim(*log);
  table_.Touch(*log);
  return Done{};
}

Result LogMachine::DeleteLog(const pb::DeleteLog& command) {
  SLUICE_ASSIGN_OR_RETURN(const CollectionId id, IdFromBytes(command.collection_id()));
  SLUICE_ASSIGN_OR_RETURN(Log* const log, table_.Find(id));
  if (!log) return NotFound(id);
  if (log->state.deleted()) return Done{};
  SLUICE_ASSIGN_OR_RETURN(const Pins pins, ReadPins());
  log->state.set_deleted(true);
  // Whatever its tokens wrote goes with the whole collection.
  log->state.clear_compaction_lease();
  log->state.clear_merge_lease();
  UpdateCompactionDue(*log, /*afresh=*/true);
  UpdateMergeDue(*log, /*afresh=*/true);
  UpdateTrim(*log);
  v1::GarbageEntry entry;
  entry.set_collection_id(id.ToString());
  entry.set_incarnation(shard_.incarnation());
  entry.set_whole_collection(true);
  entry.set_backup_epoch(shard_.backup_epoch());
  rows_.Put(EncodeGarbageKey(
                {GarbageDue(pins, log->state.opened_backup_epoch(), shard_.policy().grace_us()), id,
                 GarbageKind::kCollection}),
            entry.SerializeAsString());
  table_.Moved(*log);
  return Done{};
}

Result LogMachine::Trim(const pb::Trim& command) {
  SLUICE_ASSIGN_OR_RETURN(Log* const log, FindOpen(command.collection_id()));
  pb::LogState& state = log->state;
  const uint64_t up_to = command.up_to_seq_id();
  if (up_to > Passed(state)) {
    if (state.schema().log_only()) return CheckStart(state, SeqId(up_to));
    return MakeError(
        Reason::NOT_APPLIED,
        absl::StrCat("up_to_seq_id ", up_to, " is beyond `applied`, ", state.applied()),
        {{"applied_seq_id", absl::StrCat(state.applied())}});
  }
  if (up_to <= state.trim()) return TrimAnswer{.trim = SeqId(state.trim())};
  SLUICE_RETURN_IF_ERROR(CheckCursorsPassed(*log, up_to));
  SLUICE_ASSIGN_OR_RETURN(const Kept kept, KeptAfter(*log, up_to));
  const TrimAnswer answer = TrimTo(state, kept);
  UpdateTrim(*log);
  table_.Moved(*log);
  return answer;
}

absl::StatusOr<LogMachine::Kept> LogMachine::KeptAfter(const Log& log, uint64_t trim) {
  const pb::LogState& state = log.state;
  if (trim == state.tail()) return Kept{trim, state.tail_bytes(), 0};
  if (trim == state.applied() && !state.schema().log_only()) {
    return Kept{trim, state.applied_bytes(), state.oldest_unapplied_us()};
  }
  SLUICE_ASSIGN_OR_RETURN(const LogTable::Place next, table_.Locate(log, SeqId(trim + 1)));
  return Kept{trim, next.bytes_before, next.commit_time_us};
}

TrimAnswer LogMachine::TrimTo(pb::LogState& state, const Kept& kept) {
  const TrimAnswer answer{SeqId(kept.trim), kept.trim - state.trim(),
                          kept.trim_bytes - state.trim_bytes()};
  trimmed_bytes_ += answer.bytes;
  if (answer.bytes > 0) Erase(EraseQuarterUs(state));
  state.set_trim(kept.trim);
  state.set_trim_bytes(kept.trim_bytes);
  state.set_oldest_kept_us(kept.oldest_us);
  return answer;
}

void LogMachine::Erase(int64_t within_us) {
  if (within_us == 0) return;
  const int64_t due_us = now() + within_us;
  if (shard_.erase_due_us() == 0 || shard_.erase_due_us() > due_us) shard_.set_erase_due_us(due_us);
}

Result LogMachine::BeginErasure() {
  shard_.clear_erase_due_us();
  shard_.set_erasing(true);
  return Done{};
}

Result LogMachine::FinishErasure() {
  shard_.clear_erasing();
  return Done{};
}

Result LogMachine::CollectGarbage(const pb::CollectGarbage& command) {
  for (const std::string& key : command.keys()) SLUICE_RETURN_IF_ERROR(CollectEntry(key));
  return Done{};
}

absl::Status LogMachine::CollectEntry(std::string_view key) {
  const auto parts = DecodeGarbageKey(key);
  if (!parts || parts->due_us > now()) return absl::OkStatus();
  SLUICE_ASSIGN_OR_RETURN(const auto row, rows_.Get(key));
  if (!row) return absl::OkStatus();
  SLUICE_ASSIGN_OR_RETURN(Log* const log, table_.Find(parts->collection));
  if (!log) {
    rows_.Delete(key);
    return absl::OkStatus();
  }
  switch (parts->kind) {
    case GarbageKind::kSegment:
      if (log->state.garbage_objects() > 0) {
        log->state.set_garbage_objects(log->state.garbage_objects() - 1);
      }
      break;
    case GarbageKind::kToken:
      rows_.Delete(TokenKey(log->id, LeaseToken(parts->token)));
      break;
    case GarbageKind::kCollection:
      SLUICE_RETURN_IF_ERROR(Purge(*log));
      break;
  }
  rows_.Delete(key);
  table_.Touch(*log);
  return absl::OkStatus();
}

absl::Status LogMachine::Purge(Log& log) {
  std::vector<std::string> keys;
  for (const RowType type : {RowType::kSegment, RowType::kCursor, RowType::kMissing}) {
    const std::string prefix = CollectionPrefix(type, log.id);
    SLUICE_RETURN_IF_ERROR(
        rows_.Scan(prefix, PrefixEnd(prefix), [&](std::string_view key, std::string_view) {
          keys.emplace_back(key);
          return true;
        }));
  }
  for (const std::string& key : keys) rows_.Delete(key);
  SetSegments(log, 0);
  log.state.clear_missing_vectors();
  log.state.clear_owed_vectors();
  // From here on the trim filter drops its appends. The row stays, so that its id is not taken
  // for a new one.
  log.state.set_purged(true);
  trimmed_bytes_ += log.state.tail_bytes() - log.state.trim_bytes();
  Erase(kErasePurgedWithinUs);
  return absl::OkStatus();
}

absl::StatusOr<Log*> LogMachine::FindOpen(std::string_view collection_id) {
  SLUICE_ASSIGN_OR_RETURN(const CollectionId id, IdFromBytes(collection_id));
  SLUICE_ASSIGN_OR_RETURN(Log* const log, table_.Find(id));
  if (!log) return NotFound(id);
  if (log->state.deleted()) return Deleted(id);
  return log;
}

absl::Status LogMachine::CheckIncarnation(uint64_t incarnation) const {
  if (incarnation == 0 || incarnation == shard_.incarnation()) return absl::OkStatus();
  return MakeError(Reason::INCARNATION_CHANGED,
                   "the log was restored from a backup since: SeqIds may mean other records",
                   {{"incarnation", absl::StrCat(shard_.incarnation())}});
}

void LogMachine::MoveDueRow(const Log& log, DueKind kind, int64_t before_us, int64_t after_us) {
  if (before_us == after_us) return;
  if (before_us != 0) rows_.Delete(EncodeDueKey({kind, before_us, log.id}));
  if (after_us != 0) rows_.Put(EncodeDueKey({kind, after_us, log.id}), "");
}

void LogMachine::UpdateCompactionDue(Log& log, bool afresh) {
  const int64_t before = log.state.compaction_due_us();
  if (afresh) log.state.set_compaction_due_us(0);
  log.state.set_compaction_due_us(CompactionDue(log.state, now()));
  MoveDueRow(log, DueKind::kCompaction, before, log.state.compaction_due_us());
}

void LogMachine::UpdateMergeDue(Log& log, bool afresh) {
  // A list that cannot be read is nothing to merge; what needs it says so.
  const auto segments = table_.Segments(log);
  if (segments.ok()) SetSegments(log, segments->size());
  const int64_t before = log.state.merge_due_us();
  if (afresh) log.state.set_merge_due_us(0);
  log.state.set_merge_due_us(
      segments.ok() ? MergeDue(log.state, *segments,
                               PickMerge(*segments, log.state.dimension()).has_value(), now())
                    : 0);
  MoveDueRow(log, DueKind::kMerge, before, log.state.merge_due_us());
}

void LogMachine::SetSegments(Log& log, uint64_t segments) {
  shard_.set_segments(shard_.segments() + segments - log.state.segments());
  log.state.set_segments(segments);
}

void LogMachine::UpdateTrim(Log& log) {
  const int64_t before = log.state.trim_due_us();
  UpdateRetention(log.state, shard_.policy(), now());
  MoveDueRow(log, DueKind::kTrim, before, log.state.trim_due_us());
}

}  // namespace sluice::log

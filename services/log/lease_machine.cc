// The part of the log machine that grants leases and fences commits.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "services/log/due.h"
#include "services/log/log_machine.h"
#include "services/log/retention.h"

namespace sluice::log {
namespace {

bool IsKind(v1::LeaseKind kind) {
  return kind == v1::LEASE_KIND_COMPACTION || kind == v1::LEASE_KIND_MERGE;
}

// The lease of a known kind; one that is not held has no token. (Not by mutable_...: a refused
// command leaves the state as it is, to the byte.)
const pb::LeaseState& LeaseOf(const Log& log, v1::LeaseKind kind) {
  return kind == v1::LEASE_KIND_MERGE ? log.state.merge_lease() : log.state.compaction_lease();
}

pb::LeaseState& MutableLeaseOf(Log& log, v1::LeaseKind kind) {
  return kind == v1::LEASE_KIND_MERGE ? *log.state.mutable_merge_lease()
                                      : *log.state.mutable_compaction_lease();
}

absl::Status Invalid(std::string_view field, std::string_view what) {
  const absl::string_view f(field.data(), field.size());
  return MakeError(Reason::INVALID_REQUEST,
                   absl::StrCat(f, ": ", absl::string_view(what.data(), what.size())),
                   {{"field", std::string(field)}});
}

absl::Status LeaseLost() {
  return MakeError(Reason::LEASE_LOST,
                   "another claim of this kind was granted since, or the lease has ended");
}

// What a commit writes must be new, of its own token, and cover what it says.
absl::Status CheckSegment(const v1::SegmentInfo& segment, uint64_t token,
                          const pb::TokenState& state, uint64_t after, uint64_t up_to,
                          std::string_view field) {
  if (segment.token() != token || segment.number() == 0 ||
      std::count(state.committed_objects().begin(), state.committed_objects().end(),
                 segment.number()) > 0) {
    return Invalid(field, "it must be named by the lease's token and a number of its own");
  }
  if (segment.after_seq_id() != after || segment.up_to_seq_id() != up_to) {
    return Invalid(field, absl::StrCat("it must cover (", after, ", ", up_to, "]"));
  }
  return absl::OkStatus();
}

}  // namespace

Result LogMachine::Claim(const pb::Claim& command) {
  SLUICE_ASSIGN_OR_RETURN(Log* const log, FindOpen(command.collection_id()));
  if (!IsKind(command.kind())) return Invalid("kinds", "unknown kind of lease");
  const bool compaction = command.kind() == v1::LEASE_KIND_COMPACTION;
  const int64_t due = compaction ? log->state.compaction_due_us() : log->state.merge_due_us();
  const pb::LeaseState& before = LeaseOf(*log, command.kind());
  const bool held = before.token() != 0 && before.expires_us() > now();
  ClaimAnswer answer;
  if (held || due == 0 || due > now()) return answer;

  SLUICE_RETURN_IF_ERROR(EndLease(*log, command.kind()));
  const uint64_t token = log->state.last_token() + 1;
  log->state.set_last_token(token);
  pb::LeaseState& lease = MutableLeaseOf(*log, command.kind());
  lease.set_token(token);
  lease.set_worker(command.worker());
  lease.set_expires_us(now() + int64_t{command.lease_ms()} * 1000);
  lease.set_granted_us(now());
  pb::TokenState state;
  state.set_kind(command.kind());
  PutToken(*log, token, state);
  if (compaction) {
    UpdateCompactionDue(*log, /*afresh=*/false);
  } else {
    UpdateMergeDue(*log, /*afresh=*/false);
  }
  table_.Touch(*log);
  answer.granted = true;
  answer.token = LeaseToken(token);
  answer.incarnation = Incarnation(shard_.incarnation());
  answer.expires_us = lease.expires_us();
  return answer;
}

Result LogMachine::Renew(const pb::Renew& command) {
  SLUICE_ASSIGN_OR_RETURN(Log* const log, FindOpen(command.collection_id()));
  SLUICE_RETURN_IF_ERROR(CheckIncarnation(command.incarnation()));
  if (!IsKind(command.kind())) return Invalid("lease.kind", "unknown kind of lease");
  if (command.token() == 0 || LeaseOf(*log, command.kind()).token() != command.token()) {
    return LeaseLost();
  }
  const int64_t expires_us = now() + int64_t{command.lease_ms()} * 1000;
  MutableLeaseOf(*log, command.kind()).set_expires_us(expires_us);
  if (command.kind() == v1::LEASE_KIND_COMPACTION) {
    UpdateCompactionDue(*log, /*afresh=*/false);
  } else {
    UpdateMergeDue(*log, /*afresh=*/false);
  }
  table_.Touch(*log);
  return RenewAnswer{expires_us};
}

Result LogMachine::Commit(const pb::Commit& command) {
  const v1::CommitRequest& request = command.request();
  const v1::Lease& named = request.lease();
  SLUICE_ASSIGN_OR_RETURN(Log* const log, FindOpen(command.collection_id()));
  SLUICE_RETURN_IF_ERROR(CheckIncarnation(named.incarnation()));
  if (!IsKind(named.kind())) return Invalid("lease.kind", "unknown kind of lease");
  SLUICE_ASSIGN_OR_RETURN(std::optional<pb::TokenState> token, FindToken(*log, named.token()));
  if (!token || token->kind() != named.kind()) return LeaseLost();
  // A repeated commit gets its first answer, also when the lease has ended since.
  if (request.number() != 0 && request.number() == token->last_number()) {
    return token->last_answer();
  }
  // The fence: only the token granted last may commit.
  if (token->ended() || LeaseOf(*log, named.kind()).token() != named.token()) return LeaseLost();
  if (request.number() != token->last_number() + 1) {
    return MakeError(
        Reason::COMMIT_OUT_OF_ORDER,
        absl::StrCat("number ", request.number(), ", but the next is ", token->last_number() + 1),
        {{"expected", absl::StrCat(token->last_number() + 1)}});
  }
  const bool compaction = named.kind() == v1::LEASE_KIND_COMPACTION;
  if (compaction ? !request.has_compaction() : !request.has_merge()) {
    return Invalid("work", "it must be of the lease's kind");
  }
  SLUICE_ASSIGN_OR_RETURN(const uint64_t object,
                          compaction
                              ? CommitCompaction(*log, named.token(), *token, request.compaction())
                              : CommitMerge(*log, named.token(), *token, request.merge()));

  // A merge that succeeds says nothing about compactions that fail, nor the other way round.
  if (log->state.failed_kind() == named.kind()) {
    log->state.clear_failures();
    log->state.clear_last_failure();
    log->state.clear_failed_kind();
  }
  v1::CommitResponse answer;
  answer.set_applied_seq_id(log->state.applied());
  answer.set_segments_version(log->state.segments_version());
  answer.set_live_count(log->state.live_count());
  token->set_last_number(request.number());
  *token->mutable_last_answer() = answer;
  if (object != 0) token->add_committed_objects(object);
  PutToken(*log, named.token(), *token);
  UpdateCompactionDue(*log, /*afresh=*/compaction);
  UpdateMergeDue(*log, /*afresh=*/!compaction);
  UpdateTrim(*log);
  table_.Moved(*log);
  return answer;
}

absl::StatusOr<uint64_t> LogMachine::CommitCompaction(Log& log, uint64_t token,
                                                      const pb::TokenState& token_state,
                                                      const v1::CompactionWork& work) {
  pb::LogState& state = log.state;
  if (work.from_seq_id() != state.applied()) {
    return MakeError(Reason::APPLIED_MOVED,
                     absl::StrCat("the compaction began at ", work.from_seq_id(),
                                  ", but `applied` is ", state.applied()),
                     {{"applied_seq_id", absl::StrCat(state.applied())}});
  }
  const uint64_t to = work.to_seq_id();
  SLUICE_ASSIGN_OR_RETURN(const MissingChanges missing, MissingAfter(log, work));
  const bool only_fills = to == state.applied() && !missing.empty() && work.live_delta() == 0;
  if ((to <= state.applied() && !only_fills) || to > state.tail()) {
    return Invalid("compaction.to_seq_id", "it must lie in (applied, tail]");
  }
  if (work.live_delta() < 0 && state.live_count() < 0 - static_cast<uint64_t>(work.live_delta())) {
    return Invalid("compaction.live_delta", "it would leave less than no rows");
  }
  if (work.has_segment()) {
    SLUICE_RETURN_IF_ERROR(CheckSegment(work.segment(), token, token_state, state.applied(), to,
                                        "compaction.segment"));
  }
  uint64_t fill = 0;
  if (only_fills) {
    SLUICE_ASSIGN_OR_RETURN(const std::vector<v1::SegmentInfo> segments, table_.Segments(log));
    if (!segments.empty() && segments.back().up_to_seq_id() == to) {
      fill = segments.back().fill() + 1;
    }
  }
  SLUICE_ASSIGN_OR_RETURN(const std::vector<v1::SegmentInfo> dying, Dying(log, work));
  LogTable::Place next{state.tail_bytes(), 0};
  if (to < state.tail()) {
    SLUICE_ASSIGN_OR_RETURN(next, table_.Locate(log, SeqId(to + 1)));
  }

  state.set_applied(to);
  state.set_applied_bytes(next.bytes_before);
  state.set_oldest_unapplied_us(next.commit_time_us);
  state.set_live_count(state.live_count() + static_cast<uint64_t>(work.live_delta()));
  v1::NoEffectCounts& counts = *state.mutable_no_effect();
  counts.set_adds(counts.adds() + work.no_effect().adds());
  counts.set_updates(counts.updates() + work.no_effect().updates());
  counts.set_deletes(counts.deletes() + work.no_effect().deletes());
  for (const v1::SegmentInfo& segment : dying) {
    rows_.Put(SegmentKey(log.id, SeqId(segment.up_to_seq_id()), segment.fill()),
              segment.SerializeAsString());
  }
  ApplyMissing(log, missing);
  CountEmbedded(work.embedded(), missing, state.mutable_embed_window());
  if (!work.has_segment()) return 0;
  v1::SegmentInfo segment = work.segment();
  segment.set_fill(fill);
  PutSegment(log, std::move(segment));
  state.set_segments_version(state.segments_version() + 1);
  return work.segment().number();
}

absl::StatusOr<std::vector<v1::SegmentInfo>> LogMachine::Dying(const Log& log,
                                                               const v1::CompactionWork& work) {
  std::vector<v1::SegmentInfo> dying;
  if (work.dead().empty()) return dying;
  SLUICE_ASSIGN_OR_RETURN(std::vector<v1::SegmentInfo> segments, table_.Segments(log));
  std::vector<bool> changed(segments.size());
  const auto kill = [&](size_t i, uint64_t rows) {
    v1::SegmentInfo& segment = segments[i];
    const uint64_t alive = segment.rows() - std::min(segment.rows(), segment.dead_rows());
    if (alive == 0 || rows == 0) return;
    if (segment.dead_rows() == 0) segment.set_dead_since_us(now());
    segment.set_dead_rows(segment.dead_rows() + std::min(alive, rows));
    changed[i] = true;
  };
  for (const v1::DeadRows& dead : work.dead()) {
    const auto named = std::find_if(segments.begin(), segments.end(), [&](const auto& s) {
      return s.token() == dead.token() && s.number() == dead.number();
    });
    if (named != segments.end()) {
      kill(static_cast<size_t>(named - segments.begin()), dead.rows());
      continue;
    }
    // What took its place, if that was not empty: it ends there or later. Of several that end
    // there, any may.
    const auto place = std::find_if(segments.begin(), segments.end(), [&](const auto& s) {
      return s.up_to_seq_id() >= dead.up_to_seq_id();
    });
    for (auto s = place; s != segments.end() && s->up_to_seq_id() == place->up_to_seq_id(); ++s) {
      kill(static_cast<size_t>(s - segments.begin()), dead.rows());
    }
  }
  for (size_t i = 0; i < segments.size(); ++i) {
    if (changed[i]) dying.push_back(std::move(segments[i]));
  }
  return dying;
}

absl::StatusOr<uint64_t> LogMachine::CommitMerge(Log& log, uint64_t token,
                                                 const pb::TokenState& token_state,
                                                 const v1::MergeWork& work) {
  if (work.inputs().empty()) return Invalid("merge.inputs", "there are none");
  SLUICE_ASSIGN_OR_RETURN(const std::vector<v1::SegmentInfo> segments, table_.Segments(log));
  const auto is = [](const v1::SegmentInfo& input) {
    return [&input](const v1::SegmentInfo& segment) {
      return segment.token() == input.token() && segment.number() == input.number();
    };
  };
  for (const v1::SegmentInfo& input : work.inputs()) {
    if (std::none_of(segments.begin(), segments.end(), is(input))) {
      return MakeError(
          Reason::INPUT_GONE,
          absl::StrCat("segment ", input.token(), "/", input.number(),
                       " is not in the list any more"),
          {{"token", absl::StrCat(input.token())}, {"number", absl::StrCat(input.number())}});
    }
  }
  const auto first = std::find_if(segments.begin(), segments.end(), is(work.inputs(0)));
  const auto count = static_cast<size_t>(work.inputs_size());
  for (size_t i = 0; i < count; ++i) {
    if (i >= static_cast<size_t>(segments.end() - first) ||
        !is(work.inputs(static_cast<int>(i)))(first[static_cast<ptrdiff_t>(i)])) {
      return Invalid("merge.inputs", "they must be neighbours, oldest first");
    }
  }
  const auto last = first + static_cast<ptrdiff_t>(count) - 1;
  if (work.has_output()) {
    SLUICE_RETURN_IF_ERROR(CheckSegment(work.output(), token, token_state, first->after_seq_id(),
                                        last->up_to_seq_id(), "merge.output"));
  }

  SLUICE_ASSIGN_OR_RETURN(const Pins pins, ReadPins());
  const int64_t grace_us = GraceUs(log);
  // Those that died since the claim; the others may have been left out.
  uint64_t dead_rows = 0;
  int64_t dead_since_us = INT64_MAX;
  const int64_t granted_us = log.state.merge_lease().granted_us();
  for (auto input = first; input <= last; ++input) {
    const uint64_t before = work.inputs(static_cast<int>(input - first)).dead_rows();
    if (input->dead_rows() > before) {
      dead_rows += input->dead_rows() - before;
      dead_since_us = std::min(dead_since_us, std::max(input->dead_since_us(), granted_us));
    }
    rows_.Delete(SegmentKey(log.id, SeqId(input->up_to_seq_id()), input->fill()));
    v1::GarbageEntry entry;
    entry.set_collection_id(log.id.ToString());
    entry.set_incarnation(shard_.incarnation());
    entry.set_backup_epoch(shard_.backup_epoch());
    *entry.mutable_segment() = *input;
    rows_.Put(EncodeGarbageKey({GarbageDue(pins, input->backup_epoch(), grace_us), log.id,
                                GarbageKind::kSegment, input->token(), input->number()}),
              entry.SerializeAsString());
  }
  log.state.set_garbage_objects(log.state.garbage_objects() + count);
  log.state.set_segments_version(log.state.segments_version() + 1);
  if (!work.has_output()) return 0;
  v1::SegmentInfo output = work.output();
  output.set_fill(last->fill());
  output.set_dead_rows(std::min(dead_rows, output.rows()));
  output.set_dead_since_us(output.dead_rows() > 0 ? dead_since_us : 0);
  PutSegment(log, std::move(output));
  return work.output().number();
}

Result LogMachine::Release(const pb::Release& command) {
  const v1::ReleaseRequest& request = command.request();
  SLUICE_ASSIGN_OR_RETURN(Log* const log, FindOpen(command.collection_id()));
  const v1::Lease& named = request.lease();
  const bool current = IsKind(named.kind()) && named.token() != 0 &&
                       LeaseOf(*log, named.kind()).token() == named.token() &&
                       CheckIncarnation(named.incarnation()).ok();
  if (!current) return Done{};
  SLUICE_RETURN_IF_ERROR(EndLease(*log, named.kind()));
  pb::LogState& state = log->state;
  if (request.reason() == v1::RELEASE_REASON_COLLECTION) {
    state.set_failures(state.failures() + 1);
    state.set_last_failure(request.message());
    state.set_failed_kind(named.kind());
  }
  const int64_t retry_after = now() + int64_t{request.retry_after_ms()} * 1000;
  if (named.kind() == v1::LEASE_KIND_COMPACTION) {
    state.set_retry_after_us(retry_after);
    UpdateCompactionDue(*log, /*afresh=*/true);
  } else {
    state.set_merge_retry_after_us(retry_after);
    UpdateMergeDue(*log, /*afresh=*/true);
  }
  table_.Touch(*log);
  return Done{};
}

absl::StatusOr<std::optional<pb::TokenState>> LogMachine::FindToken(const Log& log,
                                                                    uint64_t token) {
  SLUICE_ASSIGN_OR_RETURN(const auto row, rows_.Get(TokenKey(log.id, LeaseToken(token))));
  if (!row) return std::nullopt;
  pb::TokenState state;
  if (!state.ParseFromString(*row)) {
    return MakeError(Reason::LOG_CORRUPT, "the row of a lease token cannot be read",
                     {{"collection_id", log.id.ToString()}});
  }
  return state;
}

void LogMachine::PutToken(const Log& log, uint64_t token, const pb::TokenState& state) {
  rows_.Put(TokenKey(log.id, LeaseToken(token)), state.SerializeAsString());
}

void LogMachine::PutSegment(const Log& log, v1::SegmentInfo segment) {
  segment.set_incarnation(shard_.incarnation());
  segment.set_backup_epoch(shard_.backup_epoch());
  rows_.Put(SegmentKey(log.id, SeqId(segment.up_to_seq_id()), segment.fill()),
            segment.SerializeAsString());
}

int64_t LogMachine::GraceUs(const Log& log) const {
  const int64_t grace_us = shard_.policy().grace_us();
  const int64_t quarter_us = EraseQuarterUs(log.state);
  return quarter_us == 0 ? grace_us : std::min(grace_us, quarter_us);
}

absl::Status LogMachine::EndLease(Log& log, v1::LeaseKind kind) {
  const uint64_t token = LeaseOf(log, kind).token();
  if (token == 0) return absl::OkStatus();
  SLUICE_ASSIGN_OR_RETURN(std::optional<pb::TokenState> state, FindToken(log, token));
  if (kind == v1::LEASE_KIND_MERGE) {
    log.state.clear_merge_lease();
  } else {
    log.state.clear_compaction_lease();
  }
  if (!state) return absl::OkStatus();
  state->set_ended(true);
  PutToken(log, token, *state);
  v1::GarbageEntry entry;
  entry.set_collection_id(log.id.ToString());
  entry.set_incarnation(shard_.incarnation());
  entry.mutable_ended_token()->set_token(token);
  *entry.mutable_ended_token()->mutable_committed_objects() = state->committed_objects();
  rows_.Put(EncodeGarbageKey({now() + GraceUs(log), log.id, GarbageKind::kToken, token}),
            entry.SerializeAsString());
  return absl::OkStatus();
}

}  // namespace sluice::log

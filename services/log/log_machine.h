// The state machine of logs: what each command does to a log's rows. Deterministic: it reads the
// command, its time and the rows, and nothing else; never the catalog. Results, refusals included,
// are data. Applier thread only.
//
// Where SeqIds are assigned: Push. Where a commit is fenced: Commit (lease_machine.cc). Where a
// cursor moves, and where retention meets cursors: cursor_machine.cc. All times are the shard's.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/log/command.h"
#include "services/log/command.pb.h"
#include "services/log/dedupe.h"
#include "services/log/keys.h"
#include "services/log/log_table.h"
#include "services/log/rows.h"

namespace sluice::log {

class LogMachine {
 public:
  // `shard` is read and, for dedupe, changed.
  LogMachine(Rows& rows, pb::ShardState& shard)
      : rows_(rows), shard_(shard), table_(rows), dedupe_(rows, shard) {}

  absl::Status Advance(int64_t clock_us) { return dedupe_.Advance(clock_us); }
  Result Push(const PushView& push);
  // Any command on a log; nullopt if the command is none of these.
  std::optional<Result> Apply(const pb::Command& command);

  LogTable& table() { return table_; }
  // Bytes of appends that are not needed any more since this was last asked.
  uint64_t TakeTrimmedBytes() { return std::exchange(trimmed_bytes_, 0); }

 private:
  Result OpenLog(const pb::OpenLog& command);
  Result UpdateSettings(const pb::UpdateLogSettings& command);
  Result DeleteLog(const pb::DeleteLog& command);
  Result Trim(const pb::Trim& command);
  Result Retain(const pb::Retain& command);
  Result CommitCursor(const pb::CommitCursor& command);
  Result RollbackCursor(const pb::RollbackCursor& command);
  Result DeleteCursor(const pb::DeleteCursor& command);
  Result Claim(const pb::Claim& command);
  Result Renew(const pb::Renew& command);
  Result Commit(const pb::Commit& command);
  Result Release(const pb::Release& command);
  Result CollectGarbage(const pb::CollectGarbage& command);
  Result BeginErasure();
  Result FinishErasure();
  Result RetryMissing(const pb::RetryMissing& command);
  Result DropMissing(const pb::DropMissing& command);
  // What backups name is not collected (pins.cc).
  Result BeginPin();
  Result SealPin(const pb::SealPin& command);
  Result EndPin(const pb::EndPin& command);

  // What a push asks of the log (push_conditions.cc). PREDECESSOR_MISSING, TAIL_MOVED, IDS_CHANGED,
  // OBSERVED_TOO_OLD, BEYOND_TAIL.
  absl::Status CheckConditions(const PushView& push, const Log& log);
  absl::Status CheckIdsUnchanged(const PushView& push, const Log& log);

  // COLLECTION_NOT_FOUND, COLLECTION_DELETED.
  absl::StatusOr<Log*> FindOpen(std::string_view collection_id);
  absl::Status CheckIncarnation(uint64_t incarnation) const;
  absl::Status CollectEntry(std::string_view key);
  // Lets go of all that a deleted log has but its state, also of rows that say nothing any more; or
  // changes nothing.
  absl::Status Purge(Log& log);

  // Puts a cursor (nullopt: deletes it), and brings the log's state and what is due in line.
  // `cursors` are the log's.
  void SetCursor(Log& log, Cursors& cursors, const std::string& name,
                 const std::optional<pb::CursorState>& cursor);
  // CURSOR_BEHIND if a cursor would lose records.
  absl::Status CheckCursorsPassed(Log& log, uint64_t seq_id);

  // What a log keeps once it is trimmed to a SeqId.
  struct Kept {
    uint64_t trim = 0;
    uint64_t trim_bytes = 0;
    int64_t oldest_us = 0;
  };
  absl::StatusOr<Kept> KeptAfter(const Log& log, uint64_t trim);
  TrimAnswer TrimTo(pb::LogState& state, const Kept& kept);
  // What was trimmed is to go from the files: an erasure is to begin in so long. 0: it need not.
  void Erase(int64_t within_us);
  using Pins = std::vector<std::pair<uint64_t, pb::PinState>>;
  absl::StatusOr<Pins> ReadPins();
  absl::StatusOr<pb::PinState> FindPin(uint64_t number);
  // When what becomes garbage now may be collected; `made_epoch`: when it came to be referred to.
  int64_t GarbageDue(const Pins& pins, uint64_t made_epoch, int64_t grace_us) const;
  // Gives held garbage a time, unless one of `pins` holds it.
  absl::Status Release(const Pins& pins, std::string_view key, std::string_view row);

  // Apply the work of a commit to `log`, or refuse it and change nothing. Yield the number of the
  // object that came into the list; 0: none.
  absl::StatusOr<uint64_t> CommitCompaction(Log& log, uint64_t token, const pb::TokenState& state,
                                            const v1::CompactionWork& work);
  absl::StatusOr<uint64_t> CommitMerge(Log& log, uint64_t token, const pb::TokenState& state,
                                       const v1::MergeWork& work);
  absl::StatusOr<std::optional<pb::TokenState>> FindToken(const Log& log, uint64_t token);
  // The segments in which something has died, with what dies by this work.
  absl::StatusOr<std::vector<v1::SegmentInfo>> Dying(const Log& log,
                                                     const v1::CompactionWork& work);
  // Into the list.
  void PutSegment(const Log& log, v1::SegmentInfo segment);
  void PutToken(const Log& log, uint64_t token, const pb::TokenState& state);
  // How long what a log's work leaves behind is kept.
  int64_t GraceUs(const Log& log) const;
  // Ends the lease of this kind and its token, if there is one.
  absl::Status EndLease(Log& log, v1::LeaseKind kind);

  // Rows that lack the vector of their document (missing_vectors.cc).
  struct MissingChange {
    std::optional<v1::MissingVector> before;
    std::optional<v1::MissingVector> after;
  };
  // By key.
  using MissingChanges = std::map<std::string, MissingChange>;
  // What a commit makes of them; INVALID_REQUEST.
  absl::StatusOr<MissingChanges> MissingAfter(const Log& log, const v1::CompactionWork& work);
  // Those of these ids, as they are; ids without a row are left out.
  absl::StatusOr<MissingChanges> FindMissing(
      const Log& log, const google::protobuf::RepeatedPtrField<std::string>& ids);
  absl::StatusOr<std::optional<v1::MissingVector>> ReadMissing(const Log& log,
                                                               std::string_view key);
  void ApplyMissing(Log& log, const MissingChanges& changes);
  static void CountEmbedded(uint64_t embedded, const MissingChanges& changes,
                            v1::EmbedWindow* window);

  // Bring the due rows in line with the log's state.
  void UpdateCompactionDue(Log& log, bool afresh);
  void UpdateMergeDue(Log& log, bool afresh);
  // Also in the shard's sum.
  void SetSegments(Log& log, uint64_t segments);
  void UpdateTrim(Log& log);
  void MoveDueRow(const Log& log, DueKind kind, int64_t before_us, int64_t after_us);

  int64_t now() const { return shard_.time_us(); }

  Rows& rows_;
  pb::ShardState& shard_;
  LogTable table_;
  Dedupe dedupe_;
  uint64_t trimmed_bytes_ = 0;
};

}  // namespace sluice::log

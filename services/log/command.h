// Commands: every change to a shard, as the journal keeps it.
//
// A command is a frame (length, type, the times), then either a serialised pb::Command, or,
// for a push, a fixed header, the tables of the records' offsets and id hashes, its conditions if
// it has any, and the records' bytes exactly as they came; README.md has the layout. The records
// are referred to, never copied: from the request's buffer they go to the journal and into the
// store's batch. Applying works on CommandView, which is the same whether the bytes come from a
// request or from the journal.
//
// Plain values; no thread-safety of their own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/record/scan.h"
#include "services/log/command.pb.h"
#include "sluice/v1/collection.pb.h"
#include "sluice/v1/compaction.pb.h"
#include "sluice/v1/cursor.pb.h"

namespace sluice::log {

// A change to be proposed (Shard::Propose).
class Command {
 public:
  // An append. `request_id` nil: none given. `incarnation` 0: any. `push.records` must stay as it
  // is for as long as `owner` (or a copy of it) lives. Computes the checksum and the fingerprint of
  // the records.
  // The conditions are those of `push`, and the predecessor (nil: none).
  static Command Push(const CollectionId& collection, const RequestId& request_id,
                      Incarnation incarnation, const ScannedPush& push,
                      std::shared_ptr<const void> owner, const RequestId& predecessor = {});
  // Anything else.
  explicit Command(const pb::Command& change);

  // The shard sets its time when it puts the command into the journal, and by how much that is
  // ahead of the machine's clock, if it is (in whole seconds, 2^24 - 1 at most).
  void Stamp(int64_t time_us, int64_t ahead_us = 0);

  // The encoded command is head, then records (empty but for a push).
  std::string_view head() const { return head_; }
  std::string_view records() const { return records_; }
  size_t bytes() const { return head_.size() + records_.size(); }

  // Of a push; nil for anything else.
  const CollectionId& collection() const { return collection_; }
  // The memory that is held until the command is answered: its bytes, and what its maker says that
  // stays in place beside them.
  size_t held_bytes() const { return bytes() + held_beside_; }
  void HoldsBeside(size_t bytes) { held_beside_ = bytes; }

 private:
  Command() = default;

  std::string head_;
  std::string_view records_;
  std::shared_ptr<const void> owner_;
  CollectionId collection_;
  size_t held_beside_ = 0;
};

// A push, as applying reads it. All views point into the command's bytes.
struct PushView {
  CollectionId collection;
  RequestId request_id;
  Incarnation incarnation;
  Fingerprint fingerprint;
  uint32_t count = 0;
  uint32_t dimension = 0;
  uint32_t first_vector_record = 0;
  uint32_t records_crc32c = 0;
  // Little-endian: `count` offsets of 4 bytes, then `count` id hashes of 8. Stored in the append as
  // it is.
  std::string_view tables;
  // Null: none.
  std::unique_ptr<const pb::PushConditions> conditions;
  std::string_view records;
};

struct CommandView {
  // The shard's time, which never goes back; and the machine's clock then, as far as it was behind
  // that.
  int64_t time_us = 0;
  int64_t clock_us = 0;
  std::variant<PushView, pb::Command> change;
};

// Reads a command whose records may lie apart from its head. DATA_LOSS if the bytes are not a
// command.
absl::StatusOr<CommandView> DecodeCommand(std::string_view head, std::string_view records);
// Calls `visit` for each command of a journal group, in order, until it fails.
absl::Status ForEachCommand(std::string_view group,
                            absl::FunctionRef<absl::Status(const CommandView&)> visit);

// Answers: what applying a command yields.

struct Done {};

struct PushAnswer {
  SeqId first;
  uint32_t count = 0;
  SeqId tail;
  Incarnation incarnation;
  int64_t commit_time_us = 0;
  bool duplicate = false;
};

struct TrimAnswer {
  SeqId trim;
  // What this command trimmed.
  uint64_t records = 0;
  uint64_t bytes = 0;
};

struct RetainAnswer {
  TrimAnswer trimmed;
  // Cursors that this command gave up.
  std::vector<v1::Cursor> lost;
};

struct CursorAnswer {
  v1::Cursor cursor;
};

struct ClaimAnswer {
  bool granted = false;
  LeaseToken token;
  Incarnation incarnation;
  int64_t expires_us = 0;
};

struct RenewAnswer {
  int64_t expires_us = 0;
};

struct PinAnswer {
  uint64_t number = 0;
  // Of EndPin: to be repeated.
  bool more = false;
};

struct CollectionAnswer {
  v1::Collection collection;
  // Of CreateCollection: false if it was there already.
  bool created = false;
};

using Answer = std::variant<Done, PushAnswer, TrimAnswer, RetainAnswer, CursorAnswer, ClaimAnswer,
                            RenewAnswer, v1::CommitResponse, PinAnswer, CollectionAnswer>;
// Errors have a reason and an outcome (common/errors).
using Result = absl::StatusOr<Answer>;

}  // namespace sluice::log

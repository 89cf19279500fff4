// The logs that a group touches, decoded. Those touched lately stay so; those touched before them
// are kept as bytes, a fifth as large, so that writing very many collections in turn reads no
// tables; all others take no memory. Part of the log machine; applier thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "services/log/command.h"
#include "services/log/command.pb.h"
#include "services/log/rows.h"
#include "sluice/v1/segment.pb.h"

namespace sluice::log {

// By name.
using Cursors = std::map<std::string, pb::CursorState, std::less<>>;

struct Log {
  CollectionId id;
  pb::LogState state;
  // As LogTable::CursorsOf read them. What changes one changes its row with it.
  std::optional<Cursors> cursors;
  // To be written with the group; `moved` if tail, applied, trim or deleted changed.
  bool dirty = false;
  bool moved = false;

  // An append of the group that is being applied: not readable from the rows yet.
  struct NewAppend {
    SeqId first;
    uint32_t count = 0;
    int64_t commit_time_us = 0;
    uint64_t bytes_before = 0;
    // As in PushView.
    std::string_view tables;
    std::string_view records;
  };
  std::vector<NewAppend> new_appends;
};

// LOG_CORRUPT, naming the collection and the SeqId.
absl::Status LogCorrupt(const CollectionId& collection, SeqId seq_id, absl::string_view what);

class LogTable {
 public:
  explicit LogTable(Rows& rows) : rows_(rows) {}

  // Null if there is no such log. Valid until the group ends.
  absl::StatusOr<Log*> Find(const CollectionId& collection);
  // There must be none yet.
  Log* Create(const CollectionId& collection);
  void Touch(Log& log);
  void Moved(Log& log);

  // Where a record of the log (trim < seq_id <= tail) stands. LOG_CORRUPT.
  struct Place {
    // Bytes of all records before it.
    uint64_t bytes_before = 0;
    int64_t commit_time_us = 0;
  };
  absl::StatusOr<Place> Locate(const Log& log, SeqId seq_id);
  // Oldest first.
  absl::StatusOr<std::vector<v1::SegmentInfo>> Segments(const Log& log);
  // Of every state. Kept between groups: finding the slowest among rows that are written over and
  // over would take longer than all else that a commit does.
  absl::StatusOr<Cursors*> CursorsOf(Log& log);

  // Puts the touched logs' states into the rows. Those that moved stay in moved() until the group
  // ends.
  void Flush();
  const std::vector<Log*>& moved() const { return moved_; }
  // After the group was written; after it was discarded.
  void EndGroup();
  void Discard();

 private:
  // Null if there is no such log.
  absl::StatusOr<std::unique_ptr<Log>> Load(const CollectionId& collection);
  Log* Keep(std::unique_ptr<Log> log);
  // Makes room: decoded logs become bytes, and bytes go, the oldest first.
  void Evict();

  Rows& rows_;
  absl::flat_hash_map<CollectionId, std::unique_ptr<Log>> logs_;
  std::deque<CollectionId> loaded_;
  // Of logs that are not in logs_: the values of their rows.
  absl::flat_hash_map<CollectionId, std::string> encoded_;
  std::deque<CollectionId> encoded_order_;
  size_t encoded_bytes_ = 0;
  std::vector<Log*> touched_;
  std::vector<Log*> moved_;
  // At most so many, about: beyond, those of all logs go.
  size_t cursors_kept_ = 0;
};

}  // namespace sluice::log

#include "services/log/log_table.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/coding.h"
#include "common/errors/errors.h"
#include "services/log/append.h"
#include "services/log/keys.h"

namespace sluice::log {
namespace {

// Decoded logs kept between groups; a log is about a KiB. And what is kept of others as bytes, with
// what an entry costs beside them.
constexpr size_t kMaxDecoded = 10'000;
constexpr size_t kMaxEncodedBytes = 32 << 20;
constexpr size_t kEncodedEntryBytes = 100;
// Of some 300 bytes each.
constexpr size_t kMaxCursorsKept = 100'000;

}  // namespace

absl::Status LogCorrupt(const CollectionId& collection, SeqId seq_id, absl::string_view what) {
  return MakeError(
      Reason::LOG_CORRUPT, absl::StrCat("collection ", collection.ToString(), ": ", what),
      {{"collection_id", collection.ToString()}, {"seq_id", absl::StrCat(seq_id.value)}});
}

absl::StatusOr<Log*> LogTable::Find(const CollectionId& collection) {
  if (const auto it = logs_.find(collection); it != logs_.end()) return it->second.get();
  SLUICE_ASSIGN_OR_RETURN(std::unique_ptr<Log> log, Load(collection));
  return log ? Keep(std::move(log)) : nullptr;
}

absl::StatusOr<std::unique_ptr<Log>> LogTable::Load(const CollectionId& collection) {
  std::optional<std::string> value;
  if (const auto it = encoded_.find(collection); it != encoded_.end()) {
    value = std::move(it->second);
    encoded_bytes_ -= value->size() + kEncodedEntryBytes;
    encoded_.erase(it);
  } else {
    SLUICE_ASSIGN_OR_RETURN(value, rows_.Get(LogKey(collection)));
  }
  if (!value) return nullptr;
  auto log = std::make_unique<Log>();
  log->id = collection;
  if (!log->state.ParseFromString(*value)) {
    return LogCorrupt(collection, SeqId(0), "the log's state cannot be read");
  }
  return log;
}

Log* LogTable::Keep(std::unique_ptr<Log> log) {
  const CollectionId id = log->id;
  const auto [it, added] = logs_.emplace(id, std::move(log));
  SLUICE_CHECK(added);
  loaded_.push_back(id);
  return it->second.get();
}

Log* LogTable::Create(const CollectionId& collection) {
  auto log = std::make_unique<Log>();
  log->id = collection;
  Log* const kept = Keep(std::move(log));
  Touch(*kept);
  return kept;
}

void LogTable::Touch(Log& log) {
  if (log.dirty) return;
  log.dirty = true;
  touched_.push_back(&log);
}

void LogTable::Moved(Log& log) {
  Touch(log);
  if (log.moved) return;
  log.moved = true;
  moved_.push_back(&log);
}

absl::StatusOr<LogTable::Place> LogTable::Locate(const Log& log, SeqId seq_id) {
  Place place;
  for (const Log::NewAppend& append : log.new_appends) {
    if (seq_id < append.first || seq_id.value >= append.first.value + append.count) continue;
    const uint64_t index = seq_id.value - append.first.value;
    place.bytes_before = append.bytes_before + GetFixed<uint32_t>(append.tables.data() + 4 * index);
    place.commit_time_us = append.commit_time_us;
    return place;
  }
  bool found = false;
  SLUICE_RETURN_IF_ERROR(
      rows_.Scan(AppendKey(log.id, seq_id), PrefixEnd(CollectionPrefix(RowType::kAppend, log.id)),
                 [&](std::string_view, std::string_view value) {
                   const auto append = DecodeAppend(value);
                   if (!append.ok() || append->first > seq_id) return false;
                   const auto index = static_cast<uint32_t>(seq_id.value - append->first.value);
                   place.bytes_before = append->bytes_before + append->offset(index);
                   place.commit_time_us = append->commit_time_us;
                   found = true;
                   return false;
                 }));
  if (!found)
    return LogCorrupt(log.id, seq_id, absl::StrCat("record ", seq_id.value, " is damaged"));
  return place;
}

absl::StatusOr<std::vector<v1::SegmentInfo>> LogTable::Segments(const Log& log) {
  std::vector<v1::SegmentInfo> segments;
  bool readable = true;
  const std::string prefix = CollectionPrefix(RowType::kSegment, log.id);
  SLUICE_RETURN_IF_ERROR(
      rows_.Scan(prefix, PrefixEnd(prefix), [&](std::string_view, std::string_view value) {
        readable =
            segments.emplace_back().ParseFromArray(value.data(), static_cast<int>(value.size()));
        return readable;
      }));
  if (!readable) return LogCorrupt(log.id, SeqId(0), "the list of segments cannot be read");
  return segments;
}

absl::StatusOr<Cursors*> LogTable::CursorsOf(Log& log) {
  if (log.cursors) return &*log.cursors;
  Cursors cursors;
  bool readable = true;
  const std::string prefix = CollectionPrefix(RowType::kCursor, log.id);
  if (log.state.cursors() > 0) {
    SLUICE_RETURN_IF_ERROR(
        rows_.Scan(prefix, PrefixEnd(prefix), [&](std::string_view key, std::string_view value) {
          const auto parts = DecodeCursorKey(key);
          readable = parts && cursors[std::string(parts->name)].ParseFromArray(
                                  value.data(), static_cast<int>(value.size()));
          return readable;
        }));
  }
  if (!readable) return LogCorrupt(log.id, SeqId(0), "the row of a cursor cannot be read");
  cursors_kept_ += cursors.size() + 1;
  return &log.cursors.emplace(std::move(cursors));
}

void LogTable::Flush() {
  std::string value;
  for (Log* log : touched_) {
    value.clear();
    log->state.AppendToString(&value);
    rows_.Put(LogKey(log->id), value);
  }
}

void LogTable::EndGroup() {
  for (Log* log : touched_) {
    log->dirty = false;
    log->moved = false;
    log->new_appends.clear();
  }
  touched_.clear();
  moved_.clear();
  Evict();
}

void LogTable::Evict() {
  if (cursors_kept_ > kMaxCursorsKept) {
    for (auto& [id, log] : logs_) log->cursors.reset();
    cursors_kept_ = 0;
  }
  for (; logs_.size() > kMaxDecoded; loaded_.pop_front()) {
    const auto it = logs_.find(loaded_.front());
    std::string& value = encoded_[it->first];
    it->second->state.AppendToString(&value);
    encoded_bytes_ += value.size() + kEncodedEntryBytes;
    encoded_order_.push_back(it->first);
    logs_.erase(it);
  }
  // One that was decoded again since has left its place in the order behind.
  while (encoded_bytes_ > kMaxEncodedBytes || encoded_order_.size() > 2 * encoded_.size() + 1000) {
    const auto it = encoded_.find(encoded_order_.front());
    encoded_order_.pop_front();
    if (it == encoded_.end()) continue;
    encoded_bytes_ -= it->second.size() + kEncodedEntryBytes;
    encoded_.erase(it);
  }
}

void LogTable::Discard() {
  touched_.clear();
  moved_.clear();
  logs_.clear();
  loaded_.clear();
  cursors_kept_ = 0;
}

}  // namespace sluice::log

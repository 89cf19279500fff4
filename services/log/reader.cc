#include "services/log/reader.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "services/log/cursor.h"
#include "services/log/log_table.h"

namespace sluice::log {
namespace {

template <class Message>
absl::StatusOr<Message> Parse(std::string_view value, std::string_view what) {
  Message message;
  if (!message.ParseFromArray(value.data(), static_cast<int>(value.size()))) {
    return MakeError(Reason::LOG_CORRUPT,
                     absl::StrCat(absl::string_view(what.data(), what.size()), " cannot be read"));
  }
  return message;
}

// What a log's rows are read by: damage is said with the collection's name.
absl::Status OfLog(const CollectionId& collection, const absl::Status& error) {
  return absl::IsDataLoss(error) ? LogCorrupt(collection, SeqId(0), error.message()) : error;
}
template <class Message>
absl::StatusOr<Message> ParseOfLog(const CollectionId& collection, std::string_view value,
                                   std::string_view what) {
  absl::StatusOr<Message> message = Parse<Message>(value, what);
  if (!message.ok()) return OfLog(collection, message.status());
  return message;
}

absl::Status NotFound(const CollectionId& collection) {
  return MakeError(Reason::COLLECTION_NOT_FOUND,
                   absl::StrCat("there is no collection ", collection.ToString()));
}

}  // namespace

absl::StatusOr<pb::ShardState> ReadShardState(const Snapshot& snapshot) {
  SLUICE_ASSIGN_OR_RETURN(const auto row, snapshot.Get(ShardKey()));
  return Parse<pb::ShardState>(row.value_or(""), "the shard's row");
}

absl::StatusOr<pb::LogState> ReadLog(const Snapshot& snapshot, const CollectionId& collection) {
  const auto row = snapshot.Get(LogKey(collection));
  SLUICE_RETURN_IF_ERROR(OfLog(collection, row.status()));
  if (!*row) return NotFound(collection);
  pb::LogState state;
  if (!state.ParseFromString(**row)) {
    return LogCorrupt(collection, SeqId(0), "the log's state cannot be read");
  }
  if (state.deleted()) {
    return MakeError(Reason::COLLECTION_DELETED,
                     absl::StrCat("collection ", collection.ToString(), " was deleted"));
  }
  return state;
}

absl::StatusOr<std::vector<v1::SegmentInfo>> ReadSegments(const Snapshot& snapshot,
                                                          const CollectionId& collection) {
  std::vector<v1::SegmentInfo> segments;
  const std::string prefix = CollectionPrefix(RowType::kSegment, collection);
  auto it = snapshot.Scan(prefix, PrefixEnd(prefix));
  for (; it.Valid(); it.Next()) {
    SLUICE_ASSIGN_OR_RETURN(segments.emplace_back(),
                            ParseOfLog<v1::SegmentInfo>(collection, it.value(), "a segment's row"));
  }
  SLUICE_RETURN_IF_ERROR(OfLog(collection, it.status()));
  return segments;
}

absl::StatusOr<pb::CursorState> ReadCursor(const Snapshot& snapshot, const CollectionId& collection,
                                           std::string_view name) {
  const auto row = snapshot.Get(CursorKey(collection, name));
  SLUICE_RETURN_IF_ERROR(OfLog(collection, row.status()));
  if (!*row) return CursorNotFound(name);
  return ParseOfLog<pb::CursorState>(collection, **row, "a cursor's row");
}

absl::StatusOr<std::vector<v1::Cursor>> ReadCursors(const Snapshot& snapshot,
                                                    const CollectionId& collection,
                                                    const pb::LogState& log,
                                                    Incarnation incarnation) {
  std::vector<v1::Cursor> cursors;
  if (!log.schema().log_only()) cursors.push_back(ShowIndexCursor(log, incarnation));
  if (log.cursors() == 0) return cursors;
  const std::string prefix = CollectionPrefix(RowType::kCursor, collection);
  auto it = snapshot.Scan(prefix, PrefixEnd(prefix));
  for (; it.Valid(); it.Next()) {
    const auto key = DecodeCursorKey(it.key());
    SLUICE_ASSIGN_OR_RETURN(const auto cursor,
                            ParseOfLog<pb::CursorState>(collection, it.value(), "a cursor's row"));
    cursors.push_back(ShowCursor(key ? key->name : "", cursor));
  }
  SLUICE_RETURN_IF_ERROR(OfLog(collection, it.status()));
  return cursors;
}

absl::StatusOr<std::vector<DueKey>> ReadDue(const Snapshot& snapshot, DueKind kind, int64_t now_us,
                                            size_t limit) {
  std::vector<DueKey> due;
  const std::string prefix = DuePrefix(kind);
  auto it = snapshot.Scan(prefix, PrefixEnd(prefix));
  for (; it.Valid() && due.size() < limit; it.Next()) {
    const auto key = DecodeDueKey(it.key());
    if (!key || key->due_us > now_us) break;
    due.push_back(*key);
  }
  SLUICE_RETURN_IF_ERROR(it.status());
  return due;
}

absl::StatusOr<std::optional<int64_t>> NextDue(const Snapshot& snapshot, DueKind kind,
                                               int64_t now_us) {
  auto it =
      snapshot.Scan(EncodeDueKey({.kind = kind, .due_us = now_us + 1}), PrefixEnd(DuePrefix(kind)));
  const auto key = it.Valid() ? DecodeDueKey(it.key()) : std::nullopt;
  SLUICE_RETURN_IF_ERROR(it.status());
  if (!key) return std::nullopt;
  return key->due_us;
}

absl::StatusOr<std::vector<v1::GarbageEntry>> ReadGarbage(const Snapshot& snapshot, int64_t now_us,
                                                          size_t limit) {
  SLUICE_ASSIGN_OR_RETURN(const pb::ShardState shard, ReadShardState(snapshot));
  std::vector<v1::GarbageEntry> entries;
  const std::string prefix = TypePrefix(RowType::kGarbage);
  auto it = snapshot.Scan(prefix, PrefixEnd(prefix));
  for (; it.Valid() && entries.size() < limit; it.Next()) {
    const auto key = DecodeGarbageKey(it.key());
    if (!key || key->due_us > now_us) break;
    SLUICE_ASSIGN_OR_RETURN(v1::GarbageEntry entry,
                            Parse<v1::GarbageEntry>(it.value(), "a garbage row"));
    entry.set_key(std::string(it.key()));
    entry.set_incarnation(shard.incarnation());
    entries.push_back(std::move(entry));
  }
  SLUICE_RETURN_IF_ERROR(it.status());
  return entries;
}

absl::StatusOr<MissingPage> ReadMissingVectors(const Snapshot& snapshot,
                                               const CollectionId& collection,
                                               v1::MissingReason reason, std::string_view after,
                                               size_t limit) {
  constexpr size_t kMaxRows = 10'000;
  MissingPage page;
  const std::string prefix = CollectionPrefix(RowType::kMissing, collection);
  // The key after the last one seen.
  std::string begin = MissingKey(collection, after);
  if (!after.empty()) begin.push_back('\0');
  size_t rows = 0;
  for (auto it = snapshot.Scan(begin, PrefixEnd(prefix));; it.Next()) {
    if (!it.Valid()) {
      SLUICE_RETURN_IF_ERROR(OfLog(collection, it.status()));
      page.next.clear();
      return page;
    }
    if (page.missing.size() == limit || rows++ == kMaxRows) return page;
    page.next = std::string(it.key().substr(prefix.size()));
    SLUICE_ASSIGN_OR_RETURN(
        v1::MissingVector missing,
        ParseOfLog<v1::MissingVector>(collection, it.value(), "the row of a missing vector"));
    if (reason == v1::MISSING_REASON_UNSPECIFIED || missing.reason() == reason) {
      page.missing.push_back(std::move(missing));
    }
  }
}

absl::StatusOr<std::vector<Pin>> ReadPins(const Snapshot& snapshot) {
  std::vector<Pin> pins;
  const std::string prefix = TypePrefix(RowType::kPin);
  auto it = snapshot.Scan(prefix, PrefixEnd(prefix));
  for (; it.Valid(); it.Next()) {
    const auto number = DecodePinKey(it.key());
    if (!number) continue;
    SLUICE_ASSIGN_OR_RETURN(auto state, Parse<pb::PinState>(it.value(), "a backup's pin"));
    pins.push_back({*number, std::move(state)});
  }
  SLUICE_RETURN_IF_ERROR(it.status());
  return pins;
}

absl::StatusOr<v1::Collection> ReadCollection(const Snapshot& snapshot,
                                              const CollectionId& collection) {
  SLUICE_ASSIGN_OR_RETURN(const auto row, snapshot.Get(CollectionKey(collection)));
  if (!row) return NotFound(collection);
  return Parse<v1::Collection>(*row, "a collection's row");
}

absl::StatusOr<v1::Collection> FindCollection(const Snapshot& snapshot, std::string_view tenant,
                                              std::string_view database, std::string_view name) {
  SLUICE_ASSIGN_OR_RETURN(const auto row, snapshot.Get(NameKey(tenant, database, name)));
  if (!row || row->size() != 16) {
    return MakeError(Reason::COLLECTION_NOT_FOUND,
                     absl::StrCat("there is no collection ", std::string(tenant), "/",
                                  std::string(database), "/", std::string(name)));
  }
  return ReadCollection(snapshot, CollectionId(Uuid::FromBytes(*row)));
}

absl::StatusOr<CollectionPage> ListCollections(const Snapshot& snapshot, std::string_view tenant,
                                               std::string_view database, std::string_view after,
                                               size_t limit) {
  CollectionPage page;
  const std::string prefix = NamePrefix(tenant, database);
  // Keys have no byte 0 at their end, so this is the first key behind `after`.
  const std::string begin = after.empty() ? prefix : std::string(after) + '\0';
  auto it = snapshot.Scan(std::max(begin, prefix), PrefixEnd(prefix));
  std::string last;
  for (; it.Valid(); it.Next()) {
    if (it.value().size() != 16)
      return MakeError(Reason::LOG_CORRUPT, "a name's row cannot be read");
    SLUICE_ASSIGN_OR_RETURN(v1::Collection collection,
                            ReadCollection(snapshot, CollectionId(Uuid::FromBytes(it.value()))));
    if (collection.state() != v1::COLLECTION_STATE_ACTIVE) continue;
    if (page.collections.size() == limit) {
      page.next = last;
      break;
    }
    last = it.key();
    page.collections.push_back(std::move(collection));
  }
  SLUICE_RETURN_IF_ERROR(it.status());
  return page;
}

absl::StatusOr<std::vector<v1::Collection>> ListUnsettledCollections(const Snapshot& snapshot) {
  std::vector<v1::Collection> unsettled;
  // Both are in the order of their ids, so that each is read once, from one end to the other.
  const std::string catalog = TypePrefix(RowType::kCollection);
  const std::string all_logs = TypePrefix(RowType::kLog);
  auto it = snapshot.Scan(catalog, PrefixEnd(catalog));
  auto log = snapshot.Scan(all_logs, PrefixEnd(all_logs));
  for (; it.Valid(); it.Next()) {
    SLUICE_ASSIGN_OR_RETURN(v1::Collection collection,
                            Parse<v1::Collection>(it.value(), "a collection's row"));
    if (collection.state() == v1::COLLECTION_STATE_DELETED) continue;
    if (collection.state() == v1::COLLECTION_STATE_ACTIVE) {
      const auto id = CollectionOfKey(it.key());
      while (log.Valid() && CollectionOfKey(log.key()) < id) log.Next();
      if (!log.Valid() || CollectionOfKey(log.key()) != id) continue;
      SLUICE_ASSIGN_OR_RETURN(const pb::LogState state,
                              Parse<pb::LogState>(log.value(), "a log's state"));
      if (state.settings_version() >= collection.version()) continue;
    }
    unsettled.push_back(std::move(collection));
  }
  SLUICE_RETURN_IF_ERROR(log.status());
  SLUICE_RETURN_IF_ERROR(it.status());
  return unsettled;
}

}  // namespace sluice::log

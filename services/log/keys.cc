#include "services/log/keys.h"

#include "common/base/check.h"
#include "common/base/coding.h"

namespace sluice::log {
namespace {

constexpr size_t kUuidBytes = 16;

std::string Start(RowType type, size_t bytes) {
  std::string key;
  key.reserve(bytes);
  key.push_back(static_cast<char>(type));
  return key;
}

std::string WithId(RowType type, std::string_view id, size_t more) {
  std::string key = Start(type, 1 + kUuidBytes + more);
  key.append(id);
  return key;
}

// Times are never negative; a clock before 1970 would sort last.
void PutTime(std::string* key, int64_t time_us) {
  PutBigEndian64(key, static_cast<uint64_t>(time_us));
}

bool IsRow(std::string_view key, RowType type, size_t bytes) {
  return key.size() == bytes && RowTypeOf(key) == type;
}

}  // namespace

std::string ShardKey() { return Start(RowType::kShard, 1); }

std::string LogKey(const CollectionId& collection) {
  return WithId(RowType::kLog, collection.view(), 0);
}

std::string AppendKey(const CollectionId& collection, SeqId last) {
  std::string key = WithId(RowType::kAppend, collection.view(), 8);
  PutBigEndian64(&key, last.value);
  return key;
}

std::string DedupeKey(const RequestId& request_id) {
  return WithId(RowType::kDedupe, request_id.view(), 0);
}

std::string DedupeKeyAt(int64_t unix_millis) {
  // A UUIDv7 begins with 48 bits of milliseconds.
  std::string key = Start(RowType::kDedupe, 1 + 8);
  PutBigEndian64(&key, static_cast<uint64_t>(unix_millis < 0 ? 0 : unix_millis) << 16);
  key.resize(1 + 6);
  return key;
}

int64_t TimeOfDedupeKey(std::string_view key) {
  SLUICE_CHECK(key.size() == 1 + kUuidBytes);
  return RequestId(Uuid::FromBytes(key.substr(1))).unix_millis();
}

std::string CursorKey(const CollectionId& collection, std::string_view name) {
  std::string key = WithId(RowType::kCursor, collection.view(), name.size());
  key.append(name);
  return key;
}

std::string SegmentKey(const CollectionId& collection, SeqId up_to, uint64_t fill) {
  std::string key = WithId(RowType::kSegment, collection.view(), 16);
  PutBigEndian64(&key, up_to.value);
  if (fill != 0) PutBigEndian64(&key, fill);
  return key;
}

std::string TokenKey(const CollectionId& collection, LeaseToken token) {
  std::string key = WithId(RowType::kToken, collection.view(), 8);
  PutBigEndian64(&key, token.value);
  return key;
}

std::string MissingKey(const CollectionId& collection, std::string_view id_hash) {
  std::string key = WithId(RowType::kMissing, collection.view(), 16);
  key.append(id_hash);
  return key;
}

std::string EncodeDueKey(const DueKey& key) {
  std::string out = Start(RowType::kDue, 1 + 1 + 8 + kUuidBytes);
  out.push_back(static_cast<char>(key.kind));
  PutTime(&out, key.due_us);
  out.append(key.collection.view());
  return out;
}

std::string EncodeGarbageKey(const GarbageKey& key) {
  std::string out = Start(RowType::kGarbage, 1 + 8 + kUuidBytes + 1 + 8 + 8);
  PutTime(&out, key.due_us);
  out.append(key.collection.view());
  out.push_back(static_cast<char>(key.kind));
  PutBigEndian64(&out, key.token);
  PutBigEndian64(&out, key.number);
  return out;
}

std::string PinKey(uint64_t number) {
  std::string key = Start(RowType::kPin, 1 + 8);
  PutBigEndian64(&key, number);
  return key;
}

std::string CollectionKey(const CollectionId& collection) {
  return WithId(RowType::kCollection, collection.view(), 0);
}

std::string NameKey(std::string_view tenant, std::string_view database, std::string_view name) {
  std::string key = Start(RowType::kName, 3 + tenant.size() + database.size() + name.size());
  key.append(tenant).push_back('\0');
  key.append(database).push_back('\0');
  key.append(name);
  return key;
}

std::string TypePrefix(RowType type) { return Start(type, 1); }

std::string CollectionPrefix(RowType type, const CollectionId& collection) {
  return WithId(type, collection.view(), 0);
}

std::string DuePrefix(DueKind kind) {
  std::string key = Start(RowType::kDue, 2);
  key.push_back(static_cast<char>(kind));
  return key;
}

std::string NamePrefix(std::string_view tenant, std::string_view database) {
  std::string key = Start(RowType::kName, 3 + tenant.size() + database.size());
  if (tenant.empty()) return key;
  key.append(tenant).push_back('\0');
  if (database.empty()) return key;
  key.append(database).push_back('\0');
  return key;
}

std::string PrefixEnd(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && end.back() == '\xff') end.pop_back();
  SLUICE_CHECK(!end.empty());  // types are letters
  end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

std::optional<AppendKeyParts> DecodeAppendKey(std::string_view key) {
  if (!IsRow(key, RowType::kAppend, 1 + kUuidBytes + 8)) return std::nullopt;
  Decoder in(key.substr(1));
  AppendKeyParts parts;
  parts.collection = CollectionId(Uuid::FromBytes(in.Bytes(kUuidBytes)));
  parts.last = SeqId(in.BigEndian64());
  return parts;
}

std::optional<CursorKeyParts> DecodeCursorKey(std::string_view key) {
  if (key.size() <= 1 + kUuidBytes || RowTypeOf(key) != RowType::kCursor) return std::nullopt;
  return CursorKeyParts{CollectionId(Uuid::FromBytes(key.substr(1, kUuidBytes))),
                        key.substr(1 + kUuidBytes)};
}

std::optional<DueKey> DecodeDueKey(std::string_view key) {
  if (!IsRow(key, RowType::kDue, 1 + 1 + 8 + kUuidBytes)) return std::nullopt;
  Decoder in(key.substr(1));
  DueKey out;
  out.kind = static_cast<DueKind>(in.Bytes(1)[0]);
  out.due_us = static_cast<int64_t>(in.BigEndian64());
  out.collection = CollectionId(Uuid::FromBytes(in.Bytes(kUuidBytes)));
  return out;
}

std::optional<GarbageKey> DecodeGarbageKey(std::string_view key) {
  if (!IsRow(key, RowType::kGarbage, 1 + 8 + kUuidBytes + 1 + 8 + 8)) return std::nullopt;
  Decoder in(key.substr(1));
  GarbageKey out;
  out.due_us = static_cast<int64_t>(in.BigEndian64());
  out.collection = CollectionId(Uuid::FromBytes(in.Bytes(kUuidBytes)));
  out.kind = static_cast<GarbageKind>(in.Bytes(1)[0]);
  out.token = in.BigEndian64();
  out.number = in.BigEndian64();
  return out;
}

std::optional<uint64_t> DecodePinKey(std::string_view key) {
  if (!IsRow(key, RowType::kPin, 1 + 8)) return std::nullopt;
  Decoder in(key.substr(1));
  return in.BigEndian64();
}

std::optional<CollectionId> CollectionOfKey(std::string_view key) {
  if (key.size() < 1 + kUuidBytes) return std::nullopt;
  switch (RowTypeOf(key)) {
    case RowType::kLog:
    case RowType::kAppend:
    case RowType::kCursor:
    case RowType::kSegment:
    case RowType::kToken:
    case RowType::kMissing:
    case RowType::kCollection:
      return CollectionId(Uuid::FromBytes(key.substr(1, kUuidBytes)));
    default:
      return std::nullopt;
  }
}

}  // namespace sluice::log

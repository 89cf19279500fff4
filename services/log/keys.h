// Every key of the store: its first byte, its layout, its value, and who may change it. Integers
// are big-endian, so that keys sort by them; ids are their 16 bytes. The first 17 bytes of a key
// (type and id, where there is one) are its bloom prefix.
//
// clang-format off
//   key                             value                          written
//   M                               pb::ShardState                 by every group
//   L collection                    pb::LogState                   log machine
//   A collection lastSeqId          append (append.h)              Push, once; dropped by the trim filter
//   R requestId                     pb::DedupeState                Push, once; deleted past the horizon
//   U collection name               pb::CursorState                CommitCursor, RollbackCursor, Retain; deleted by DeleteCursor, CollectGarbage
//   S collection upToSeqId fill?    v1::SegmentInfo                Commit; deleted by Commit(merge), CollectGarbage
//   T collection token              pb::TokenState                 Claim, Commit, Release; deleted by CollectGarbage
//   V collection idHash             v1::MissingVector              Commit, RetryMissing; deleted by Commit, DropMissing, CollectGarbage
//   D kind dueTime collection       (empty)                        log machine, with L, in the same batch
//   G dueTime collection what token number
//                                   v1::GarbageEntry, without its key
//                                                                  Commit(merge), end of a token, DeleteLog; CollectGarbage
//   B number                        pb::PinState                   BeginPin, SealPin; deleted by EndPin
//   C collection                    v1::Collection                 catalog machine
//   N tenant \0 database \0 name     collection                     catalog machine
// clang-format on
//
// A row of S is named by the last SeqId it covers: ranges do not overlap, and a merge's output has
// the name of its last input. Of those that end at the same SeqId (SegmentInfo.fill) all but the
// first have their number in the name. Garbage that a backup holds is due at kHeld, which is never,
// and gets a time when it is let go of.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/ids.h"

namespace sluice::log {

enum class RowType : char {
  kShard = 'M',
  kLog = 'L',
  kAppend = 'A',
  kDedupe = 'R',
  kCursor = 'U',
  kSegment = 'S',
  kToken = 'T',
  kMissing = 'V',
  kDue = 'D',
  kGarbage = 'G',
  kPin = 'B',
  kCollection = 'C',
  kName = 'N',
};

inline constexpr size_t kKeyPrefixBytes = 17;

// Kinds of work that come due.
enum class DueKind : char { kCompaction = 'c', kMerge = 'm', kTrim = 't' };

// What a garbage row is about.
enum class GarbageKind : char { kSegment = 's', kToken = 't', kCollection = 'w' };

struct DueKey {
  DueKind kind = DueKind::kCompaction;
  int64_t due_us = 0;
  CollectionId collection;
  friend bool operator==(const DueKey&, const DueKey&) = default;
};

// Instead of a time: as long as a backup names it.
inline constexpr int64_t kHeld = INT64_MAX;

struct GarbageKey {
  int64_t due_us = 0;
  CollectionId collection;
  GarbageKind kind = GarbageKind::kSegment;
  uint64_t token = 0;
  uint64_t number = 0;
  friend bool operator==(const GarbageKey&, const GarbageKey&) = default;
};

// What type of row a key names; keys are never empty.
inline RowType RowTypeOf(std::string_view key) { return static_cast<RowType>(key[0]); }

std::string ShardKey();
std::string LogKey(const CollectionId& collection);
// Names the append that ends with `last`. Seek finds the append that holds a SeqId.
std::string AppendKey(const CollectionId& collection, SeqId last);
std::string DedupeKey(const RequestId& request_id);
// Sorts before every request id of this time and after those of earlier ones.
std::string DedupeKeyAt(int64_t unix_millis);
// The time of the request id that a dedupe key names.
int64_t TimeOfDedupeKey(std::string_view key);
std::string CursorKey(const CollectionId& collection, std::string_view name);
std::string SegmentKey(const CollectionId& collection, SeqId up_to, uint64_t fill = 0);
std::string TokenKey(const CollectionId& collection, LeaseToken token);
// `id_hash`: 16 bytes.
std::string MissingKey(const CollectionId& collection, std::string_view id_hash);
std::string EncodeDueKey(const DueKey& key);
std::string EncodeGarbageKey(const GarbageKey& key);
std::string PinKey(uint64_t number);
std::string CollectionKey(const CollectionId& collection);
std::string NameKey(std::string_view tenant, std::string_view database, std::string_view name);

// All rows of a type; of a type and a collection (A, U, S, T, V); of a kind (D). `PrefixEnd` is the
// first key after all that begin with `prefix`.
std::string TypePrefix(RowType type);
std::string CollectionPrefix(RowType type, const CollectionId& collection);
std::string DuePrefix(DueKind kind);
// "" for an empty part ends the prefix there: all tenants, all databases of a tenant.
std::string NamePrefix(std::string_view tenant, std::string_view database);
std::string PrefixEnd(std::string_view prefix);

// nullopt if the bytes are not a key of that type.
struct AppendKeyParts {
  CollectionId collection;
  SeqId last;
};
std::optional<AppendKeyParts> DecodeAppendKey(std::string_view key);
struct CursorKeyParts {
  CollectionId collection;
  // A part of the key.
  std::string_view name;
};
std::optional<CursorKeyParts> DecodeCursorKey(std::string_view key);
std::optional<DueKey> DecodeDueKey(std::string_view key);
std::optional<GarbageKey> DecodeGarbageKey(std::string_view key);
std::optional<uint64_t> DecodePinKey(std::string_view key);
// Of a key with a collection right after its type byte: L, A, U, S, T, V, C.
std::optional<CollectionId> CollectionOfKey(std::string_view key);

}  // namespace sluice::log

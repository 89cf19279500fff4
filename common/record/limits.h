// What a record and a push may carry, and how many cursors a log may have. One table, reported by
// InfoService.GetInfo; scan.h and the log enforce it.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice {

inline constexpr uint64_t kMaxIdBytes = 512;
inline constexpr uint64_t kMaxDocumentBytes = 1 << 20;
inline constexpr uint64_t kMaxUriBytes = 8 << 10;
inline constexpr uint64_t kMaxMetadataEntries = 256;
inline constexpr uint64_t kMaxMetadataKeyBytes = 512;
inline constexpr uint64_t kMaxMetadataStringBytes = 32 << 10;
inline constexpr uint64_t kMaxDimension = 8192;
inline constexpr uint64_t kMaxRecordsPerAppend = 10'000;
inline constexpr uint64_t kMaxBytesPerAppend = 16 << 20;
// Of the condition "none of these ids changed since": ids given, and how far back is looked.
inline constexpr uint64_t kMaxConditionIds = 10'000;
inline constexpr uint64_t kMaxConditionIdBytes = 1 << 20;
inline constexpr uint64_t kMaxLookBackRecords = 10'000;
inline constexpr uint64_t kMaxLookBackBytes = 16 << 20;

// Of a log's cursors.
inline constexpr uint64_t kMaxCursors = 100;
inline constexpr uint64_t kMaxCursorNameBytes = 128;

struct LimitInfo {
  std::string_view name;
  uint64_t max;
  std::string_view help;
};

inline constexpr LimitInfo kLimits[] = {
    {"record.id.bytes", kMaxIdBytes, "Bytes of an id, at least 1"},
    {"record.document.bytes", kMaxDocumentBytes, "Bytes of a document"},
    {"record.uri.bytes", kMaxUriBytes, "Bytes of a uri"},
    {"record.metadata.entries", kMaxMetadataEntries, "Metadata keys of a record"},
    {"record.metadata.key.bytes", kMaxMetadataKeyBytes, "Bytes of a metadata key, at least 1"},
    {"record.metadata.string.bytes", kMaxMetadataStringBytes, "Bytes of a metadata string"},
    {"record.vector.dimension", kMaxDimension, "Components of a vector, at least 1"},
    {"append.records", kMaxRecordsPerAppend, "Records of an append, at least 1"},
    {"append.bytes", kMaxBytesPerAppend, "Bytes of the records of an append, as encoded"},
    {"condition.ids", kMaxConditionIds, "Ids given to a push's condition"},
    {"condition.ids.bytes", kMaxConditionIdBytes, "Their bytes together"},
    {"condition.lookback.records", kMaxLookBackRecords,
     "Records between a condition's since_seq_id and the tail"},
    {"condition.lookback.bytes", kMaxLookBackBytes, "Their bytes together, as encoded"},
    {"log.cursors", kMaxCursors, "Cursors of a log, beside \"index\""},
    {"cursor.name.bytes", kMaxCursorNameBytes, "Bytes of a cursor's name, at least 1"},
};

}  // namespace sluice

// Validates the wire bytes of a push without building messages: framing, UTF-8, operations, ids,
// sizes, dimension, finite components, metadata types and order. Used by the log (which must not
// trust anybody) and by the frontend (to fail earlier). README.md lists the rules.
//
// Errors are INVALID_ARGUMENT with reason INVALID_RECORD (metadata record, field),
// DIMENSION_MISMATCH (the same, expected, actual), TOO_LARGE, INVALID_REQUEST or MALFORMED_REQUEST;
// the message names the place: `records[3].vector.data: component 17 is not finite`. Pure
// functions; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace sluice {

// What the scanner learnt of the records of one push.
struct RecordsShape {
  uint32_t count = 0;
  // Where each record's field (tag, length, bytes) begins within the records' region.
  std::vector<uint32_t> offsets;
  // 64-bit hash (IdHash64) of each record's id.
  std::vector<uint64_t> id_hashes;
  // Dimension of the vectors, and the first record that has one; 0 if none has. All vectors of a
  // push agree.
  uint32_t dimension = 0;
  uint32_t first_vector_record = 0;
};

// An IdsUnchanged in wire form.
struct ScannedIdsUnchanged {
  uint64_t since_seq_id = 0;
  // Empty: those of the records.
  std::vector<std::string_view> ids;
};

// A PushLogsRequest in wire form. The views point into the scanned message, or into `gathered`.
struct ScannedPush {
  std::string_view collection_id;
  std::string_view request_id;
  uint64_t incarnation = 0;
  std::string_view predecessor_request_id;
  std::optional<uint64_t> if_tail_seq_id;
  std::optional<ScannedIdsUnchanged> if_ids_unchanged;
  // The `records` fields as they came, tags and lengths included: what is stored, and what
  // `Append.records` is made of.
  std::string_view records;
  RecordsShape shape;
  // Holds the records if other fields stood between them (no common serialiser does that).
  std::string gathered;

  ScannedPush() = default;
  ScannedPush(ScannedPush&&) = delete;  // views may point into *this
};

// Scans a serialised sluice.v1.PushLogsRequest of `message`, which must outlive `push`; `push` must
// be new. Whether collection_id and the request ids are UUIDs is left to the caller. Unknown fields
// below 16 are refused: a later version may give them a meaning that must not be dropped. Higher
// ones are ignored in the request and kept in records. On error `*push` is unspecified.
absl::Status ScanPush(std::string_view message, ScannedPush* push);

// Scans a region of `records` fields (field number 2 throughout), as stored or about to be pushed.
// On error `*shape` is unspecified.
absl::Status ScanRecords(std::string_view records, RecordsShape* shape);

// The hash of ids in append headers: XXH3-64.
uint64_t IdHash64(std::string_view id);

// The id of a record that was scanned once, from its encoded `records` field; nullopt if the bytes
// are no such field.
std::optional<std::string_view> IdOfRecord(std::string_view field);

// The fingerprint by which a repeated append is compared with the first: XXH3-128 of the records,
// seeded with XXH3-64 of the collection.
struct Fingerprint {
  uint64_t high = 0;
  uint64_t low = 0;
  friend bool operator==(const Fingerprint&, const Fingerprint&) = default;
};
Fingerprint FingerprintOf(std::string_view collection_id_bytes, std::string_view records);

}  // namespace sluice

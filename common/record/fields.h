// Walks the fields of one protobuf message for the scanner: takes each at most once, of the type it
// must have, within its size, and names the place where one is not so. Field numbers below 16 that
// this version does not know are refused, as later versions may give them a meaning that must not
// be dropped; higher ones are passed over. A value type; the bytes must outlive it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/record/wire.h"

namespace sluice {

// What an error names: `records[3].metadata[2].value.string_value`.
struct Place {
  static constexpr int64_t kNone = -1;

  // Index in the push; kNone: a field of the request itself.
  int64_t record = kNone;
  // Index in the record's metadata.
  int64_t entry = kNone;
  // The message within, if not the record or entry itself.
  const char* message = "";

  // Within the record, or the request.
  std::string Field(std::string_view name) const;
  std::string Path(std::string_view name) const;
};

// INVALID_RECORD, or INVALID_REQUEST for a field of the request.
absl::Status InvalidField(const Place& place, std::string_view name, std::string_view what);
absl::Status Malformed(const Place& place, std::string_view name, std::string_view what);

class Fields {
 public:
  Fields(std::string_view bytes, const Place& place) : in_(bytes), place_(place) {}

  bool done() const { return in_.done(); }
  const char* position() const { return in_.position(); }

  // Takes the next field's tag; one of the calls below takes its value.
  absl::Status Next();
  uint32_t number() const { return number_; }

  // Refuse a second occurrence, and another wire type.
  absl::Status Text(std::string_view name, uint64_t max_bytes, std::string_view* text);
  absl::Status Bytes(std::string_view name, std::string_view* bytes);
  absl::Status Varint(std::string_view name, uint64_t* value);
  absl::Status Fixed64(std::string_view name, uint64_t* value);
  // One occurrence of a field that may occur again; `element` is its place.
  absl::Status Repeated(const Place& element, std::string_view* bytes);
  // The value of any other field.
  absl::Status Unknown();

  bool Has(uint32_t number) const { return (seen_ & (1u << number)) != 0; }

 private:
  absl::Status Once(std::string_view name, WireType type);

  WireReader in_;
  const Place& place_;
  uint32_t number_ = 0;
  WireType type_ = WireType::kVarint;
  // Bit n: field n was taken.
  uint32_t seen_ = 0;
};

}  // namespace sluice

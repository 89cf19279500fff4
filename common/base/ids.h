// Strong types for the things that are easily confused: ids, sequence numbers, tokens.
// All are small values; every function is thread-safe.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace sluice {

// A number that only compares with its own kind. `value` is public: these types carry no invariant.
template <class Tag>
struct StrongNumber {
  uint64_t value = 0;

  constexpr StrongNumber() = default;
  constexpr explicit StrongNumber(uint64_t v) : value(v) {}
  friend constexpr auto operator<=>(StrongNumber, StrongNumber) = default;

  template <typename H>
  friend H AbslHashValue(H h, StrongNumber n) {
    return H::combine(std::move(h), n.value);
  }
};

// A record's place in its collection's log: 1, 2, 3, ...; 0 stands before the first.
using SeqId = StrongNumber<struct SeqIdTag>;
// A granted lease; grows with every grant on a log.
using LeaseToken = StrongNumber<struct LeaseTokenTag>;
// Changes when a log is restored from a backup. Never 0.
using Incarnation = StrongNumber<struct IncarnationTag>;
// A group of commands in a shard's journal: 1, 2, 3, ...
using JournalPosition = StrongNumber<struct JournalPositionTag>;

// Sixteen bytes with the canonical text form of a UUID (8-4-4-4-12, lower case).
struct Uuid {
  std::array<uint8_t, 16> bytes{};

  // INVALID_ARGUMENT unless `text` is a canonical UUID (either case).
  static absl::StatusOr<Uuid> Parse(std::string_view text);
  // `raw` must have 16 bytes.
  static Uuid FromBytes(std::string_view raw);
  // Version 4: random.
  static Uuid Random();
  // Version 7 (RFC 9562): 48 bits of Unix milliseconds, then random bits. Ids made by one process
  // never decrease.
  static Uuid TimeOrdered(int64_t unix_millis);

  std::string ToString() const;
  std::string_view view() const {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  bool is_nil() const { return *this == Uuid{}; }
  int version() const { return bytes[6] >> 4; }
  // Of a version 7 UUID.
  int64_t unix_millis() const;

  friend auto operator<=>(const Uuid&, const Uuid&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Uuid& u) {
    return H::combine(std::move(h), u.bytes);
  }
};

template <class Tag>
struct StrongUuid : Uuid {
  StrongUuid() = default;
  explicit StrongUuid(const Uuid& u) : Uuid(u) {}
  friend auto operator<=>(const StrongUuid&, const StrongUuid&) = default;
};

// Names a collection and its log.
using CollectionId = StrongUuid<struct CollectionIdTag>;
// Names one append over all its retries; version 7.
using RequestId = StrongUuid<struct RequestIdTag>;

// Reads a UUID from a request's field; the error names the field.
absl::StatusOr<CollectionId> ParseCollectionId(std::string_view text);

// Random bits from the operating system.
uint64_t RandomUint64();

}  // namespace sluice

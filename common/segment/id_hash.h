// The keyed 128-bit hash of ids that id indexes are sorted by: SipHash-2-4-128 (libsodium), so that
// nobody who lacks the collection's key can make two ids collide. Values; thread-safe.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string_view>
#include <utility>

namespace sluice {

// The hash's sixteen bytes as two big-endian numbers, so that numbers compare as the bytes do.
struct IdHash {
  uint64_t high = 0;
  uint64_t low = 0;
  friend auto operator<=>(const IdHash&, const IdHash&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const IdHash& id) {
    return H::combine(std::move(h), id.low);
  }
};

class IdHasher {
 public:
  // `key`: the collection's id_hash_key, 16 bytes.
  explicit IdHasher(std::string_view key);
  IdHash operator()(std::string_view id) const;

 private:
  std::array<unsigned char, 16> key_;
};

}  // namespace sluice

// Fixed-width integers in byte strings. Big-endian where bytes are compared (keys), little-endian
// elsewhere.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace sluice {

static_assert(std::endian::native == std::endian::little, "stored formats are read in place");

template <class T>
void PutFixed(std::string* out, T v) {
  static_assert(std::is_integral_v<T>);
  out->append(reinterpret_cast<const char*>(&v), sizeof(v));
}

template <class T>
T GetFixed(const char* p) {
  static_assert(std::is_integral_v<T>);
  T v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

inline void PutBigEndian64(std::string* out, uint64_t v) { PutFixed(out, __builtin_bswap64(v)); }

inline uint64_t GetBigEndian64(const char* p) { return __builtin_bswap64(GetFixed<uint64_t>(p)); }

// Takes values off the front of a byte string; after a read beyond the end, `ok` is false and every
// value is zero or empty.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : rest_(bytes) {}

  template <class T>
  T Fixed() {
    const std::string_view b = Bytes(sizeof(T));
    return ok_ ? GetFixed<T>(b.data()) : T{};
  }
  uint64_t BigEndian64() { return __builtin_bswap64(Fixed<uint64_t>()); }
  std::string_view Bytes(size_t n) {
    if (!ok_ || rest_.size() < n) {
      ok_ = false;
      return {};
    }
    const std::string_view b = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return b;
  }
  bool ok() const { return ok_; }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace sluice

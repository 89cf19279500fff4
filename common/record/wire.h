// Takes protobuf wire-format fields off the front of a byte string, without building anything.
// Stricter than protobuf's own parser where parsers of different languages differ: numbers that
// overflow and groups are refused, so whatever passes is readable everywhere. After a call returned
// false, the reader is of no more use. A value type; the bytes must outlive it.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace sluice {

enum class WireType : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

class WireReader {
 public:
  explicit WireReader(std::string_view bytes)
      : next_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  bool done() const { return next_ == end_; }
  // Where the next field begins.
  const char* position() const { return next_; }

  bool Tag(uint32_t* number, WireType* type) {
    uint64_t tag;
    if (!VarintUpTo(5, &tag) || tag > UINT32_MAX) return false;
    *number = static_cast<uint32_t>(tag >> 3);
    *type = static_cast<WireType>(tag & 7);
    return *number != 0;
  }
  bool Varint(uint64_t* value) { return VarintUpTo(10, value); }
  bool Fixed64(uint64_t* value) {
    if (end_ - next_ < 8) return false;
    std::memcpy(value, next_, 8);
    next_ += 8;
    return true;
  }
  bool Bytes(std::string_view* bytes) {
    uint64_t size;
    if (!VarintUpTo(5, &size) || size > static_cast<uint64_t>(end_ - next_)) return false;
    *bytes = {next_, static_cast<size_t>(size)};
    next_ += size;
    return true;
  }
  // The value of a field that nobody reads.
  bool Skip(WireType type) {
    uint64_t number;
    std::string_view bytes;
    switch (type) {
      case WireType::kVarint:
        return Varint(&number);
      case WireType::kFixed64:
        return Fixed64(&number);
      case WireType::kBytes:
        return Bytes(&bytes);
      case WireType::kFixed32:
        if (end_ - next_ < 4) return false;
        next_ += 4;
        return true;
    }
    return false;
  }

 private:
  bool VarintUpTo(int max_bytes, uint64_t* value) {
    if (next_ != end_ && static_cast<uint8_t>(*next_) < 0x80) {
      *value = static_cast<uint8_t>(*next_++);
      return true;
    }
    uint64_t sum = 0;
    for (int i = 0; i < max_bytes && next_ != end_; ++i) {
      const uint64_t byte = static_cast<uint8_t>(*next_++);
      if (i == 9 && byte > 1) return false;
      sum |= (byte & 0x7f) << (7 * i);
      if (byte < 0x80) {
        *value = sum;
        return true;
      }
    }
    return false;
  }

  const char* next_;
  const char* end_;
};

}  // namespace sluice

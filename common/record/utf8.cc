#include "common/record/utf8.h"

#include <cstdint>
#include <cstring>

namespace sluice {
namespace {

constexpr uint64_t kHighBits = 0x8080808080808080;

// The first byte that is not ASCII, at or after `p`.
const uint8_t* SkipAscii(const uint8_t* p, const uint8_t* end) {
  while (end - p >= 32) {
    uint64_t words[4];
    std::memcpy(words, p, sizeof(words));
    if ((words[0] | words[1] | words[2] | words[3]) & kHighBits) break;
    p += 32;
  }
  while (end - p >= 8) {
    uint64_t word;
    std::memcpy(&word, p, sizeof(word));
    if (word & kHighBits) return p + __builtin_ctzll(word & kHighBits) / 8;
    p += 8;
  }
  while (p != end && *p < 0x80) ++p;
  return p;
}

bool IsContinuation(uint8_t byte) { return (byte & 0xc0) == 0x80; }

// The length of the character of more than one byte at `p`, or 0 if it is not valid. Only the
// second byte's range depends on the first (Unicode 15, table 3-7).
size_t CharacterLength(const uint8_t* p, size_t left) {
  const uint8_t first = p[0];
  if (first < 0xc2 || first > 0xf4 || left < 2) return 0;
  if (first < 0xe0) return IsContinuation(p[1]) ? 2 : 0;
  if (left < 3 || !IsContinuation(p[1]) || !IsContinuation(p[2])) return 0;
  if (first < 0xf0) {
    const bool overlong = first == 0xe0 && p[1] < 0xa0;
    const bool surrogate = first == 0xed && p[1] >= 0xa0;
    return overlong || surrogate ? 0 : 3;
  }
  if (left < 4 || !IsContinuation(p[3])) return 0;
  const bool overlong = first == 0xf0 && p[1] < 0x90;
  const bool too_high = first == 0xf4 && p[1] >= 0x90;
  return overlong || too_high ? 0 : 4;
}

}  // namespace

bool IsValidUtf8(std::string_view text) {
  const auto* p = reinterpret_cast<const uint8_t*>(text.data());
  const uint8_t* const end = p + text.size();
  while (p != end) {
    if (*p < 0x80) {
      p = SkipAscii(p, end);
      continue;
    }
    const size_t length = CharacterLength(p, static_cast<size_t>(end - p));
    if (length == 0) return false;
    p += length;
  }
  return true;
}

}  // namespace sluice

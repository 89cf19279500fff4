#include "common/base/ids.h"

#include <sys/random.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "absl/strings/str_cat.h"

namespace sluice {
namespace {

void FillRandom(void* out, size_t size) {
  // Below 256 bytes getrandom never returns less than asked for.
  if (getrandom(out, size, 0) != static_cast<ssize_t>(size)) std::abort();
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool IsDashPlace(size_t i) { return i == 8 || i == 13 || i == 18 || i == 23; }

void StampVersion(Uuid& u, uint8_t version) {
  u.bytes[6] = static_cast<uint8_t>((u.bytes[6] & 0x0f) | (version << 4));
  u.bytes[8] = static_cast<uint8_t>((u.bytes[8] & 0x3f) | 0x80);
}

}  // namespace

absl::StatusOr<Uuid> Uuid::Parse(std::string_view text) {
  const auto malformed = [&] {
    return absl::InvalidArgumentError(absl::StrCat(
        "not a UUID: \"", absl::string_view(text.data(), std::min<size_t>(text.size(), 64)),
        "\" (expected 8-4-4-4-12 hexadecimal digits)"));
  };
  if (text.size() != 36) return malformed();
  Uuid u;
  size_t byte = 0;
  for (size_t i = 0; i < text.size();) {
    if (IsDashPlace(i)) {
      if (text[i++] != '-') return malformed();
      continue;
    }
    const int high = HexDigit(text[i]);
    const int low = HexDigit(text[i + 1]);
    if (high < 0 || low < 0) return malformed();
    u.bytes[byte++] = static_cast<uint8_t>(high << 4 | low);
    i += 2;
  }
  return u;
}

Uuid Uuid::FromBytes(std::string_view raw) {
  Uuid u;
  if (raw.size() != u.bytes.size()) std::abort();
  std::memcpy(u.bytes.data(), raw.data(), raw.size());
  return u;
}

Uuid Uuid::Random() {
  Uuid u;
  FillRandom(u.bytes.data(), u.bytes.size());
  StampVersion(u, 4);
  return u;
}

Uuid Uuid::TimeOrdered(int64_t unix_millis) {
  static std::mutex mutex;
  static int64_t last_millis = 0;
  {
    std::lock_guard lock(mutex);
    last_millis = unix_millis = std::max(unix_millis, last_millis);
  }
  Uuid u;
  for (int i = 0; i < 6; ++i) u.bytes[i] = static_cast<uint8_t>(unix_millis >> (40 - 8 * i));
  FillRandom(u.bytes.data() + 6, 10);
  StampVersion(u, 7);
  return u;
}

std::string Uuid::ToString() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(36);
  for (const uint8_t b : bytes) {
    if (IsDashPlace(text.size())) text.push_back('-');
    text.push_back(kDigits[b >> 4]);
    text.push_back(kDigits[b & 15]);
  }
  return text;
}

int64_t Uuid::unix_millis() const {
  int64_t millis = 0;
  for (int i = 0; i < 6; ++i) millis = millis << 8 | bytes[i];
  return millis;
}

absl::StatusOr<CollectionId> ParseCollectionId(std::string_view text) {
  absl::StatusOr<Uuid> u = Uuid::Parse(text);
  if (!u.ok())
    return absl::InvalidArgumentError(absl::StrCat("collection_id: ", u.status().message()));
  return CollectionId(*u);
}

uint64_t RandomUint64() {
  uint64_t bits = 0;
  FillRandom(&bits, sizeof(bits));
  return bits;
}

}  // namespace sluice

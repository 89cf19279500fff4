#include "common/segment/id_hash.h"

#include <sodium/crypto_shorthash_siphash24.h>

#include <algorithm>

#include "common/base/check.h"
#include "common/base/coding.h"

namespace sluice {

IdHasher::IdHasher(std::string_view key) {
  SLUICE_CHECK(key.size() == key_.size());
  std::copy(key.begin(), key.end(), key_.begin());
}

IdHash IdHasher::operator()(std::string_view id) const {
  char hash[crypto_shorthash_siphashx24_BYTES];
  static_assert(sizeof(hash) == 16);
  crypto_shorthash_siphashx24(reinterpret_cast<unsigned char*>(hash),
                              reinterpret_cast<const unsigned char*>(id.data()), id.size(),
                              key_.data());
  return {GetBigEndian64(hash), GetBigEndian64(hash + 8)};
}

}  // namespace sluice

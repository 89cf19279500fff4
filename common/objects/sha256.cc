#include "common/objects/sha256.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/check.h"

namespace sluice {

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  SLUICE_CHECK(context_ != nullptr && EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() { EVP_MD_CTX_free(context_); }

void Sha256::Update(std::string_view bytes) {
  SLUICE_CHECK(EVP_DigestUpdate(context_, bytes.data(), bytes.size()) == 1);
}

std::string Sha256::Hex() {
  std::array<char, 32> digest{};
  SLUICE_CHECK(
      EVP_DigestFinal_ex(context_, reinterpret_cast<unsigned char*>(digest.data()), nullptr) == 1);
  return absl::BytesToHexString(absl::string_view(digest.data(), digest.size()));
}

std::string Sha256Of(std::string_view bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.Hex();
}

absl::StatusOr<std::string> Sha256OfFile(const std::filesystem::path& path) {
  std::error_code error;
  const uint64_t bytes = std::filesystem::file_size(path, error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("cannot read ", path.string(), ": ", error.message()));
  }
  return Sha256OfRange(path, 0, bytes);
}

absl::StatusOr<std::string> Sha256OfRange(const std::filesystem::path& path, uint64_t from,
                                          uint64_t bytes) {
  Sha256 hash;
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(from));
  std::vector<char> piece(1 << 18);
  while (bytes > 0 && file) {
    file.read(piece.data(), static_cast<std::streamsize>(std::min<uint64_t>(piece.size(), bytes)));
    hash.Update({piece.data(), static_cast<size_t>(file.gcount())});
    bytes -= static_cast<uint64_t>(file.gcount());
  }
  if (bytes > 0) return absl::UnavailableError(absl::StrCat("cannot read ", path.string()));
  return hash.Hex();
}

}  // namespace sluice

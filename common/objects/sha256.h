// SHA-256, in hex. One thread.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

struct evp_md_ctx_st;

namespace sluice {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void Update(std::string_view bytes);
  // Once, at the end.
  std::string Hex();

 private:
  evp_md_ctx_st* const context_;
};

std::string Sha256Of(std::string_view bytes);
// UNAVAILABLE if the range cannot be read whole. Reads in pieces.
absl::StatusOr<std::string> Sha256OfFile(const std::filesystem::path& path);
absl::StatusOr<std::string> Sha256OfRange(const std::filesystem::path& path, uint64_t from,
                                          uint64_t bytes);

}  // namespace sluice

// The built-in embedder `hashing`: feature hashing of words and character n-grams into a unit
// vector. Deterministic on every machine, no model, no network; lexical: it finds texts that share
// words and spellings, not texts that mean the same. README.md says how. Stateless after
// construction; thread-safe.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace sluice {

class HashingEmbedder {
 public:
  static constexpr uint32_t kDefaultDimension = 384;

  // `dimension`: at least 1.
  explicit HashingEmbedder(uint32_t dimension) : dimension_(dimension) {}
  uint32_t dimension() const { return dimension_; }

  // Of length `dimension`, L2-normalised; all zeros for a text without a word.
  std::vector<float> Embed(std::string_view text) const;

 private:
  uint32_t dimension_;
};

}  // namespace sluice

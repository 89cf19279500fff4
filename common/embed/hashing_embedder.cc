#include "common/embed/hashing_embedder.h"

#include <bit>
#include <cmath>

#include "common/base/coding.h"
#include "common/embed/words.h"

namespace sluice {
namespace {

constexpr double kStopWordWeight = 0.1;
constexpr uint32_t kShortestGram = 3;
constexpr uint32_t kLongestGram = 5;
// Of the n-gram whose characters are the high `size` bytes of `bytes`: a multiplication whose
// halves are folded together, as XXH3 does it.
uint64_t HashOfGram(uint64_t bytes, uint32_t size) {
  constexpr uint64_t kOdd1 = 0x9e3779b97f4a7c15;
  constexpr uint64_t kOdd2 = 0xd6e8feb86659fd93;
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(bytes ^ (size + 8 * kHashSeed) * kOdd1) * kOdd2;
  const uint64_t folded = static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  return folded * kOdd1;
}

// Adds `weight` at the place, and with the sign, that the feature's hash says. No branch: it would
// be guessed wrong half the time.
void AddFeature(uint64_t hash, float weight, std::vector<float>* sum) {
  const uint64_t place = (hash >> 32) * sum->size() >> 32;
  const auto sign = static_cast<uint32_t>(hash) & 0x80000000;
  (*sum)[place] += std::bit_cast<float>(std::bit_cast<uint32_t>(weight) ^ sign);
}

// Together, the n-grams of a word (blanks at its ends included) weigh as much as the word. At least
// 8 bytes can be read from each of its bytes.
void AddGrams(std::string_view word, float weight, std::vector<float>* sum) {
  const auto size = static_cast<uint32_t>(word.size());
  uint32_t grams = 0;
  for (uint32_t n = kShortestGram; n <= kLongestGram && n <= size; ++n) grams += size - n + 1;
  const float each = weight / std::sqrt(static_cast<float>(grams));
  for (uint32_t i = 0; i + kShortestGram <= size; ++i) {
    const auto bytes = GetFixed<uint64_t>(word.data() + i);
    for (uint32_t n = kShortestGram; n <= kLongestGram && i + n <= size; ++n) {
      AddFeature(HashOfGram(bytes << (64 - 8 * n), n), each, sum);
    }
  }
}

void Normalise(std::vector<float>* vector) {
  double squares = 0;
  for (const float component : *vector) squares += double{component} * component;
  if (squares == 0) return;
  const double length = std::sqrt(squares);
  for (float& component : *vector) component = static_cast<float>(component / length);
}

}  // namespace

std::vector<float> HashingEmbedder::Embed(std::string_view text) const {
  std::vector<float> sum(dimension_);
  const Words words = WordsOf(text);
  for (const Word& word : words.distinct) {
    const double weight = std::sqrt(word.presence) * (IsStopWord(word) ? kStopWordWeight : 1);
    AddFeature(word.hash, static_cast<float>(weight), &sum);
    const std::string_view with_blanks(words.text.data() + word.begin - 1, word.size + 2);
    AddGrams(with_blanks, static_cast<float>(weight), &sum);
  }
  Normalise(&sum);
  return sum;
}

}  // namespace sluice

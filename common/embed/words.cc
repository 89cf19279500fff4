#include "common/embed/words.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>

namespace sluice {
namespace {

constexpr double kPositionsToQuarter = 16;

// What a byte becomes: itself, its lower-case form, or a blank.
constexpr std::array<char, 256> kFolded = [] {
  std::array<char, 256> folded{};
  for (int c = 0; c < 256; ++c) {
    const bool is_upper = c >= 'A' && c <= 'Z';
    const bool is_word = is_upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 0x80;
    folded[c] = static_cast<char>(is_upper ? c - 'A' + 'a' : is_word ? c : ' ');
  }
  return folded;
}();

uint64_t HashOf(std::string_view word) {
  return XXH3_64bits_withSeed(word.data(), word.size(), kHashSeed);
}

// Finds words by hash: open addressing, at most half full.
class WordTable {
 public:
  explicit WordTable(std::vector<Word>* words) : words_(words), slots_(kFirstSlots, kEmpty) {}

  Word& Find(uint64_t hash, uint32_t begin, uint32_t size) {
    if (2 * words_->size() >= slots_.size()) Grow();
    uint32_t& slot = SlotOf(hash);
    if (slot == kEmpty) {
      slot = static_cast<uint32_t>(words_->size());
      words_->push_back({.hash = hash, .begin = begin, .size = size});
    }
    return (*words_)[slot];
  }

 private:
  static constexpr size_t kFirstSlots = 256;
  static constexpr uint32_t kEmpty = UINT32_MAX;

  uint32_t& SlotOf(uint64_t hash) {
    const size_t mask = slots_.size() - 1;
    size_t i = hash & mask;
    while (slots_[i] != kEmpty && (*words_)[slots_[i]].hash != hash) i = (i + 1) & mask;
    return slots_[i];
  }
  void Grow() {
    slots_.assign(2 * slots_.size(), kEmpty);
    for (uint32_t i = 0; i < words_->size(); ++i) SlotOf((*words_)[i].hash) = i;
  }

  std::vector<Word>* const words_;
  // Indexes into `words_`.
  std::vector<uint32_t> slots_;
};

constexpr uint32_t kLongestStopWord = 7;
constexpr std::string_view kStopWords[] = {
    "a",    "about", "all",   "also",  "an",    "and",   "any",  "are",  "as",      "at",   "be",
    "been", "but",   "by",    "can",   "for",   "from",  "has",  "have", "if",      "in",   "into",
    "is",   "it",    "its",   "may",   "more",  "most",  "no",   "not",  "of",      "on",   "one",
    "only", "or",    "other", "out",   "so",    "some",  "such", "than", "that",    "the",  "their",
    "them", "then",  "there", "these", "they",  "this",  "to",   "up",   "use",     "used", "using",
    "very", "via",   "was",   "when",  "where", "which", "will", "with", "without", "you",  "your"};

}  // namespace

Words WordsOf(std::string_view text) {
  Words words;
  words.text.resize(text.size() + 1 + Words::kBlanksAtEnd, ' ');
  char* const folded = words.text.data() + 1;
  for (size_t i = 0; i < text.size(); ++i) folded[i] = kFolded[static_cast<uint8_t>(text[i])];
  words.distinct.reserve(text.size() / 8);
  WordTable table(&words.distinct);
  const char* const bytes = words.text.data();
  const auto end = static_cast<uint32_t>(words.text.size());
  double position = 0;
  for (uint32_t i = 0; i < end;) {
    if (bytes[i] == ' ') {
      ++i;
      continue;
    }
    const uint32_t begin = i;
    while (bytes[i] != ' ') ++i;
    const uint64_t hash = HashOf({bytes + begin, i - begin});
    const double nearness = kPositionsToQuarter / (kPositionsToQuarter + position);
    table.Find(hash, begin, i - begin).presence += nearness * nearness;
    position += 1;
  }
  return words;
}

bool IsStopWord(const Word& word) {
  static const std::vector<uint64_t> kHashes = [] {
    std::vector<uint64_t> hashes;
    for (const std::string_view stop : kStopWords) {
      hashes.push_back(HashOf(stop));
    }
    std::sort(hashes.begin(), hashes.end());
    return hashes;
  }();
  return word.size <= kLongestStopWord &&
         std::binary_search(kHashes.begin(), kHashes.end(), word.hash);
}

}  // namespace sluice

// The words of a text: runs of letters and digits, lower-cased, each distinct one once. Pure;
// thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

// Of all hashes here. Which words fall together differs from seed to seed; this one of 24 did best
// (README.md).
inline constexpr uint64_t kHashSeed = 14;

struct Word {
  // XXH3-64 of the lower-cased word.
  uint64_t hash = 0;
  // In Words::text, which has a blank on either side of it.
  uint32_t begin = 0;
  uint32_t size = 0;
  // Sum over its occurrences, of which early ones count more: (1 + position / 16)^-2, in words from
  // the start.
  double presence = 0;
};

struct Words {
  // So that 8 bytes can be read from any byte of a word.
  static constexpr uint32_t kBlanksAtEnd = 8;

  // Lower-cased; every byte that belongs to no word is a blank. Begins with a blank and ends with
  // several.
  std::string text;
  // In order of first occurrence.
  std::vector<Word> distinct;
};

// ASCII letters and digits, and every byte of a non-ASCII character, belong to words; ASCII letters
// are lower-cased.
Words WordsOf(std::string_view text);

// Whether it is one of the most frequent English words ("the", "of", ...).
bool IsStopWord(const Word& word);

}  // namespace sluice

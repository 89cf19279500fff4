// Texts that wait to be embedded by one model, and the batches that are taken of them. Pure.
//
// A batch begins with the text that has waited longest, so that none waits for ever, and is filled
// with those nearest to it in length: a server pads a batch to its longest text, and what is padded
// is worked on in vain.
//
// One thread at a time. Bounded by its callers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::compactor {

// Names texts that were handed over together.
using Ticket = uint64_t;

struct PendingText {
  Ticket ticket = 0;
  // Its place among the texts of the ticket.
  size_t index = 0;
  std::string text;
  size_t tokens = 0;
};

// About: no tokenizer is here. English has some four bytes a token, other scripts less.
size_t EstimateTokens(std::string_view text);
// What a server that pads counts.
size_t PaddedTokens(const std::vector<PendingText>& batch);

class TextPool {
 public:
  bool empty() const { return by_age_.empty(); }
  size_t size() const { return by_age_.size(); }
  // Of all texts.
  size_t tokens() const { return tokens_; }
  // The order of the text that has waited longest; there is one.
  uint64_t oldest() const { return by_age_.begin()->first; }

  // `order` is unique, and grows with time.
  void Add(uint64_t order, PendingText text);
  // At least one text; not more than `max_texts`, nor so many that texts times the longest exceed
  // `max_tokens`. Shortest first. There is one.
  std::vector<PendingText> Take(size_t max_texts, size_t max_tokens);
  // Forgets the texts of a ticket.
  void Remove(Ticket ticket);

 private:
  // (tokens, order)
  using Length = std::pair<size_t, uint64_t>;

  std::map<uint64_t, PendingText> by_age_;
  std::set<Length> by_length_;
  size_t tokens_ = 0;
};

}  // namespace sluice::compactor

#include "services/compactor/text_pool.h"

#include <algorithm>
#include <iterator>

namespace sluice::compactor {

size_t EstimateTokens(std::string_view text) {
  const auto others = static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0x80) != 0; }));
  // Two more: a model's marks of beginning and end.
  return (text.size() - others) / 4 + others / 2 + 3;
}

size_t PaddedTokens(const std::vector<PendingText>& batch) {
  size_t longest = 0;
  for (const PendingText& text : batch) longest = std::max(longest, text.tokens);
  return longest * batch.size();
}

void TextPool::Add(uint64_t order, PendingText text) {
  tokens_ += text.tokens;
  by_length_.insert({text.tokens, order});
  by_age_.emplace(order, std::move(text));
}

std::vector<PendingText> TextPool::Take(size_t max_texts, size_t max_tokens) {
  const auto& [order, first] = *by_age_.begin();
  const size_t tokens = first.tokens;
  const auto seed = by_length_.find({tokens, order});
  // [from, to) grows towards the nearer neighbour while the batch may have it.
  auto from = seed;
  auto to = std::next(seed);
  size_t count = 1;
  size_t longest = tokens;
  while (count < max_texts) {
    const bool has_shorter = from != by_length_.begin();
    const bool has_longer =
        to != by_length_.end() && (count + 1) * std::max(longest, to->first) <= max_tokens;
    const bool fits_shorter = has_shorter && (count + 1) * longest <= max_tokens;
    if (!fits_shorter && !has_longer) break;
    const bool take_longer =
        has_longer &&
        (!fits_shorter || to->first - tokens <= tokens - std::min(tokens, std::prev(from)->first));
    if (take_longer) {
      longest = to->first;
      ++to;
    } else {
      --from;
    }
    ++count;
  }
  std::vector<PendingText> batch;
  batch.reserve(count);
  for (auto it = from; it != to; ++it) {
    auto node = by_age_.extract(it->second);
    tokens_ -= node.mapped().tokens;
    batch.push_back(std::move(node.mapped()));
  }
  by_length_.erase(from, to);
  return batch;
}

void TextPool::Remove(Ticket ticket) {
  for (auto it = by_age_.begin(); it != by_age_.end();) {
    if (it->second.ticket == ticket) {
      tokens_ -= it->second.tokens;
      by_length_.erase({it->second.tokens, it->first});
      it = by_age_.erase(it);
    } else {
      ++it;
    }
  }
}

}  // namespace sluice::compactor

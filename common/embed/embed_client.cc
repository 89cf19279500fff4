#include "common/embed/embed_client.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

namespace sluice::embed {
namespace {

// The length of the UTF-8 character that begins here; 0 if none does.
size_t CharacterAt(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(at);
  if (lead < 0x80) return lead >= 0x20 && lead != 0x7f ? 1 : 0;
  const size_t size = lead >= 0xf0 && lead < 0xf5   ? 4
                      : lead >= 0xe0 && lead < 0xf0 ? 3
                      : lead >= 0xc2 && lead < 0xe0 ? 2
                                                    : 0;
  if (size == 0 || at + size > text.size()) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, beyond the last code point.
  const uint8_t second = byte(at + 1);
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
      (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) {
    return 0;
  }
  return size;
}

}  // namespace

std::string_view FaultName(Fault fault) {
  switch (fault) {
    case Fault::kOverloaded:
      return "overloaded";
    case Fault::kUnreachable:
      return "unreachable";
    case Fault::kIll:
      return "ill";
    case Fault::kMisfit:
      return "misfit";
    case Fault::kRefused:
      break;
  }
  return "refused";
}

Failure MakeFailure(Fault fault, std::string_view words,
                    std::optional<std::chrono::milliseconds> retry_after) {
  Failure failure{fault, "", retry_after};
  for (size_t at = 0; at < words.size();) {
    const size_t size = CharacterAt(words, at);
    if (failure.words.size() + std::max<size_t>(size, 1) > kMaxWordsBytes) break;
    failure.words += size == 0 ? std::string_view("?") : words.substr(at, size);
    at += std::max<size_t>(size, 1);
  }
  return failure;
}

Answer Checked(const Call& call, Vectors vectors) {
  const auto ill = [](const std::string& words) {
    return Answer{.vectors = {}, .failure = MakeFailure(Fault::kIll, words)};
  };
  if (vectors.size() != call.texts.size()) {
    return ill(absl::StrCat(vectors.size(), " vectors for ", call.texts.size(), " texts"));
  }
  const size_t dimension = call.dimension != 0 ? call.dimension : vectors[0].size();
  for (size_t i = 0; i < vectors.size(); ++i) {
    if (vectors[i].empty() || vectors[i].size() != dimension) {
      return ill(
          absl::StrCat("vector ", i, " has ", vectors[i].size(), " components, not ", dimension));
    }
    if (!std::all_of(vectors[i].begin(), vectors[i].end(),
                     [](float x) { return std::isfinite(x); })) {
      return ill(absl::StrCat("vector ", i, " has a component that is not finite"));
    }
  }
  return {.vectors = std::move(vectors), .failure = std::nullopt};
}

}  // namespace sluice::embed

#include "common/embed/token.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace sluice::embed {

Token::Token(const EmbedderSettings& settings) : file_(settings.token_file) {
  if (settings.token_env.empty()) return;
  if (const char* const value = std::getenv(settings.token_env.c_str())) value_ = value;
}

absl::StatusOr<std::string> Token::Header() const {
  std::string token = value_;
  if (!file_.empty()) {
    std::ifstream file(file_);
    token.assign(std::istreambuf_iterator<char>(file), {});
    if (!file || token.empty()) return absl::UnavailableError("the token's file cannot be read");
  }
  absl::StripAsciiWhitespace(&token);
  const bool is_printable =
      std::all_of(token.begin(), token.end(), [](unsigned char c) { return c > ' ' && c < 0x7f; });
  if (!is_printable) return absl::UnavailableError("the token holds what no header can");
  if (token.empty()) {
    if (file_.empty()) return std::string();
    return absl::UnavailableError("the token's file is empty");
  }
  return absl::StrCat("Bearer ", token);
}

}  // namespace sluice::embed

// A bearer token, taken from where the settings say each time it is sent, so that a rotated one
// needs no restart. Its value is never logged, and part of no error. Thread-safe.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "common/embed/settings.h"

namespace sluice::embed {

class Token {
 public:
  explicit Token(const EmbedderSettings& settings);

  // "Bearer ..." for an authorization header; empty if none is set. An error if the file cannot be
  // read, is empty, or holds what no header can.
  absl::StatusOr<std::string> Header() const;

 private:
  std::string file_;
  std::string value_;
};

}  // namespace sluice::embed

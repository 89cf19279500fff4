// HOST:PORT, as in settings. Thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace sluice::server {

struct Address {
  // As written: an IPv6 address keeps its brackets.
  std::string host;
  uint16_t port;

  std::string ToString() const;
};

absl::StatusOr<Address> ParseAddress(const std::string& text);

// The error of a server that could not listen there, with what the kernel says: "Address already in
// use", ...
absl::Status CannotListen(const Address& address);

}  // namespace sluice::server

// What can be set of one embedding model served elsewhere: protocol, addresses, limits. Declared by
// each service that embeds, as sections named by the operator: <service>.embedders.NAME. A
// collection's schema names one (Embedder.kind).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/server/settings.h"

namespace sluice::embed {

struct EmbedderSettings {
  std::string protocol;
  std::string endpoints;
  bool tls = false;
  std::string ca_file;
  std::string token_file;
  std::string token_env;
  uint64_t deadline_ms = 0;
  uint64_t max_texts = 0;
  uint64_t max_tokens = 0;
  uint64_t max_in_flight = 0;
  bool truncate = true;
  std::string input_tensor;
  std::string output_tensor;
  bool raw_tensors = false;
  bool column_tensors = false;

  void Declare(server::Settings& settings, const std::string& prefix);

  std::vector<std::string> Endpoints() const;
  // What the ranges do not say: no endpoint, a token that would travel in plain text, ...;
  // INVALID_ARGUMENT.
  absl::Status Check() const;
};

}  // namespace sluice::embed

// tei.v1 of text-embeddings-inference. A batch is one EmbedStream: the server answers in order, and
// waits for free places itself where a unary call would be refused as overloaded. An error ends the
// stream; INVALID_ARGUMENT names the first text without an answer. Thread-safe.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/embed/embed_client.h"
#include "common/embed/settings.h"

namespace sluice::embed {

absl::StatusOr<std::unique_ptr<Client>> MakeTeiClient(const std::string& endpoint,
                                                      const EmbedderSettings& settings);

}  // namespace sluice::embed

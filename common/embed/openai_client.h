// The /embeddings call of OpenAI's HTTP API, as OpenAI itself and most servers of models offer it.
// Vectors are asked for in base64 and taken in either form, ordered by their index. Thread-safe.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/embed/embed_client.h"
#include "common/embed/http_poster.h"
#include "common/embed/settings.h"

namespace sluice::embed {

// `base_url`: what "/embeddings" is appended to.
std::unique_ptr<Client> MakeOpenAiClient(const std::string& base_url,
                                         const EmbedderSettings& settings);

// Pure parts, for tests.
std::string OpenAiRequest(const Call& call);
Answer OpenAiAnswer(const Call& call, const HttpReply& reply);

}  // namespace sluice::embed

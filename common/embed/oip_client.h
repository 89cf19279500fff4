// Open Inference Protocol v2 over gRPC (Triton, KServe, MLServer): a batch is one ModelInfer, with
// a BYTES tensor of texts in and a float tensor [n, dimension] out, each typed or raw. Thread-safe.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/embed/embed_client.h"
#include "common/embed/settings.h"

namespace sluice::embed {

// A call's model name must not be empty.
absl::StatusOr<std::unique_ptr<Client>> MakeOipClient(const std::string& endpoint,
                                                      const EmbedderSettings& settings);

}  // namespace sluice::embed

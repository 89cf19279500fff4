// The vector of a query's text, where the collection's embedder is served elsewhere. Thread-safe.
#pragma once

#include <chrono>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "common/embed/embedder.h"
#include "services/frontend/view.h"
#include "sluice/v1/frontend.pb.h"

namespace sluice::frontend {

// Whether the query can only be answered with a vector that EmbedText makes.
bool NeedsEmbedder(const View& view, const v1::QueryRequest& request);

// `done` is called once, within this call or on a thread that must not be blocked.
// UNKNOWN_EMBEDDER, EMBEDDER_UNAVAILABLE, EMBEDDER_MISFIT, TEXT_REFUSED. The embedders outlive it;
// the rest need not.
void EmbedText(const embed::Embedders& embedders, const View& view, const std::string& text,
               std::chrono::milliseconds deadline,
               std::function<void(absl::StatusOr<std::vector<float>>)> done);

}  // namespace sluice::frontend

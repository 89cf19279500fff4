#include "services/frontend/query_text.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"

namespace sluice::frontend {
namespace {

// Where the embedder names no delay of its own.
constexpr std::chrono::milliseconds kRetryAfter{1'000};

absl::Status ErrorOf(const embed::Failure& failure, const std::string& embedder) {
  const std::string message = absl::StrCat("embedder ", embedder, ": ", failure.words);
  switch (failure.fault) {
    case embed::Fault::kMisfit:
      return MakeError(Reason::EMBEDDER_MISFIT, message, {{"embedder", embedder}});
    case embed::Fault::kRefused:
      return MakeError(Reason::TEXT_REFUSED, message, {{"embedder", embedder}});
    case embed::Fault::kOverloaded:
    case embed::Fault::kUnreachable:
    case embed::Fault::kIll:
      break;
  }
  return MakeRetryableError(Reason::EMBEDDER_UNAVAILABLE, message,
                            failure.retry_after.value_or(kRetryAfter), {{"embedder", embedder}});
}

}  // namespace

bool NeedsEmbedder(const View& view, const v1::QueryRequest& request) {
  const std::string& kind = view.embedder().kind();
  return request.has_text() && !kind.empty() && kind != embed::kHashing;
}

void EmbedText(const embed::Embedders& embedders, const View& view, const std::string& text,
               std::chrono::milliseconds deadline,
               std::function<void(absl::StatusOr<std::vector<float>>)> done) {
  const std::string& name = view.embedder().kind();
  embed::Embedder* const embedder = embedders.Find(name);
  if (embedder == nullptr) {
    return done(MakeError(Reason::UNKNOWN_EMBEDDER,
                          absl::StrCat("this frontend has no embedder '", name, "'"),
                          {{"embedder", name}}));
  }
  embedder->Embed({.model = view.embedder().model(),
                   .dimension = view.dimension(),
                   .texts = {absl::StrCat(view.embedder().query_prefix(), text)},
                   .deadline = deadline},
                  [name, done = std::move(done)](embed::Answer answer) {
                    if (answer.failure) return done(ErrorOf(*answer.failure, name));
                    done(std::move(answer.vectors[0]));
                  });
}

}  // namespace sluice::frontend

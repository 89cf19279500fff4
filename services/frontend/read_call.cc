#include "services/frontend/read_call.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "common/errors/errors.h"
#include "services/frontend/query_text.h"
#include "services/frontend/resolve.h"

namespace sluice::frontend {

ReadCall::ReadCall(const char* name, Backend& backend, const Exchange& exchange)
    : Call(name, Kind::kRead, backend, exchange) {
  ++backend.pending_reads;
}

ReadCall::~ReadCall() { --backend().pending_reads; }

void ReadCall::Run() {
  if (backend().pending_reads > backend().options.max_pending_reads) {
    return Fail(MakeRetryableError(Reason::OVERLOADED, "too many reads are pending",
                                   std::chrono::milliseconds(100)));
  }
  if (absl::Status prepared = Prepare(*exchange().request); !prepared.ok()) return Fail(prepared);
  Resolve(backend(), *exchange().context, collection(), [this](absl::StatusOr<CollectionId> id) {
    if (!id.ok()) return Fail(id.status());
    backend().views.Take({.collection = *id,
                          .level = level(),
                          .deadline = backend().DeadlineOf(*exchange().context),
                          .given_up = given_up()},
                         [this](absl::StatusOr<ViewCache::ViewPtr> view) {
                           if (!view.ok()) return Fail(view.status());
                           if (given_up().stop_requested()) {
                             return Fail(absl::CancelledError("the caller gave up"));
                           }
                           AnswerFrom(*std::move(view));
                         });
  });
}

template <>
void ReadCallOf<v1::QueryRequest>::AnswerFrom(ViewCache::ViewPtr view) {
  if (!NeedsEmbedder(*view, request_)) {
    return Answer(frontend::Answer(*view, request_, &backend().executor));
  }
  const auto since = std::chrono::steady_clock::now();
  const auto left =
      std::max(std::chrono::milliseconds(1),
               std::chrono::ceil<std::chrono::milliseconds>(
                   backend().DeadlineOf(*exchange().context) - std::chrono::system_clock::now()));
  EmbedText(backend().embedders, *view, request_.text(), left,
            [this, view, since](absl::StatusOr<std::vector<float>> vector) {
              backend().metrics.embed_seconds.Observe(
                  std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count());
              if (!vector.ok()) return Fail(vector.status());
              backend().executor.Post([this, view, vector = *std::move(vector)] {
                Answer(frontend::Answer(*view, request_, vector, &backend().executor));
              });
            });
}

}  // namespace sluice::frontend

#include "services/frontend/read_call.h"

#include <memory>
#include <utility>

#include "common/errors/errors.h"
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
                           AnswerFrom(**view);
                         });
  });
}

}  // namespace sluice::frontend

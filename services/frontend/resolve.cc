#include "services/frontend/resolve.h"

#include <memory>
#include <utility>

#include "common/record/fields.h"
#include "services/frontend/call.h"

namespace sluice::frontend {
namespace {

struct Lookup {
  std::unique_ptr<grpc::ClientContext> context;
  v1::GetCollectionRequest request;
  v1::GetCollectionResponse response;
  absl::AnyInvocable<void(absl::StatusOr<CollectionId>)> done;
};

}  // namespace

void Resolve(Backend& backend, const grpc::CallbackServerContext& caller, v1::CollectionRef ref,
             absl::AnyInvocable<void(absl::StatusOr<CollectionId>)> done) {
  if (!ref.id().empty()) return done(ParseCollectionId(ref.id()));
  if (ref.name().empty()) {
    return done(InvalidField(Place{}, "collection", "neither id nor name is set"));
  }
  auto lookup = std::make_shared<Lookup>();
  lookup->context = backend.ContextFor(caller);
  *lookup->request.mutable_collection() = std::move(ref);
  lookup->done = std::move(done);
  backend.catalog->async()->GetCollection(
      lookup->context.get(), &lookup->request, &lookup->response, [lookup](grpc::Status status) {
        if (!status.ok()) return lookup->done(ErrorOfLog(status, *lookup->context));
        lookup->done(ParseCollectionId(lookup->response.collection().id()));
      });
}

}  // namespace sluice::frontend

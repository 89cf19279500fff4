// Which collection a caller means. By id, nothing is asked; by name, the log is, each time, so that
// a name that was given to another collection is never mistaken.
#pragma once

#include <grpcpp/server_context.h>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "services/frontend/backend.h"
#include "sluice/v1/collection.pb.h"

namespace sluice::frontend {

// Calls `done` once: at once, or on a thread of gRPC's.
void Resolve(Backend& backend, const grpc::CallbackServerContext& caller, v1::CollectionRef ref,
             absl::AnyInvocable<void(absl::StatusOr<CollectionId>)> done);

}  // namespace sluice::frontend

// One unary call with its retries. It runs on gRPC's threads and timers and occupies no thread
// while it waits. Owns itself until `done` was called, which happens exactly once.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <functional>

#include "absl/status/status.h"
#include "common/client/options.h"

namespace sluice::client {

// Whether a failed call may have changed something: only then does its error state an outcome.
enum class Effect { kRead, kWrite };

// Sends the request once; the context and what the attempt itself holds live until it has answered.
using Attempt =
    std::function<void(grpc::ClientContext* context, std::function<void(grpc::Status)> answered)>;

void CallWithRetries(const Options& options, Effect effect, Attempt attempt,
                     std::function<void(absl::Status)> done);

}  // namespace sluice::client

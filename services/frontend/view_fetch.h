// One ReadView call at the log. Blocks no thread; one attempt (the caller of the frontend retries).
#pragma once

#include <chrono>
#include <stop_token>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "services/frontend/byte_budget.h"
#include "services/frontend/view.h"
#include "sluice/v1/log.grpc.pb.h"

namespace sluice::frontend {

struct FetchedView {
  ViewDelta delta;
  // What the records take, for as long as this lives.
  ByteBudget::Share share;
};

struct FetchOptions {
  std::chrono::system_clock::time_point deadline;
  // Ends the call early, with CANCELLED.
  std::stop_token cancel;
  // Takes the header and leaves the records.
  bool header_only = false;
};

// Calls `done` once, on a thread of gRPC's. Errors are the log's; and BACKLOG if the records alone
// exceed `budget`, OVERLOADED if they do together with others, LOG_CORRUPT if they have a gap.
// `stub` and `budget` must outlive the call.
void FetchView(v1::LogService::Stub* stub, const v1::ReadViewRequest& request,
               const FetchOptions& options, ByteBudget& budget,
               absl::AnyInvocable<void(absl::StatusOr<FetchedView>)> done);

}  // namespace sluice::frontend

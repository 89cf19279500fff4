// Ways to answer a unary call without holding a thread of gRPC's. The reactor is the context's own;
// `request` and `response` live until it has finished.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "common/errors/errors.h"
#include "services/log/command.h"
#include "services/log/service_core.h"
#include "services/log/worker_pool.h"

namespace sluice::log {

// Finishes with the status that `work` returns, run on the pool.
template <class Work>
grpc::ServerUnaryReactor* OnPool(WorkerPool& pool, grpc::CallbackServerContext* context,
                                 Work work) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const absl::Status accepted = pool.TryRun([context, reactor, work = std::move(work)]() mutable {
    reactor->Finish(ToGrpc(work(), context));
  });
  if (!accepted.ok()) {
    reactor->Finish(ToGrpc(WithOutcome(accepted, Outcome::kNotIn), context));
  }
  return reactor;
}

inline grpc::ServerUnaryReactor* FinishWith(grpc::CallbackServerContext* context,
                                            const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status, context));
  return reactor;
}
// Nothing was proposed.
inline grpc::ServerUnaryReactor* Refuse(grpc::CallbackServerContext* context,
                                        const absl::Status& error) {
  return FinishWith(context, WithOutcome(error, Outcome::kNotIn));
}

// Proposes a command, and finishes once it was applied: `fill(answer)` fills the response.
template <class AnswerType, class Fill>
grpc::ServerUnaryReactor* ProposeAndFinish(Shard& shard, grpc::CallbackServerContext* context,
                                           const pb::Command& command, Fill fill) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  shard.Propose(Command(command),
                [context, reactor, fill = std::move(fill)](Result result) mutable {
                  if (!result.ok()) return reactor->Finish(ToGrpc(result.status(), context));
                  fill(std::get<AnswerType>(*result));
                  reactor->Finish(grpc::Status::OK);
                });
  return reactor;
}

}  // namespace sluice::log

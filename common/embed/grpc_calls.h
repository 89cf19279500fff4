// What the clients of gRPC protocols have in common: channels, calls that run, errors. Thread-safe.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "common/base/mutex.h"
#include "common/embed/embed_client.h"
#include "common/embed/settings.h"
#include "common/embed/token.h"

namespace sluice::embed {

// Connects lazily; over TLS if the settings say so.
absl::StatusOr<std::shared_ptr<grpc::Channel>> ConnectTo(const std::string& endpoint,
                                                         const EmbedderSettings& settings);

// The class of an error, with the server's words. `context`: of the call.
Failure FailureOf(const grpc::Status& status, const grpc::ClientContext& context);

// Sets deadline and token; a failure if there is no token where there should be one.
std::optional<Failure> Prepare(std::chrono::milliseconds deadline, const Token& token,
                               grpc::ClientContext* context);

// The calls of one client. CancelAndWait before anything that they use goes.
class RunningCalls {
 public:
  ~RunningCalls() { CancelAndWait(); }

  // False: the client is going away, and no call may begin.
  bool Begin(grpc::ClientContext* context) EXCLUDES(mutex_);
  // The context is about to go.
  void Forget(grpc::ClientContext* context) EXCLUDES(mutex_);
  // Context and reactor are gone: the last thing that a call does.
  void End() EXCLUDES(mutex_);
  void CancelAndWait() EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  CondVar ended_;
  bool closed_ GUARDED_BY(mutex_) = false;
  size_t running_ GUARDED_BY(mutex_) = 0;
  std::set<grpc::ClientContext*> contexts_ GUARDED_BY(mutex_);
};

}  // namespace sluice::embed

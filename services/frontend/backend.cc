#include "services/frontend/backend.h"

#include <algorithm>

namespace sluice::frontend {

std::unique_ptr<grpc::ClientContext> Backend::ContextFor(
    const grpc::CallbackServerContext& caller) const {
  auto context = grpc::ClientContext::FromCallbackServerContext(caller);
  context->set_deadline(DeadlineOf(caller));
  for (const char* key : {"traceparent", "tracestate"}) {
    const auto value = caller.client_metadata().find(key);
    if (value != caller.client_metadata().end()) {
      context->AddMetadata(key, std::string(value->second.data(), value->second.size()));
    }
  }
  return context;
}

std::chrono::system_clock::time_point Backend::DeadlineOf(
    const grpc::CallbackServerContext& caller) const {
  return std::min(caller.deadline(), std::chrono::system_clock::now() + options.timeout);
}

}  // namespace sluice::frontend

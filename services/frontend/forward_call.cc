#include "services/frontend/forward_call.h"

namespace sluice::frontend {

void ForwardCall::Run() {
  context_ = backend().ContextFor(*exchange().context);
  MarkSent();
  backend().bytes_through.UnaryCall(context_.get(), path_, {}, exchange().request, &response_,
                                    [this](grpc::Status status) {
                                      if (!status.ok()) return Fail(ErrorOfLog(status, *context_));
                                      Succeed(response_);
                                    });
}

}  // namespace sluice::frontend

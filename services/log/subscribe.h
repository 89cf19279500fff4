// Subscribe: one stream from the backlog into what comes. Between two messages it keeps a SeqId and
// nothing else: each message is read from a snapshot of its own, so that the step from what is
// stored to what comes needs no special care, and a slow consumer holds nothing in place.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "services/log/service_core.h"

namespace sluice::log {

grpc::ServerWriteReactor<grpc::ByteBuffer>* ServeSubscribe(const CoreGate& gate,
                                                           grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer& request);

}  // namespace sluice::log

// ReadView: one header and the records after it, all from one snapshot, after a wait for `applied`
// if the caller asked for one.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "services/log/service_core.h"

namespace sluice::log {

grpc::ServerWriteReactor<grpc::ByteBuffer>* ServeReadView(const CoreGate& gate,
                                                          grpc::CallbackServerContext* context,
                                                          const grpc::ByteBuffer& request);

}  // namespace sluice::log

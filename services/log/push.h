// PushLogs: from the request's bytes to a command. The records are scanned where gRPC put them, and
// go from there to the journal and the store without a copy (one, if gRPC received them in several
// pieces); no thread waits for the journal.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "services/log/service_core.h"

namespace sluice::log {

grpc::ServerUnaryReactor* ServePush(const CoreGate& gate, LogMetrics& metrics,
                                    grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer& request, grpc::ByteBuffer* response);

}  // namespace sluice::log

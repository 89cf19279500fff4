// PushLogs: from the request's bytes to a command. The records are scanned where gRPC put them, and
// go from there to the journal and the store without a copy (one, if gRPC received them in several
// pieces); no thread waits for the journal.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "services/log/service_core.h"
#include "sluice/v1/log.pb.h"

namespace sluice::log {

// Whether gRPC's pieces of a request stay in place until the push was answered.
enum class Pieces { kStay, kGo };

// The road of every push, also of those on a stream: checks, proposes, counts. What is accepted is
// proposed before this returns. `answered` is called once: with an error that states an outcome
// perhaps before this returns, else as Shard::Propose does it.
void ProposePush(const CoreGate& gate, LogMetrics& metrics, const grpc::ByteBuffer& request,
                 Pieces pieces,
                 absl::AnyInvocable<void(absl::StatusOr<v1::PushLogsResponse>)> answered);

grpc::ServerUnaryReactor* ServePush(const CoreGate& gate, LogMetrics& metrics,
                                    grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer& request, grpc::ByteBuffer* response);

}  // namespace sluice::log

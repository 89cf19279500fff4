// PushStream: pushes one after the other on one stream. Each goes the road of PushLogs (push.h): it
// is checked and proposed before the next one is read, so that they come to the shard in the order
// in which they came here; their answers leave in that order. Nothing outlives the stream.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "services/log/service_core.h"

namespace sluice::log {

// While so many requests of a stream, or bytes of them, are not answered, it reads no more. As many
// as a group of the journal may well have; and a quarter of what a collection may have in flight by
// default, so that a few streams are slowed down before any is refused.
inline constexpr size_t kMaxUnansweredPushes = 1024;
inline constexpr size_t kMaxUnansweredPushBytes = 4 << 20;
// As many while the messages of all streams hold too much (Streams::MayWorkAhead).
inline constexpr size_t kMaxUnansweredPushesWhenShort = 16;

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ServePushStream(
    const CoreGate& gate, LogMetrics& metrics, grpc::CallbackServerContext* context);

}  // namespace sluice::log

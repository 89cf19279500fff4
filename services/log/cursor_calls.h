// The calls of LogService about cursors. Each finishes through the context's reactor; `request` and
// `response` live until then. Thread-safe.
#pragma once

#include <grpcpp/support/server_callback.h>

#include "services/log/service_core.h"
#include "sluice/v1/cursor.pb.h"

namespace sluice::log {

grpc::ServerUnaryReactor* ServeCommitCursor(const CoreGate& gate,
                                            grpc::CallbackServerContext* context,
                                            const v1::CommitCursorRequest& request,
                                            v1::CommitCursorResponse* response);
grpc::ServerUnaryReactor* ServeRollbackCursor(const CoreGate& gate,
                                              grpc::CallbackServerContext* context,
                                              const v1::RollbackCursorRequest& request,
                                              v1::RollbackCursorResponse* response);
grpc::ServerUnaryReactor* ServeDeleteCursor(const CoreGate& gate,
                                            grpc::CallbackServerContext* context,
                                            const v1::DeleteCursorRequest& request);
grpc::ServerUnaryReactor* ServeGetCursor(const CoreGate& gate, grpc::CallbackServerContext* context,
                                         const v1::GetCursorRequest& request,
                                         v1::GetCursorResponse* response);
grpc::ServerUnaryReactor* ServeListCursors(const CoreGate& gate,
                                           grpc::CallbackServerContext* context,
                                           const v1::ListCursorsRequest& request,
                                           v1::ListCursorsResponse* response);

}  // namespace sluice::log

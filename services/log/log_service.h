// LogService, as gRPC calls it: pushes, reads and views, each answered without holding a thread of
// gRPC's. Thread-safe.
#pragma once

#include "services/log/service_core.h"
#include "sluice/v1/log.grpc.pb.h"

namespace sluice::log {

using CursorServiceBase = v1::LogService::WithCallbackMethod_CommitCursor<
    v1::LogService::WithCallbackMethod_RollbackCursor<
        v1::LogService::WithCallbackMethod_GetCursor<v1::LogService::WithCallbackMethod_ListCursors<
            v1::LogService::WithCallbackMethod_DeleteCursor<v1::LogService::Service>>>>>;
// The methods that carry records work on bytes, the others on messages.
using LogServiceBase = v1::LogService::WithRawCallbackMethod_PushLogs<
    v1::LogService::WithRawCallbackMethod_PushStream<v1::LogService::WithRawCallbackMethod_PullLogs<
        v1::LogService::WithRawCallbackMethod_Subscribe<
            v1::LogService::WithRawCallbackMethod_ReadView<
                v1::LogService::WithCallbackMethod_DescribeLog<
                    v1::LogService::WithCallbackMethod_TrimLog<CursorServiceBase>>>>>>>;

class LogService final : public LogServiceBase {
 public:
  // Both must outlive the gRPC server.
  LogService(const CoreGate& gate, LogMetrics& metrics) : gate_(gate), metrics_(metrics) {}

  grpc::ServerUnaryReactor* PushLogs(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* PushStream(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* PullLogs(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Subscribe(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* DescribeLog(grpc::CallbackServerContext* context,
                                        const v1::DescribeLogRequest* request,
                                        v1::DescribeLogResponse* response) override;
  grpc::ServerUnaryReactor* TrimLog(grpc::CallbackServerContext* context,
                                    const v1::TrimLogRequest* request,
                                    v1::TrimLogResponse* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* ReadView(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* CommitCursor(grpc::CallbackServerContext* context,
                                         const v1::CommitCursorRequest* request,
                                         v1::CommitCursorResponse* response) override;
  grpc::ServerUnaryReactor* RollbackCursor(grpc::CallbackServerContext* context,
                                           const v1::RollbackCursorRequest* request,
                                           v1::RollbackCursorResponse* response) override;
  grpc::ServerUnaryReactor* GetCursor(grpc::CallbackServerContext* context,
                                      const v1::GetCursorRequest* request,
                                      v1::GetCursorResponse* response) override;
  grpc::ServerUnaryReactor* ListCursors(grpc::CallbackServerContext* context,
                                        const v1::ListCursorsRequest* request,
                                        v1::ListCursorsResponse* response) override;
  grpc::ServerUnaryReactor* DeleteCursor(grpc::CallbackServerContext* context,
                                         const v1::DeleteCursorRequest* request,
                                         v1::DeleteCursorResponse* response) override;

 private:
  const CoreGate& gate_;
  LogMetrics& metrics_;
};

}  // namespace sluice::log

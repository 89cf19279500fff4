// LogService, as gRPC calls it: pushes, reads and views, each answered without holding a thread of
// gRPC's. Thread-safe.
#pragma once

#include "services/log/service_core.h"
#include "sluice/v1/log.grpc.pb.h"

namespace sluice::log {

// The methods that carry records work on bytes, the others on messages.
using LogServiceBase = v1::LogService::WithRawCallbackMethod_PushLogs<
    v1::LogService::WithRawCallbackMethod_PullLogs<v1::LogService::WithRawCallbackMethod_Subscribe<
        v1::LogService::WithRawCallbackMethod_ReadView<
            v1::LogService::WithCallbackMethod_DescribeLog<
                v1::LogService::WithCallbackMethod_TrimLog<v1::LogService::Service>>>>>>;

class LogService final : public LogServiceBase {
 public:
  // Both must outlive the gRPC server.
  LogService(const CoreGate& gate, LogMetrics& metrics) : gate_(gate), metrics_(metrics) {}

  grpc::ServerUnaryReactor* PushLogs(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
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

 private:
  const CoreGate& gate_;
  LogMetrics& metrics_;
};

}  // namespace sluice::log

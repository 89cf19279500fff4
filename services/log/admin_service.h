// AdminService: operators' calls on a running log. Thread-safe.
#pragma once

#include <grpcpp/support/server_callback.h>

#include "services/log/service_core.h"
#include "sluice/v1/admin.grpc.pb.h"

namespace sluice::log {

class AdminService final : public v1::AdminService::CallbackService {
 public:
  // Must outlive the gRPC server.
  explicit AdminService(const CoreGate& gate) : gate_(gate) {}

  grpc::ServerUnaryReactor* ReadClock(grpc::CallbackServerContext* context,
                                      const v1::ReadClockRequest* request,
                                      v1::ClockReading* response) override;
  grpc::ServerUnaryReactor* CorrectClock(grpc::CallbackServerContext* context,
                                         const v1::CorrectClockRequest* request,
                                         v1::ClockReading* response) override;
  grpc::ServerWriteReactor<v1::CreateBackupProgress>* CreateBackup(
      grpc::CallbackServerContext* context, const v1::CreateBackupRequest* request) override;
  grpc::ServerUnaryReactor* ListBackups(grpc::CallbackServerContext* context,
                                        const v1::ListBackupsRequest* request,
                                        v1::ListBackupsResponse* response) override;
  grpc::ServerUnaryReactor* VerifyBackup(grpc::CallbackServerContext* context,
                                         const v1::VerifyBackupRequest* request,
                                         v1::VerifyBackupResponse* response) override;
  grpc::ServerUnaryReactor* DeleteBackup(grpc::CallbackServerContext* context,
                                         const v1::DeleteBackupRequest* request,
                                         v1::DeleteBackupResponse* response) override;
  grpc::ServerWriteReactor<v1::VerifyProgress>* Verify(grpc::CallbackServerContext* context,
                                                       const v1::VerifyRequest* request) override;

 private:
  const CoreGate& gate_;
};

}  // namespace sluice::log

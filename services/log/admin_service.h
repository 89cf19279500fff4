// AdminService: operators' calls on a running log. Thread-safe.
#pragma once

#include <grpcpp/support/server_callback.h>

#include "services/log/service_core.h"
#include "sluice/v1/admin.grpc.pb.h"

namespace sluice::log {

class AdminService final : public v1::AdminService::CallbackService {
 public:
  explicit AdminService(CoreGate& gate) : gate_(gate) {}

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

 private:
  CoreGate& gate_;
};

}  // namespace sluice::log

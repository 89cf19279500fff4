// AdminService, as gRPC calls it. Thread-safe.
#pragma once

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

 private:
  const CoreGate& gate_;
};

}  // namespace sluice::log

// What a server is and what it accepts. Thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "sluice/v1/info.grpc.pb.h"

namespace sluice::server {

class InfoService : public v1::InfoService::CallbackService {
 public:
  explicit InfoService(std::string_view program) : program_(program) {}
  grpc::ServerUnaryReactor* GetInfo(grpc::CallbackServerContext* context,
                                    const v1::GetInfoRequest* request,
                                    v1::GetInfoResponse* response) override;

 private:
  const std::string program_;
};

}  // namespace sluice::server

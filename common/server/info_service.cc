#include "common/server/info_service.h"

#include "common/record/limits.h"
#include "common/server/server.h"

namespace sluice::server {

grpc::ServerUnaryReactor* InfoService::GetInfo(grpc::CallbackServerContext* context,
                                               const v1::GetInfoRequest*,
                                               v1::GetInfoResponse* response) {
  response->set_server(program_);
  response->set_version(std::string(Version()));
  for (const LimitInfo& known : kLimits) {
    v1::Limit* limit = response->add_limits();
    limit->set_name(std::string(known.name));
    limit->set_max(known.max);
    limit->set_help(std::string(known.help));
  }
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

}  // namespace sluice::server

#include "tools/bench/query_echo.h"

#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <fstream>

#include "sluice/v1/frontend.grpc.pb.h"
#include "tools/bench/ceilings.h"

namespace sluice::bench {
namespace {

class QueryEcho final : public v1::FrontendService::CallbackService {
 public:
  explicit QueryEcho(v1::QueryResponse response) : response_(std::move(response)) {}

  grpc::ServerUnaryReactor* Query(grpc::CallbackServerContext* context, const v1::QueryRequest*,
                                  v1::QueryResponse* response) override {
    *response = response_;
    auto* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

 private:
  const v1::QueryResponse response_;
};

}  // namespace

int ServeQueryEcho(const std::string& response_file) {
  v1::QueryResponse response;
  std::ifstream in(response_file, std::ios::binary);
  if (!response.ParseFromIstream(&in)) {
    std::fprintf(stderr, "%s holds no response\n", response_file.c_str());
    return 1;
  }
  QueryEcho service(std::move(response));
  return ServeCeiling(service);
}

}  // namespace sluice::bench

// A unary call passed to the log as it came, and its answer passed back: CatalogService.
#pragma once

#include <memory>
#include <string>

#include "services/frontend/backend.h"
#include "services/frontend/call.h"

namespace sluice::frontend {

class ForwardCall final : public Call {
 public:
  // `path`: of the method at the log, "/sluice.v1.CatalogService/GetCollection".
  ForwardCall(const char* name, Kind kind, std::string path, Backend& backend,
              const Exchange& exchange)
      : Call(name, kind, backend, exchange), path_(std::move(path)) {}

 private:
  void Run() override;

  const std::string path_;
  std::unique_ptr<grpc::ClientContext> context_;
  grpc::ByteBuffer response_;
};

}  // namespace sluice::frontend

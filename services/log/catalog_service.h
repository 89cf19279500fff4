// CatalogService: checks what it is given, fills in the defaults, and takes each change through the
// catalog and then to the log (settle.h). Thread-safe.
#pragma once

#include "services/log/service_core.h"
#include "sluice/v1/catalog.grpc.pb.h"

namespace sluice::log {

class CatalogService final : public v1::CatalogService::CallbackService {
 public:
  // Must outlive the gRPC server.
  explicit CatalogService(const CoreGate& gate) : gate_(gate) {}

  grpc::ServerUnaryReactor* CreateCollection(grpc::CallbackServerContext* context,
                                             const v1::CreateCollectionRequest* request,
                                             v1::CreateCollectionResponse* response) override;
  grpc::ServerUnaryReactor* GetCollection(grpc::CallbackServerContext* context,
                                          const v1::GetCollectionRequest* request,
                                          v1::GetCollectionResponse* response) override;
  grpc::ServerUnaryReactor* ListCollections(grpc::CallbackServerContext* context,
                                            const v1::ListCollectionsRequest* request,
                                            v1::ListCollectionsResponse* response) override;
  grpc::ServerUnaryReactor* UpdateCollection(grpc::CallbackServerContext* context,
                                             const v1::UpdateCollectionRequest* request,
                                             v1::UpdateCollectionResponse* response) override;
  grpc::ServerUnaryReactor* DeleteCollection(grpc::CallbackServerContext* context,
                                             const v1::DeleteCollectionRequest* request,
                                             v1::DeleteCollectionResponse* response) override;

 private:
  const CoreGate& gate_;
};

}  // namespace sluice::log

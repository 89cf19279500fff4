// FrontendService and CatalogService over gRPC's callback API, with requests taken in wire form:
// writes pass their records on unparsed, catalog calls pass whole, and a request that cannot be
// parsed gets an error that says so. Both are registered before there is a backend, and answer
// UNAVAILABLE until then. Thread-safe; the backend must outlive the calls.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>

#include <atomic>

#include "services/frontend/backend.h"
#include "sluice/v1/catalog.grpc.pb.h"
#include "sluice/v1/frontend.grpc.pb.h"

namespace sluice::frontend {

using RawFrontendService = v1::FrontendService::WithRawCallbackMethod_Add<
    v1::FrontendService::WithRawCallbackMethod_Update<
        v1::FrontendService::WithRawCallbackMethod_Upsert<
            v1::FrontendService::WithRawCallbackMethod_Delete<
                v1::FrontendService::WithRawCallbackMethod_Get<
                    v1::FrontendService::WithRawCallbackMethod_Count<
                        v1::FrontendService::WithRawCallbackMethod_Query<
                            v1::FrontendService::Service>>>>>>>;

class FrontendService final : public RawFrontendService {
 public:
  void Serve(Backend* backend) { backend_ = backend; }

 private:
  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* Add(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* Update(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* Upsert(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* Delete(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* Get(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* Count(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* Query(Context* context, const Bytes* request, Bytes* response) override;

  std::atomic<Backend*> backend_ = nullptr;
};

using RawCatalogService = v1::CatalogService::WithRawCallbackMethod_CreateCollection<
    v1::CatalogService::WithRawCallbackMethod_GetCollection<
        v1::CatalogService::WithRawCallbackMethod_ListCollections<
            v1::CatalogService::WithRawCallbackMethod_UpdateCollection<
                v1::CatalogService::WithRawCallbackMethod_DeleteCollection<
                    v1::CatalogService::Service>>>>>;

// Everything passed through to the log's.
class CatalogService final : public RawCatalogService {
 public:
  void Serve(Backend* backend) { backend_ = backend; }

 private:
  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* CreateCollection(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* GetCollection(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* ListCollections(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* UpdateCollection(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* DeleteCollection(Context* context, const Bytes* request, Bytes* response) override;

  std::atomic<Backend*> backend_ = nullptr;
};

}  // namespace sluice::frontend

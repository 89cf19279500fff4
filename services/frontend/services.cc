#include "services/frontend/services.h"

#include <string>
#include <utility>

#include "common/errors/errors.h"
#include "services/frontend/forward_call.h"
#include "services/frontend/read_call.h"
#include "services/frontend/write_call.h"

namespace sluice::frontend {
namespace {

// `begin` makes and begins the call, if there is a backend.
template <class Begin>
grpc::ServerUnaryReactor* IfServing(Backend* backend, grpc::CallbackServerContext* context,
                                    Begin begin) {
  if (backend) return begin(*backend);
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(
      WithOutcome(absl::UnavailableError("the frontend is starting"), Outcome::kNotIn), context));
  return reactor;
}

grpc::ServerUnaryReactor* Write(const char* name, v1::Operation operation, Backend* backend,
                                const Call::Exchange& exchange) {
  return IfServing(backend, exchange.context, [&](Backend& serving) {
    return (new WriteCall(name, operation, serving, exchange))->Begin();
  });
}

template <class Request>
grpc::ServerUnaryReactor* Read(const char* name, Backend* backend, const Call::Exchange& exchange) {
  return IfServing(backend, exchange.context, [&](Backend& serving) {
    return (new ReadCallOf<Request>(name, serving, exchange))->Begin();
  });
}

grpc::ServerUnaryReactor* Forward(const char* name, Call::Kind kind, Backend* backend,
                                  const Call::Exchange& exchange) {
  return IfServing(backend, exchange.context, [&](Backend& serving) {
    return (new ForwardCall(name, kind, std::string("/sluice.v1.CatalogService/") + name, serving,
                            exchange))
        ->Begin();
  });
}

}  // namespace

using Reactor = grpc::ServerUnaryReactor;
using Context = grpc::CallbackServerContext;
using Bytes = grpc::ByteBuffer;

Reactor* FrontendService::Add(Context* context, const Bytes* request, Bytes* response) {
  return Write("Add", v1::OPERATION_ADD, backend_, {context, request, response});
}
Reactor* FrontendService::Update(Context* context, const Bytes* request, Bytes* response) {
  return Write("Update", v1::OPERATION_UPDATE, backend_, {context, request, response});
}
Reactor* FrontendService::Upsert(Context* context, const Bytes* request, Bytes* response) {
  return Write("Upsert", v1::OPERATION_UPSERT, backend_, {context, request, response});
}
Reactor* FrontendService::Delete(Context* context, const Bytes* request, Bytes* response) {
  return Write("Delete", v1::OPERATION_DELETE, backend_, {context, request, response});
}
Reactor* FrontendService::Get(Context* context, const Bytes* request, Bytes* response) {
  return Read<v1::GetRequest>("Get", backend_, {context, request, response});
}
Reactor* FrontendService::Count(Context* context, const Bytes* request, Bytes* response) {
  return Read<v1::CountRequest>("Count", backend_, {context, request, response});
}
Reactor* FrontendService::Query(Context* context, const Bytes* request, Bytes* response) {
  return Read<v1::QueryRequest>("Query", backend_, {context, request, response});
}

Reactor* CatalogService::CreateCollection(Context* context, const Bytes* request, Bytes* response) {
  return Forward("CreateCollection", Call::Kind::kWrite, backend_, {context, request, response});
}
Reactor* CatalogService::GetCollection(Context* context, const Bytes* request, Bytes* response) {
  return Forward("GetCollection", Call::Kind::kRead, backend_, {context, request, response});
}
Reactor* CatalogService::ListCollections(Context* context, const Bytes* request, Bytes* response) {
  return Forward("ListCollections", Call::Kind::kRead, backend_, {context, request, response});
}
Reactor* CatalogService::UpdateCollection(Context* context, const Bytes* request, Bytes* response) {
  return Forward("UpdateCollection", Call::Kind::kWrite, backend_, {context, request, response});
}
Reactor* CatalogService::DeleteCollection(Context* context, const Bytes* request, Bytes* response) {
  return Forward("DeleteCollection", Call::Kind::kWrite, backend_, {context, request, response});
}

}  // namespace sluice::frontend

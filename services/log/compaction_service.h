// CompactionService: leases, commits and garbage, as gRPC calls them. Thread-safe.
#pragma once

#include "services/log/service_core.h"
#include "sluice/v1/compaction.grpc.pb.h"

namespace sluice::log {

class CompactionService final : public v1::CompactionService::CallbackService {
 public:
  // Must outlive the gRPC server.
  explicit CompactionService(const CoreGate& gate) : gate_(gate) {}

  grpc::ServerUnaryReactor* Claim(grpc::CallbackServerContext* context,
                                  const v1::ClaimRequest* request,
                                  v1::ClaimResponse* response) override;
  grpc::ServerUnaryReactor* Renew(grpc::CallbackServerContext* context,
                                  const v1::RenewRequest* request,
                                  v1::RenewResponse* response) override;
  grpc::ServerUnaryReactor* Commit(grpc::CallbackServerContext* context,
                                   const v1::CommitRequest* request,
                                   v1::CommitResponse* response) override;
  grpc::ServerUnaryReactor* Release(grpc::CallbackServerContext* context,
                                    const v1::ReleaseRequest* request,
                                    v1::ReleaseResponse* response) override;
  grpc::ServerUnaryReactor* ListGarbage(grpc::CallbackServerContext* context,
                                        const v1::ListGarbageRequest* request,
                                        v1::ListGarbageResponse* response) override;
  grpc::ServerUnaryReactor* CollectGarbage(grpc::CallbackServerContext* context,
                                           const v1::CollectGarbageRequest* request,
                                           v1::CollectGarbageResponse* response) override;
  grpc::ServerUnaryReactor* ListMissingVectors(grpc::CallbackServerContext* context,
                                               const v1::ListMissingVectorsRequest* request,
                                               v1::ListMissingVectorsResponse* response) override;
  grpc::ServerUnaryReactor* RetryMissingVectors(grpc::CallbackServerContext* context,
                                                const v1::RetryMissingVectorsRequest* request,
                                                v1::RetryMissingVectorsResponse* response) override;
  grpc::ServerUnaryReactor* DropMissingVectors(grpc::CallbackServerContext* context,
                                               const v1::DropMissingVectorsRequest* request,
                                               v1::DropMissingVectorsResponse* response) override;

 private:
  const CoreGate& gate_;
};

}  // namespace sluice::log

#include "services/log/compaction_service.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "services/log/claim_desk.h"
#include "services/log/reader.h"
#include "services/log/request_checks.h"
#include "services/log/unary.h"

namespace sluice::log {
namespace {

constexpr size_t kMaxWorkerBytes = 128;
constexpr uint32_t kMinLeaseMs = 1'000;
constexpr uint32_t kMaxLeaseMs = 600'000;
constexpr uint32_t kDefaultLeaseMs = 30'000;
constexpr uint32_t kMaxWaitMs = 60'000;
constexpr uint32_t kMaxRetryAfterMs = 3'600'000;
constexpr size_t kMaxReleaseMessageBytes = 1'024;
constexpr uint32_t kDefaultGarbage = 100;
constexpr uint32_t kMaxGarbage = 1'000;
constexpr uint32_t kDefaultMissing = 100;
constexpr uint32_t kMaxMissing = 1'000;

bool IsKind(int kind) { return kind == v1::LEASE_KIND_COMPACTION || kind == v1::LEASE_KIND_MERGE; }

absl::Status CheckLeaseMs(uint32_t lease_ms) {
  if (lease_ms != 0 && (lease_ms < kMinLeaseMs || lease_ms > kMaxLeaseMs)) {
    return InvalidField("lease_ms", absl::StrCat("not within ", kMinLeaseMs, " .. ", kMaxLeaseMs));
  }
  return absl::OkStatus();
}

absl::Status CheckClaim(const v1::ClaimRequest& request) {
  if (request.worker().empty() || request.worker().size() > kMaxWorkerBytes) {
    return InvalidField("worker", "not 1 .. 128 bytes");
  }
  for (const int kind : request.kinds()) {
    if (!IsKind(kind)) return InvalidField("kinds", "unknown kind of lease");
  }
  SLUICE_RETURN_IF_ERROR(CheckLeaseMs(request.lease_ms()));
  if (request.wait_ms() > kMaxWaitMs) return InvalidField("wait_ms", "more than 60000");
  return absl::OkStatus();
}

absl::StatusOr<CollectionId> CheckLease(const v1::Lease& lease) {
  if (!IsKind(lease.kind())) return InvalidField("lease.kind", "unknown kind of lease");
  if (lease.token() == 0) return InvalidField("lease.token", "missing");
  return CheckCollectionId(lease.collection_id(), "lease.collection_id");
}

absl::StatusOr<CollectionId> CheckRelease(const v1::ReleaseRequest& request) {
  if (request.reason() == v1::RELEASE_REASON_UNSPECIFIED ||
      !v1::ReleaseReason_IsValid(request.reason())) {
    return InvalidField("reason", "missing or unknown");
  }
  if (request.retry_after_ms() > kMaxRetryAfterMs) {
    return InvalidField("retry_after_ms", "more than 3600000");
  }
  if (request.message().size() > kMaxReleaseMessageBytes) {
    return InvalidField("message", "longer than 1024 bytes");
  }
  return CheckLease(request.lease());
}

// Of the calls that name rows without a vector.
template <class Request>
absl::StatusOr<CollectionId> CheckIds(const Request& request) {
  if (request.ids().empty() || request.ids_size() > static_cast<int>(kMaxMissing)) {
    return InvalidField("ids", "not 1 .. 1000");
  }
  return CheckCollectionId(request.collection_id(), "collection_id");
}

std::string_view KindName(v1::LeaseKind kind) {
  return kind == v1::LEASE_KIND_MERGE ? "merge" : "compaction";
}

}  // namespace

grpc::ServerUnaryReactor* CompactionService::Claim(grpc::CallbackServerContext* context,
                                                   const v1::ClaimRequest* request,
                                                   v1::ClaimResponse* response) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForWriting();
  if (!core.ok()) return Refuse(context, core.status());
  if (const absl::Status checked = CheckClaim(*request); !checked.ok()) {
    return Refuse(context, checked);
  }
  return (*core)->claims.Serve(context, request, response);
}

grpc::ServerUnaryReactor* CompactionService::Renew(grpc::CallbackServerContext* context,
                                                   const v1::RenewRequest* request,
                                                   v1::RenewResponse* response) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForWriting();
  if (!core.ok()) return Refuse(context, core.status());
  const absl::StatusOr<CollectionId> collection = CheckLease(request->lease());
  if (!collection.ok()) return Refuse(context, collection.status());
  if (const absl::Status checked = CheckLeaseMs(request->lease_ms()); !checked.ok()) {
    return Refuse(context, checked);
  }
  pb::Command command;
  pb::Renew& renew = *command.mutable_renew();
  renew.set_collection_id(std::string(collection->view()));
  renew.set_kind(request->lease().kind());
  renew.set_token(request->lease().token());
  renew.set_incarnation(request->lease().incarnation());
  renew.set_lease_ms(request->lease_ms() ? request->lease_ms() : kDefaultLeaseMs);
  return ProposeAndFinish<RenewAnswer>(
      *(*core)->shard, context, command,
      [response](const RenewAnswer& answer) { response->set_expires_time_us(answer.expires_us); });
}

grpc::ServerUnaryReactor* CompactionService::Commit(grpc::CallbackServerContext* context,
                                                    const v1::CommitRequest* request,
                                                    v1::CommitResponse* response) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForWriting();
  if (!core.ok()) return Refuse(context, core.status());
  const absl::StatusOr<CollectionId> collection = CheckLease(request->lease());
  if (!collection.ok()) return Refuse(context, collection.status());
  pb::Command command;
  command.mutable_commit()->set_collection_id(std::string(collection->view()));
  *command.mutable_commit()->mutable_request() = *request;
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  (*core)->shard->Propose(Command(command),
                          [context, reactor, response, &metrics = (*core)->metrics,
                           kind = KindName(request->lease().kind())](const Result& result) {
                            metrics.Committed(kind, result.status());
                            if (result.ok()) *response = std::get<v1::CommitResponse>(*result);
                            reactor->Finish(ToGrpc(result.status(), context));
                          });
  return reactor;
}

grpc::ServerUnaryReactor* CompactionService::Release(grpc::CallbackServerContext* context,
                                                     const v1::ReleaseRequest* request,
                                                     v1::ReleaseResponse*) {
  // Also while the node drains: it is how workers that stop with it let go.
  const absl::StatusOr<ServiceCore*> core = gate_.ForReading();
  if (!core.ok()) return Refuse(context, core.status());
  const absl::StatusOr<CollectionId> collection = CheckRelease(*request);
  if (!collection.ok()) return Refuse(context, collection.status());
  pb::Command command;
  command.mutable_release()->set_collection_id(std::string(collection->view()));
  *command.mutable_release()->mutable_request() = *request;
  return ProposeAndFinish<Done>(*(*core)->shard, context, command,
                                [&claims = (*core)->claims](const Done&) { claims.Poke(); });
}

grpc::ServerUnaryReactor* CompactionService::ListGarbage(grpc::CallbackServerContext* context,
                                                         const v1::ListGarbageRequest* request,
                                                         v1::ListGarbageResponse* response) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForReading();
  if (!core.ok()) return FinishWith(context, core.status());
  if (request->limit() > kMaxGarbage) {
    return FinishWith(context, InvalidField("limit", "more than 1000"));
  }
  const size_t limit = request->limit() ? request->limit() : kDefaultGarbage;
  return OnPool(
      (*core)->reads, context, [&shard = *(*core)->shard, limit, response]() -> absl::Status {
        const Snapshot snapshot(shard.store());
        SLUICE_ASSIGN_OR_RETURN(const auto entries, ReadGarbage(snapshot, shard.Now(), limit));
        response->mutable_entries()->Assign(entries.begin(), entries.end());
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* CompactionService::CollectGarbage(
    grpc::CallbackServerContext* context, const v1::CollectGarbageRequest* request,
    v1::CollectGarbageResponse*) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForWriting();
  if (!core.ok()) return Refuse(context, core.status());
  if (request->keys_size() > static_cast<int>(kMaxGarbage)) {
    return Refuse(context, InvalidField("keys", "more than 1000"));
  }
  pb::Command command;
  *command.mutable_collect_garbage()->mutable_keys() = request->keys();
  return ProposeAndFinish<Done>(*(*core)->shard, context, command, [](const Done&) {});
}

grpc::ServerUnaryReactor* CompactionService::ListMissingVectors(
    grpc::CallbackServerContext* context, const v1::ListMissingVectorsRequest* request,
    v1::ListMissingVectorsResponse* response) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForReading();
  if (!core.ok()) return FinishWith(context, core.status());
  const absl::StatusOr<CollectionId> collection =
      CheckCollectionId(request->collection_id(), "collection_id");
  if (!collection.ok()) return FinishWith(context, collection.status());
  if (!v1::MissingReason_IsValid(request->reason())) {
    return FinishWith(context, InvalidField("reason", "unknown"));
  }
  if (request->limit() > kMaxMissing) {
    return FinishWith(context, InvalidField("limit", "more than 1000"));
  }
  return OnPool((*core)->reads, context,
                [&shard = *(*core)->shard, collection = *collection, request = *request,
                 response]() -> absl::Status {
                  const Snapshot snapshot(shard.store());
                  SLUICE_RETURN_IF_ERROR(ReadLog(snapshot, collection).status());
                  SLUICE_ASSIGN_OR_RETURN(
                      MissingPage page,
                      ReadMissingVectors(snapshot, collection, request.reason(), request.after(),
                                         request.limit() ? request.limit() : kDefaultMissing));
                  response->mutable_missing()->Assign(page.missing.begin(), page.missing.end());
                  response->set_next(std::move(page.next));
                  return absl::OkStatus();
                });
}

grpc::ServerUnaryReactor* CompactionService::RetryMissingVectors(
    grpc::CallbackServerContext* context, const v1::RetryMissingVectorsRequest* request,
    v1::RetryMissingVectorsResponse*) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForWriting();
  if (!core.ok()) return Refuse(context, core.status());
  const absl::StatusOr<CollectionId> collection = CheckIds(*request);
  if (!collection.ok()) return Refuse(context, collection.status());
  pb::Command command;
  command.mutable_retry_missing()->set_collection_id(std::string(collection->view()));
  *command.mutable_retry_missing()->mutable_ids() = request->ids();
  return ProposeAndFinish<Done>(*(*core)->shard, context, command,
                                [&claims = (*core)->claims](const Done&) { claims.Poke(); });
}

grpc::ServerUnaryReactor* CompactionService::DropMissingVectors(
    grpc::CallbackServerContext* context, const v1::DropMissingVectorsRequest* request,
    v1::DropMissingVectorsResponse*) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForWriting();
  if (!core.ok()) return Refuse(context, core.status());
  const absl::StatusOr<CollectionId> collection = CheckIds(*request);
  if (!collection.ok()) return Refuse(context, collection.status());
  pb::Command command;
  command.mutable_drop_missing()->set_collection_id(std::string(collection->view()));
  *command.mutable_drop_missing()->mutable_ids() = request->ids();
  return ProposeAndFinish<Done>(*(*core)->shard, context, command, [](const Done&) {});
}

}  // namespace sluice::log

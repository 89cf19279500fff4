#include "services/log/catalog_service.h"

#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "common/errors/errors.h"
#include "services/log/collection_rules.h"
#include "services/log/reader.h"
#include "services/log/request_checks.h"
#include "services/log/settle.h"
#include "services/log/unary.h"

namespace sluice::log {
namespace {

constexpr uint32_t kDefaultPageSize = 100;
constexpr uint32_t kMaxPageSize = 1000;

// A change is in once the catalog has it; whether the log has followed is then not known.
absl::StatusOr<v1::Collection> SettleChange(Shard& shard, const v1::Collection& collection) {
  absl::StatusOr<v1::Collection> settled = Settle(shard, collection);
  if (!settled.ok()) return WithOutcome(settled.status(), Outcome::kUnknown);
  return settled;
}

absl::Status NotIn(const absl::Status& error) { return WithOutcome(error, Outcome::kNotIn); }

bool IsGoing(const v1::Collection& collection) {
  return collection.state() == v1::COLLECTION_STATE_DELETING ||
         collection.state() == v1::COLLECTION_STATE_DELETED;
}

// In any state.
absl::StatusOr<v1::Collection> Resolve(const Shard& shard, const v1::CollectionRef& ref) {
  const Snapshot snapshot(shard.store());
  if (!ref.id().empty()) {
    SLUICE_ASSIGN_OR_RETURN(const CollectionId id, CheckCollectionId(ref.id(), "collection.id"));
    return ReadCollection(snapshot, id);
  }
  SLUICE_ASSIGN_OR_RETURN(const std::string tenant,
                          CheckName("collection.tenant", ref.tenant(), kDefaultTenant));
  SLUICE_ASSIGN_OR_RETURN(const std::string database,
                          CheckName("collection.database", ref.database(), kDefaultDatabase));
  SLUICE_ASSIGN_OR_RETURN(const std::string name, CheckName("collection.name", ref.name(), ""));
  return FindCollection(snapshot, tenant, database, name);
}

absl::StatusOr<v1::Collection> CheckCreate(const v1::CreateCollectionRequest& request) {
  v1::Collection collection;
  CollectionId id(Uuid::Random());
  if (!request.collection_id().empty()) {
    SLUICE_ASSIGN_OR_RETURN(id, CheckCollectionId(request.collection_id()));
    if (id.is_nil()) return InvalidField("collection_id", "the nil UUID");
  }
  collection.set_id(id.ToString());
  SLUICE_ASSIGN_OR_RETURN(*collection.mutable_tenant(),
                          CheckName("tenant", request.tenant(), kDefaultTenant));
  SLUICE_ASSIGN_OR_RETURN(*collection.mutable_database(),
                          CheckName("database", request.database(), kDefaultDatabase));
  SLUICE_ASSIGN_OR_RETURN(*collection.mutable_name(), CheckName("name", request.name(), ""));
  SLUICE_ASSIGN_OR_RETURN(*collection.mutable_schema(), CheckSchema(request.schema()));
  SLUICE_ASSIGN_OR_RETURN(*collection.mutable_settings(),
                          CheckSettings(request.settings(), collection.schema()));
  return collection;
}

absl::Status Create(Shard& shard, const v1::CreateCollectionRequest& request,
                    v1::CreateCollectionResponse* response) {
  absl::StatusOr<v1::Collection> wanted = CheckCreate(request);
  if (!wanted.ok()) return NotIn(wanted.status());
  pb::Command command;
  *command.mutable_create_collection()->mutable_collection() = *std::move(wanted);
  command.mutable_create_collection()->set_get_or_create(request.get_or_create());
  Result result = shard.ProposeAndWait(Command(command));
  if (!result.ok()) return std::move(result).status();
  auto answer = std::get<CollectionAnswer>(*std::move(result));
  if (answer.collection.state() == v1::COLLECTION_STATE_DELETING) {
    // The name is still held by one that is going.
    SLUICE_RETURN_IF_ERROR(SettleChange(shard, answer.collection).status());
    result = shard.ProposeAndWait(Command(command));
    if (!result.ok()) return std::move(result).status();
    answer = std::get<CollectionAnswer>(*std::move(result));
  }
  if (answer.collection.state() != v1::COLLECTION_STATE_ACTIVE) {
    SLUICE_ASSIGN_OR_RETURN(answer.collection, SettleChange(shard, answer.collection));
  }
  response->set_created(answer.created);
  *response->mutable_collection() = std::move(answer.collection);
  return absl::OkStatus();
}

absl::Status Get(const Shard& shard, const v1::CollectionRef& ref, v1::Collection* collection) {
  SLUICE_ASSIGN_OR_RETURN(*collection, Resolve(shard, ref));
  if (IsGoing(*collection)) {
    return MakeError(Reason::COLLECTION_DELETED, "collection " + collection->id() + " was deleted");
  }
  return absl::OkStatus();
}

// "*" as the reader's "all"; else a name.
absl::StatusOr<std::string> CheckPattern(std::string_view field, const std::string& value,
                                         std::string_view otherwise) {
  if (value == "*") return "";
  return CheckName(field, value, otherwise);
}

absl::Status List(const Shard& shard, const v1::ListCollectionsRequest& request,
                  v1::ListCollectionsResponse* response) {
  SLUICE_ASSIGN_OR_RETURN(const std::string tenant,
                          CheckPattern("tenant", request.tenant(), kDefaultTenant));
  std::string database;
  if (!tenant.empty()) {
    SLUICE_ASSIGN_OR_RETURN(database,
                            CheckPattern("database", request.database(), kDefaultDatabase));
  }
  if (request.page_size() > kMaxPageSize) return InvalidField("page_size", "more than 1000");
  std::string after;
  if (!absl::WebSafeBase64Unescape(request.page_token(), &after)) {
    return InvalidField("page_token", "not one that was given out");
  }
  const Snapshot snapshot(shard.store());
  SLUICE_ASSIGN_OR_RETURN(
      CollectionPage page,
      sluice::log::ListCollections(snapshot, tenant, database, after,
                                   request.page_size() ? request.page_size() : kDefaultPageSize));
  for (v1::Collection& collection : page.collections) {
    *response->add_collections() = std::move(collection);
  }
  response->set_next_page_token(absl::WebSafeBase64Escape(page.next));
  return absl::OkStatus();
}

absl::Status Update(Shard& shard, const v1::UpdateCollectionRequest& request,
                    v1::Collection* updated) {
  const absl::StatusOr<v1::Collection> found = Resolve(shard, request.collection());
  if (!found.ok()) return NotIn(found.status());
  absl::StatusOr<v1::CollectionSettings> settings =
      CheckSettings(request.settings(), found->schema());
  if (!settings.ok()) return NotIn(settings.status());
  pb::Command command;
  pb::UpdateSettings& update = *command.mutable_update_settings();
  update.set_collection_id(std::string(Uuid::Parse(found->id()).value_or(Uuid()).view()));
  *update.mutable_settings() = *std::move(settings);
  update.set_expected_version(request.expected_version());
  Result result = shard.ProposeAndWait(Command(command));
  if (!result.ok()) return std::move(result).status();
  SLUICE_ASSIGN_OR_RETURN(*updated,
                          SettleChange(shard, std::get<CollectionAnswer>(*result).collection));
  return absl::OkStatus();
}

absl::Status Delete(Shard& shard, const v1::CollectionRef& ref, v1::Collection* as_it_was) {
  const absl::StatusOr<v1::Collection> found = Resolve(shard, ref);
  if (!found.ok()) return NotIn(found.status());
  pb::Command command;
  command.mutable_begin_delete()->set_collection_id(
      std::string(Uuid::Parse(found->id()).value_or(Uuid()).view()));
  Result result = shard.ProposeAndWait(Command(command));
  if (!result.ok()) return std::move(result).status();
  *as_it_was = std::move(std::get<CollectionAnswer>(*result).collection);
  if (as_it_was->state() == v1::COLLECTION_STATE_DELETED) return absl::OkStatus();
  v1::Collection deleting = *as_it_was;
  deleting.set_state(v1::COLLECTION_STATE_DELETING);
  return SettleChange(shard, deleting).status();
}

}  // namespace

grpc::ServerUnaryReactor* CatalogService::CreateCollection(
    grpc::CallbackServerContext* context, const v1::CreateCollectionRequest* request,
    v1::CreateCollectionResponse* response) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForWriting();
  if (!core.ok()) return Refuse(context, core.status());
  return OnPool((*core)->commands, context, [&shard = *(*core)->shard, request, response] {
    return Create(shard, *request, response);
  });
}

grpc::ServerUnaryReactor* CatalogService::GetCollection(grpc::CallbackServerContext* context,
                                                        const v1::GetCollectionRequest* request,
                                                        v1::GetCollectionResponse* response) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForReading();
  if (!core.ok()) return FinishWith(context, core.status());
  return OnPool((*core)->reads, context, [&shard = *(*core)->shard, request, response] {
    return Get(shard, request->collection(), response->mutable_collection());
  });
}

grpc::ServerUnaryReactor* CatalogService::ListCollections(grpc::CallbackServerContext* context,
                                                          const v1::ListCollectionsRequest* request,
                                                          v1::ListCollectionsResponse* response) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForReading();
  if (!core.ok()) return FinishWith(context, core.status());
  return OnPool((*core)->reads, context, [&shard = *(*core)->shard, request, response] {
    return List(shard, *request, response);
  });
}

grpc::ServerUnaryReactor* CatalogService::UpdateCollection(
    grpc::CallbackServerContext* context, const v1::UpdateCollectionRequest* request,
    v1::UpdateCollectionResponse* response) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForWriting();
  if (!core.ok()) return Refuse(context, core.status());
  return OnPool((*core)->commands, context, [&shard = *(*core)->shard, request, response] {
    return Update(shard, *request, response->mutable_collection());
  });
}

grpc::ServerUnaryReactor* CatalogService::DeleteCollection(
    grpc::CallbackServerContext* context, const v1::DeleteCollectionRequest* request,
    v1::DeleteCollectionResponse* response) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForWriting();
  if (!core.ok()) return Refuse(context, core.status());
  return OnPool((*core)->commands, context, [&shard = *(*core)->shard, request, response] {
    return Delete(shard, request->collection(), response->mutable_collection());
  });
}

}  // namespace sluice::log

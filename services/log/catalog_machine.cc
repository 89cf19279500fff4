#include "services/log/catalog_machine.h"

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "services/log/keys.h"

namespace sluice::log {
namespace {

absl::Status Deleted(const v1::Collection& collection) {
  return MakeError(Reason::COLLECTION_DELETED,
                   absl::StrCat("collection ", collection.id(), " was deleted"));
}

// Messages without maps, so that equal ones have equal bytes.
template <class Message>
bool Equal(const Message& a, const Message& b) {
  return a.SerializeAsString() == b.SerializeAsString();
}

bool IsGoing(const v1::Collection& collection) {
  return collection.state() == v1::COLLECTION_STATE_DELETING ||
         collection.state() == v1::COLLECTION_STATE_DELETED;
}

CollectionId IdOf(const v1::Collection& collection) {
  return CollectionId(Uuid::Parse(collection.id()).value_or(Uuid()));
}

}  // namespace

std::optional<Result> CatalogMachine::Apply(const pb::Command& command, int64_t time_us) {
  switch (command.change_case()) {
    case pb::Command::kCreateCollection:
      return Create(command.create_collection(), time_us);
    case pb::Command::kActivateCollection:
      return Activate(command.activate_collection());
    case pb::Command::kUpdateSettings:
      return UpdateSettings(command.update_settings());
    case pb::Command::kBeginDelete:
      return BeginDelete(command.begin_delete());
    case pb::Command::kFinishDelete:
      return FinishDelete(command.finish_delete());
    default:
      return std::nullopt;
  }
}

Result CatalogMachine::Create(const pb::CreateCollection& command, int64_t time_us) {
  const v1::Collection& wanted = command.collection();
  const CollectionId id = IdOf(wanted);
  if (id.is_nil()) {
    return MakeError(Reason::INVALID_REQUEST, "collection_id is not a UUID",
                     {{"field", "collection_id"}});
  }
  const std::string name_key = NameKey(wanted.tenant(), wanted.database(), wanted.name());
  SLUICE_ASSIGN_OR_RETURN(const auto owner, rows_.Get(name_key));
  if (owner) {
    SLUICE_ASSIGN_OR_RETURN(v1::Collection there, Find(*owner));
    // A repeated call is recognised by the id that the caller chose.
    if (*owner == id.view()) {
      if (IsGoing(there)) return Deleted(there);
      return CollectionAnswer{std::move(there), /*created=*/true};
    }
    if (!command.get_or_create()) {
      return MakeError(Reason::COLLECTION_EXISTS,
                       absl::StrCat("there is a collection of this name: ", there.id()),
                       {{"collection_id", there.id()}});
    }
    if (!Equal(there.schema(), wanted.schema())) {
      return MakeError(Reason::SCHEMA_MISMATCH, absl::StrCat("collection ", there.id(),
                                                             " has this name and another schema"));
    }
    return CollectionAnswer{std::move(there), /*created=*/false};
  }
  SLUICE_ASSIGN_OR_RETURN(const auto same_id, rows_.Get(CollectionKey(id)));
  if (same_id) {
    SLUICE_ASSIGN_OR_RETURN(const v1::Collection there, Find(id.view()));
    if (IsGoing(there)) return Deleted(there);
    return MakeError(Reason::COLLECTION_EXISTS,
                     absl::StrCat("collection ", there.id(), " has another name"),
                     {{"collection_id", there.id()}});
  }
  CollectionAnswer answer{wanted, /*created=*/true};
  answer.collection.set_version(1);
  answer.collection.set_state(v1::COLLECTION_STATE_CREATING);
  answer.collection.set_created_time_us(time_us);
  Put(answer.collection);
  rows_.Put(name_key, id.view());
  return answer;
}

Result CatalogMachine::Activate(const pb::ActivateCollection& command) {
  SLUICE_ASSIGN_OR_RETURN(v1::Collection collection, Find(command.collection_id()));
  if (IsGoing(collection)) return Deleted(collection);
  if (collection.state() == v1::COLLECTION_STATE_CREATING) {
    collection.set_state(v1::COLLECTION_STATE_ACTIVE);
    Put(collection);
  }
  return CollectionAnswer{std::move(collection)};
}

Result CatalogMachine::UpdateSettings(const pb::UpdateSettings& command) {
  SLUICE_ASSIGN_OR_RETURN(v1::Collection collection, Find(command.collection_id()));
  if (IsGoing(collection)) return Deleted(collection);
  // Also what a repeated call finds: its change is made, and it gets the same answer.
  if (Equal(collection.settings(), command.settings())) {
    return CollectionAnswer{std::move(collection)};
  }
  if (command.expected_version() != 0 && command.expected_version() != collection.version()) {
    return MakeError(Reason::VERSION_MISMATCH,
                     absl::StrCat("the settings' version is ", collection.version()),
                     {{"version", absl::StrCat(collection.version())}});
  }
  *collection.mutable_settings() = command.settings();
  collection.set_version(collection.version() + 1);
  Put(collection);
  return CollectionAnswer{std::move(collection)};
}

Result CatalogMachine::BeginDelete(const pb::BeginDelete& command) {
  SLUICE_ASSIGN_OR_RETURN(v1::Collection collection, Find(command.collection_id()));
  CollectionAnswer answer{collection};
  if (!IsGoing(collection)) {
    collection.set_state(v1::COLLECTION_STATE_DELETING);
    Put(collection);
  }
  return answer;
}

Result CatalogMachine::FinishDelete(const pb::FinishDelete& command) {
  SLUICE_ASSIGN_OR_RETURN(v1::Collection collection, Find(command.collection_id()));
  if (collection.state() == v1::COLLECTION_STATE_DELETING) {
    rows_.Delete(NameKey(collection.tenant(), collection.database(), collection.name()));
    collection.set_state(v1::COLLECTION_STATE_DELETED);
    Put(collection);
  }
  return CollectionAnswer{std::move(collection)};
}

absl::StatusOr<v1::Collection> CatalogMachine::Find(std::string_view id_bytes) {
  if (id_bytes.size() != 16) {
    return MakeError(Reason::INVALID_REQUEST, "collection_id is not a UUID",
                     {{"field", "collection_id"}});
  }
  const CollectionId id(Uuid::FromBytes(id_bytes));
  SLUICE_ASSIGN_OR_RETURN(const auto row, rows_.Get(CollectionKey(id)));
  if (!row) {
    return MakeError(Reason::COLLECTION_NOT_FOUND,
                     absl::StrCat("there is no collection ", id.ToString()));
  }
  v1::Collection collection;
  if (!collection.ParseFromString(*row)) {
    return MakeError(Reason::LOG_CORRUPT, "the catalog's row of a collection cannot be read",
                     {{"collection_id", id.ToString()}});
  }
  return collection;
}

void CatalogMachine::Put(const v1::Collection& collection) {
  rows_.Put(CollectionKey(IdOf(collection)), collection.SerializeAsString());
}

}  // namespace sluice::log

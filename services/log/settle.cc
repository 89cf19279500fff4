#include "services/log/settle.h"

#include <string>
#include <utility>

#include "common/base/check.h"
#include "common/base/coding.h"
#include "common/errors/errors.h"
#include "common/server/logging.h"
#include "services/log/reader.h"

namespace sluice::log {
namespace {

std::string IdBytes(const v1::Collection& collection) {
  return std::string(Uuid::Parse(collection.id()).value_or(Uuid()).view());
}

absl::StatusOr<v1::Collection> ProposeToCatalog(Shard& shard, const pb::Command& command) {
  Result result = shard.ProposeAndWait(Command(command));
  if (!result.ok()) return std::move(result).status();
  return std::move(std::get<CollectionAnswer>(*result).collection);
}

absl::Status OpenLog(Shard& shard, const v1::Collection& collection) {
  pb::Command command;
  pb::OpenLog& open = *command.mutable_open_log();
  open.set_collection_id(IdBytes(collection));
  *open.mutable_schema() = collection.schema();
  *open.mutable_settings() = collection.settings();
  open.set_settings_version(collection.version());
  std::string key;
  PutFixed(&key, RandomUint64());
  PutFixed(&key, RandomUint64());
  open.set_id_hash_key(key);
  return shard.ProposeAndWait(Command(command)).status();
}

absl::Status UpdateLog(Shard& shard, const v1::Collection& collection) {
  pb::Command command;
  pb::UpdateLogSettings& update = *command.mutable_update_log_settings();
  update.set_collection_id(IdBytes(collection));
  *update.mutable_settings() = collection.settings();
  update.set_settings_version(collection.version());
  return shard.ProposeAndWait(Command(command)).status();
}

// A log that was never opened is as good as deleted.
absl::Status DeleteLog(Shard& shard, const v1::Collection& collection) {
  pb::Command command;
  command.mutable_delete_log()->set_collection_id(IdBytes(collection));
  const absl::Status deleted = shard.ProposeAndWait(Command(command)).status();
  return ReasonOf(deleted) == Reason::COLLECTION_NOT_FOUND ? absl::OkStatus() : deleted;
}

absl::StatusOr<v1::Collection> FinishCreate(Shard& shard, const v1::Collection& collection) {
  SLUICE_RETURN_IF_ERROR(OpenLog(shard, collection));
  // Who opened the log first may have known older settings.
  SLUICE_RETURN_IF_ERROR(UpdateLog(shard, collection));
  pb::Command command;
  command.mutable_activate_collection()->set_collection_id(IdBytes(collection));
  absl::StatusOr<v1::Collection> active = ProposeToCatalog(shard, command);
  // It was deleted meanwhile, perhaps before there was a log to delete.
  if (ReasonOf(active.status()) == Reason::COLLECTION_DELETED) {
    SLUICE_RETURN_IF_ERROR(DeleteLog(shard, collection));
  }
  return active;
}

absl::StatusOr<v1::Collection> FinishDelete(Shard& shard, const v1::Collection& collection) {
  SLUICE_RETURN_IF_ERROR(DeleteLog(shard, collection));
  pb::Command command;
  command.mutable_finish_delete()->set_collection_id(IdBytes(collection));
  return ProposeToCatalog(shard, command);
}

}  // namespace

absl::StatusOr<v1::Collection> Settle(Shard& shard, const v1::Collection& collection) {
  switch (collection.state()) {
    case v1::COLLECTION_STATE_CREATING:
      return FinishCreate(shard, collection);
    case v1::COLLECTION_STATE_DELETING:
      return FinishDelete(shard, collection);
    case v1::COLLECTION_STATE_ACTIVE:
      SLUICE_RETURN_IF_ERROR(UpdateLog(shard, collection));
      return collection;
    default:
      return collection;
  }
}

absl::Status SettleAll(Shard& shard) {
  std::vector<v1::Collection> unsettled;
  {
    const Snapshot snapshot(shard.store());
    SLUICE_ASSIGN_OR_RETURN(unsettled, ListUnsettledCollections(snapshot));
  }
  for (const v1::Collection& collection : unsettled) {
    const absl::Status settled = Settle(shard, collection).status();
    // Deleted by a call that came first.
    if (!settled.ok() && ReasonOf(settled) != Reason::COLLECTION_DELETED) return settled;
    server::Log(server::Level::kInfo, "finished what was left half done",
                {{"collection_id", collection.id()},
                 {"state", v1::CollectionState_Name(collection.state())}});
  }
  return absl::OkStatus();
}

}  // namespace sluice::log

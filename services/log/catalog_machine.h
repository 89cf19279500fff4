// The state machine of the catalog: names, settings and states of collections. Deterministic: it
// reads the command, its time and the rows; never a log. Results, refusals included, are data.
// Applier thread only.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "services/log/command.h"
#include "services/log/command.pb.h"
#include "services/log/rows.h"
#include "sluice/v1/collection.pb.h"

namespace sluice::log {

class CatalogMachine {
 public:
  explicit CatalogMachine(Rows& rows) : rows_(rows) {}

  // Any command of the catalog; nullopt if the command is none of these.
  std::optional<Result> Apply(const pb::Command& command, int64_t time_us);

 private:
  Result Create(const pb::CreateCollection& command, int64_t time_us);
  Result Activate(const pb::ActivateCollection& command);
  Result UpdateSettings(const pb::UpdateSettings& command);
  Result BeginDelete(const pb::BeginDelete& command);
  Result FinishDelete(const pb::FinishDelete& command);

  // COLLECTION_NOT_FOUND.
  absl::StatusOr<v1::Collection> Find(std::string_view id_bytes);
  void Put(const v1::Collection& collection);

  Rows& rows_;
};

}  // namespace sluice::log

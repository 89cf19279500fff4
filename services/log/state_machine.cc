#include "services/log/state_machine.h"

#include <algorithm>

#include "common/errors/errors.h"
#include "services/log/keys.h"

namespace sluice::log {

absl::Status StateMachine::Load() {
  SLUICE_ASSIGN_OR_RETURN(const auto row, rows_.Get(ShardKey()));
  if (row && !shard_.ParseFromString(*row)) {
    return absl::DataLossError("the shard's row cannot be read");
  }
  written_ = shard_;
  return absl::OkStatus();
}

Result StateMachine::Apply(const CommandView& command) {
  shard_.set_time_us(std::max(shard_.time_us(), command.time_us));
  SLUICE_RETURN_IF_ERROR(logs_.Advance(std::min(command.clock_us, shard_.time_us())));
  Result result = Dispatch(command);
  // A refusal is an answer like any other: this attempt is not in.
  if (!result.ok()) return WithOutcome(result.status(), Outcome::kNotIn);
  return result;
}

Result StateMachine::Dispatch(const CommandView& command) {
  if (const auto* push = std::get_if<PushView>(&command.change)) return logs_.Push(*push);
  const auto& change = std::get<pb::Command>(command.change);
  if (change.has_configure_shard()) return Configure(change.configure_shard());
  if (auto result = catalog_.Apply(change, shard_.time_us())) return *std::move(result);
  if (auto result = logs_.Apply(change)) return *std::move(result);
  return MakeError(Reason::INVALID_REQUEST, "a command of an unknown kind");
}

Result StateMachine::Configure(const pb::ConfigureShard& command) {
  if (shard_.incarnation() == 0) shard_.set_incarnation(command.incarnation());
  *shard_.mutable_policy() = command.policy();
  return Done{};
}

absl::Status StateMachine::Finish(JournalPosition position, std::vector<LogPositions>* moved) {
  moved->clear();
  absl::Status written = rows_.failure();
  if (written.ok()) {
    logs_.table().Flush();
    shard_.set_applied_position(position.value);
    rows_.Put(ShardKey(), shard_.SerializeAsString());
    written = rows_.Write();
  }
  if (!written.ok()) {
    Discard();
    return written;
  }
  written_ = shard_;
  if (const uint64_t trimmed = logs_.TakeTrimmedBytes()) store_.Trimmed(trimmed);
  for (const Log* log : logs_.table().moved()) {
    moved->push_back({log->id, SeqId(log->state.tail()), SeqId(log->state.applied()),
                      SeqId(log->state.trim()), Incarnation(shard_.incarnation()),
                      log->state.deleted()});
  }
  logs_.table().EndGroup();
  return absl::OkStatus();
}

void StateMachine::Discard() {
  rows_.Discard();
  logs_.table().Discard();
  (void)logs_.TakeTrimmedBytes();
  shard_ = written_;
}

}  // namespace sluice::log

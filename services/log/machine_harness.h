// For tests: a store with the state machines over it, without a journal or threads. Commands are
// applied as the shard does, at the time in `time_us`.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/errors/errors.h"
#include "services/log/keys.h"
#include "services/log/state_machine.h"
#include "services/log/store.h"
#include "services/log/test_support.h"
#include "services/log/verify_rows.h"

namespace sluice::log {

class MachineHarness {
 public:
  // On a folder of its own, or on one that outlives it.
  MachineHarness() : MachineHarness(std::filesystem::path()) {}
  explicit MachineHarness(std::filesystem::path folder) {
    if (folder.empty()) {
      folder_ = own_folder_.emplace().path();
    } else {
      folder_ = std::move(folder);
    }
    policy.set_dedupe_window_us(900'000'000);
    policy.set_grace_us(3'600'000'000);
    policy.set_trim_delay_us(600'000'000);
    policy.set_trim_bytes(1 << 20);
    policy.set_max_pinned_us(7 * 86'400'000'000);
    policy.set_max_pinned_bytes(10 << 20);
    Reopen();
  }

  int64_t time_us = 1'700'000'000'000'000;
  // By how much that is ahead of the clock.
  int64_t ahead_us = 0;
  uint64_t incarnation = 4711;
  pb::Policy policy;

  Store& store() { return *store_; }
  const pb::ShardState& shard() const { return machine_->shard(); }
  // Position of the last group applied.
  uint64_t position() const { return machine_->shard().applied_position(); }

  void Configure() {
    pb::Command command;
    command.mutable_configure_shard()->set_incarnation(incarnation);
    *command.mutable_configure_shard()->mutable_policy() = policy;
    SLUICE_CHECK(Apply(Command(command)).ok());
  }

  Result Apply(Command command) {
    std::vector<Command> group;
    group.push_back(std::move(command));
    return ApplyGroup(std::move(group)).front();
  }

  // A group of one command, as it is.
  Result ApplyView(const CommandView& command) {
    Result result = machine_->Apply(command);
    SLUICE_CHECK(machine_->Finish(JournalPosition(position() + 1), &moved).ok());
    return result;
  }

  // All at `time_us`.
  std::vector<Result> ApplyGroup(std::vector<Command> group) {
    for (Command& command : group) command.Stamp(time_us, ahead_us);
    return ApplyStamped(group);
  }
  std::vector<Result> ApplyStamped(std::span<const Command> group) {
    std::vector<Result> results;
    for (const Command& command : group) {
      const auto view = DecodeCommand(command.head(), command.records());
      SLUICE_CHECK(view.ok());
      results.push_back(machine_->Apply(*view));
    }
    SLUICE_CHECK(machine_->Finish(JournalPosition(position() + 1), &moved).ok());
    return results;
  }
  // A group as the journal has it.
  absl::Status Replay(JournalPosition at, std::string_view group) {
    SLUICE_RETURN_IF_ERROR(ForEachCommand(group, [&](const CommandView& command) {
      (void)machine_->Apply(command);
      return absl::OkStatus();
    }));
    return machine_->Finish(at, &moved);
  }
  // Of the last group.
  std::vector<LogPositions> moved;

  // Closes and opens the store without flushing: what was not persisted is gone, as after a crash.
  void Reopen() {
    machine_.reset();
    store_.reset();
    auto store = Store::Open({.folder = folder_, .memtable_bytes = 1 << 20}, [](auto) {});
    SLUICE_CHECK(store.ok());
    store_ = *std::move(store);
    machine_ = std::make_unique<StateMachine>(*store_);
    SLUICE_CHECK(machine_->Load().ok());
  }

  // What a verification of the rows finds.
  std::vector<v1::VerifyFinding> Verify() const {
    std::vector<v1::VerifyFinding> findings;
    VerifyOptions options;
    options.bytes_per_second = 0;
    options.report = [&](const v1::VerifyProgress& progress) {
      findings.insert(findings.end(), progress.findings().begin(), progress.findings().end());
    };
    VerifyWork work(options);
    SLUICE_CHECK(VerifyRows(*store_, work).ok());
    SLUICE_CHECK(work.findings() == findings.size());
    return findings;
  }

  // Every row that counts: without the applied position, which depends on how commands
  // were grouped, and without trimmed appends, which may or may not be gone.
  std::map<std::string, std::string> LogicalRows() {
    std::map<std::string, std::string> rows;
    const Snapshot snapshot(*store_);
    auto it = snapshot.Scan(std::string(1, '\0'), std::string(1, '\x7f'));
    for (; it.Valid(); it.Next()) {
      if (RowTypeOf(it.key()) == RowType::kShard) {
        pb::ShardState state;
        SLUICE_CHECK(state.ParseFromString(std::string(it.value())));
        state.clear_applied_position();
        rows["M"] = state.SerializeAsString();
        continue;
      }
      if (const auto append = DecodeAppendKey(it.key())) {
        pb::LogState log;
        SLUICE_CHECK(log.ParseFromString(**snapshot.Get(LogKey(append->collection))));
        if (log.purged() || append->last.value <= log.trim()) continue;
      }
      rows.emplace(it.key(), it.value());
    }
    SLUICE_CHECK(it.status().ok());
    return rows;
  }

 private:
  std::optional<TemporaryFolder> own_folder_;
  std::filesystem::path folder_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<StateMachine> machine_;
};

}  // namespace sluice::log

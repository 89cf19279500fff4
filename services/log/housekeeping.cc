#include "services/log/housekeeping.h"

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "common/errors/errors.h"
#include "common/server/logging.h"
#include "services/log/reader.h"
#include "services/log/settle.h"

namespace sluice::log {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kTurn(1);
// A turn reads some thousands of rows at most; one that takes this long does not end.
constexpr std::chrono::seconds kStuckAfter(60);
constexpr int kTurnsBetweenLag = 5;
constexpr size_t kMaxTrimsATurn = 1000;
// Collections with unapplied records that are looked at; beyond, the figures are of these.
constexpr size_t kMaxLagging = 10'000;
constexpr size_t kWorst = 10;

server::RateLimitedLog& Warnings() {
  static server::RateLimitedLog warnings(std::chrono::seconds(10));
  return warnings;
}

void Warn(std::string_view what, const absl::Status& status) {
  if (!status.ok()) Warnings()(server::Level::kWarn, what, {{"error", status}});
}

}  // namespace

Housekeeping::Housekeeping(ServiceCore& core)
    : core_(core),
      last_turn_(Clock::now()),
      thread_([this](const std::stop_token& stop) { Run(stop); }) {}

void Housekeeping::Stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

absl::Status Housekeeping::Alive() const {
  if (Clock::now() - last_turn_.load() < kStuckAfter) return absl::OkStatus();
  return absl::InternalError("the log's housekeeping does not turn");
}

void Housekeeping::Run(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wakes;
  for (int turn = 0; !stop.stop_requested(); ++turn) {
    SettleCatalog();
    Warn("due trims cannot be read", ProposeTrims());
    core_.metrics.SetShard(*core_.shard, core_.claims.waiting());
    core_.metrics.SetStreams(core_.streams.count(), core_.streams.held_bytes());
    if (turn % kTurnsBetweenLag == 0) Warn("the lag cannot be read", MeasureLag());
    if (turn % kTurnsBetweenLag == 0) Warn("pins cannot be read", LookAtBackups());
    last_turn_.store(Clock::now());
    std::unique_lock lock(mutex);
    wakes.wait_for(lock, stop, kTurn, [] { return false; });
  }
}

void Housekeeping::SettleCatalog() {
  if (under_way_->settled || under_way_->settling.exchange(true)) return;
  core_.commands.Run([&shard = *core_.shard, under_way = under_way_] {
    const absl::Status settled = SettleAll(shard);
    Warn("what was left half done in the catalog cannot be finished yet", settled);
    under_way->settled = settled.ok();
    under_way->settling = false;
  });
}

absl::Status Housekeeping::ProposeTrims() {
  // Those of the turn before are not answered: the journal does not write.
  if (under_way_->trims != 0) return absl::OkStatus();
  const Snapshot snapshot(core_.shard->store());
  SLUICE_ASSIGN_OR_RETURN(const auto due,
                          ReadDue(snapshot, DueKind::kTrim, core_.shard->Now(), kMaxTrimsATurn));
  for (const DueKey& row : due) {
    const absl::StatusOr<pb::LogState> log = ReadLog(snapshot, row.collection);
    if (!log.ok()) continue;
    pb::Command command;
    command.mutable_trim()->set_collection_id(std::string(row.collection.view()));
    command.mutable_trim()->set_up_to_seq_id(log->trim_target());
    ++under_way_->trims;
    core_.shard->Propose(Command(command), [under_way = under_way_](const Result& result) {
      Warn("a trim failed", result.status());
      --under_way->trims;
    });
  }
  return absl::OkStatus();
}

absl::Status Housekeeping::MeasureLag() {
  const Snapshot snapshot(core_.shard->store());
  const int64_t now_us = core_.shard->Now();
  SLUICE_ASSIGN_OR_RETURN(const auto due,
                          ReadDue(snapshot, DueKind::kCompaction, INT64_MAX, kMaxLagging));
  Lag total;
  std::vector<LagOf> lagging;
  for (const DueKey& row : due) {
    const absl::StatusOr<pb::LogState> log = ReadLog(snapshot, row.collection);
    if (!log.ok()) continue;
    Lag lag;
    lag.records = log->tail() - log->applied();
    lag.bytes = log->tail_bytes() - log->applied_bytes();
    if (log->oldest_unapplied_us() != 0) {
      lag.oldest_seconds =
          static_cast<double>(std::max<int64_t>(0, now_us - log->oldest_unapplied_us())) / 1e6;
    }
    total.records += lag.records;
    total.bytes += lag.bytes;
    total.oldest_seconds = std::max(total.oldest_seconds, lag.oldest_seconds);
    lagging.push_back({row.collection, lag});
  }
  const size_t worst = std::min(lagging.size(), kWorst);
  std::partial_sort(
      lagging.begin(), lagging.begin() + static_cast<ptrdiff_t>(worst), lagging.end(),
      [](const LagOf& a, const LagOf& b) { return a.lag.oldest_seconds > b.lag.oldest_seconds; });
  lagging.resize(worst);
  core_.metrics.SetLag(total, lagging);
  return absl::OkStatus();
}

absl::Status Housekeeping::LookAtBackups() {
  SLUICE_ASSIGN_OR_RETURN(const auto pins, ReadPins(Snapshot(core_.shard->store())));
  int64_t newest_us = 0;
  uint64_t newest_bytes = 0;
  size_t complete = 0;
  for (const Pin& pin : pins) {
    if (pin.state.sealed_epoch() == 0 || pin.state.ending()) continue;
    ++complete;
    newest_us = pin.state.begun_us();
    newest_bytes = pin.state.bytes();
  }
  core_.metrics.SetBackups(newest_us, newest_bytes, complete, pins.size() - complete);
  return absl::OkStatus();
}

}  // namespace sluice::log

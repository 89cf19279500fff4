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
#include "services/log/retention.h"
#include "services/log/settle.h"

namespace sluice::log {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kTurn(1);
// A turn reads some tens of thousands of rows at most, most of them the logs of MeasureWork; one
// that takes this long does not end.
constexpr std::chrono::seconds kStuckAfter(60);
constexpr int kTurnsBetweenLag = 5;
// Also where one fails: it rewrites the whole store.
constexpr std::chrono::seconds kBetweenErasures(10);
constexpr size_t kMaxRetainsATurn = 1000;
constexpr uint64_t kMaxCursorsCounted = 10'000;

server::RateLimitedLog& Warnings() {
  static server::RateLimitedLog warnings(std::chrono::seconds(10));
  return warnings;
}

void Warn(std::string_view what, const absl::Status& status) {
  if (!status.ok()) Warnings()(server::Level::kWarn, what, {{"error", status}});
}

void Retained(LogMetrics& metrics, const CollectionId& collection, const RetainAnswer& answer) {
  metrics.Trimmed(answer.trimmed);
  for (const v1::Cursor& cursor : answer.lost) {
    metrics.CursorLost(cursor.loss());
    server::Log(server::Level::kWarn, "a cursor held too much for too long, and is lost",
                {{"collection_id", collection.ToString()},
                 {"cursor", cursor.name()},
                 {"loss", v1::CursorLoss_Name(cursor.loss())},
                 {"seq_id", cursor.seq_id()},
                 {"trim_seq_id", answer.trimmed.trim.value}});
  }
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
    Warn("due retention cannot be read", ProposeRetention());
    Warn("what is to be erased cannot be read", EraseWhatIsDue());
    core_.metrics.SetShard(*core_.shard, core_.claims.waiting());
    core_.metrics.SetStreams(core_.streams.count(), core_.streams.held_bytes());
    if (turn % kTurnsBetweenLag == 0) {
      Warn("the lag cannot be read", MeasureWork());
      Warn("the cursors cannot be read", MeasureCursors());
      Warn("pins cannot be read", LookAtBackups());
    }
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

absl::Status Housekeeping::ProposeRetention() {
  // Those of the turn before are not answered: the journal does not write.
  if (under_way_->retains != 0) return absl::OkStatus();
  const Snapshot snapshot(core_.shard->store());
  SLUICE_ASSIGN_OR_RETURN(const auto due,
                          ReadDue(snapshot, DueKind::kTrim, core_.shard->Now(), kMaxRetainsATurn));
  for (const DueKey& row : due) {
    pb::Command command;
    command.mutable_retain()->set_collection_id(std::string(row.collection.view()));
    ++under_way_->retains;
    core_.shard->Propose(Command(command), [&metrics = core_.metrics, collection = row.collection,
                                            under_way = under_way_](const Result& result) {
      if (result.ok()) {
        Retained(metrics, collection, std::get<RetainAnswer>(*result));
      } else if (ReasonOf(result.status()) != Reason::COLLECTION_DELETED) {
        Warn("retention failed", result.status());
      }
      --under_way->retains;
    });
  }
  return absl::OkStatus();
}

absl::Status Housekeeping::EraseWhatIsDue() {
  SLUICE_ASSIGN_OR_RETURN(const pb::ShardState state,
                          ReadShardState(Snapshot(core_.shard->store())));
  // One that has begun is due until it has ended.
  const bool is_due =
      state.erasing() || (state.erase_due_us() != 0 && state.erase_due_us() <= core_.shard->Now());
  const Clock::time_point now = Clock::now();
  if (!is_due) erase_due_since_.reset();
  if (is_due && !erase_due_since_) erase_due_since_ = now;
  core_.metrics.SetEraseOverdue(is_due ? now - *erase_due_since_ : Clock::duration(0));
  if (!is_due || now < erase_not_before_) return absl::OkStatus();
  if (under_way_->erasing.exchange(true)) return absl::OkStatus();
  erase_not_before_ = now + kBetweenErasures;
  pb::Command begin;
  begin.mutable_begin_erasure();
  core_.shard->Propose(
      Command(begin), [&shard = *core_.shard, under_way = under_way_](const Result& begun) {
        if (!begun.ok()) {
          under_way->erasing = false;
          return;
        }
        shard.Erase([&shard, under_way](bool erased) {
          under_way->erasing = false;
          if (!erased) {
            return Warn("what was deleted is not erased yet",
                        absl::UnavailableError("the store's files could not be rewritten"));
          }
          pb::Command finish;
          finish.mutable_finish_erasure();
          shard.Propose(Command(finish), [](const Result&) {});
        });
      });
  return absl::OkStatus();
}

absl::Status Housekeeping::MeasureWork() {
  const Snapshot snapshot(core_.shard->store());
  SLUICE_ASSIGN_OR_RETURN(const WorkFigures figures,
                          log::MeasureWork(snapshot, core_.shard->Now(), &stalls_));
  core_.metrics.SetWork(figures);
  SLUICE_ASSIGN_OR_RETURN(const pb::ShardState shard, ReadShardState(snapshot));
  core_.metrics.SetDedupe(shard.dedupe_bytes());
  return absl::OkStatus();
}

absl::Status Housekeeping::MeasureCursors() {
  const Snapshot snapshot(core_.shard->store());
  CursorFigures figures;
  CollectionId counted;
  const std::string prefix = TypePrefix(RowType::kCursor);
  auto it = snapshot.Scan(prefix, PrefixEnd(prefix));
  for (; it.Valid() && figures.active + figures.lost < kMaxCursorsCounted; it.Next()) {
    const auto key = DecodeCursorKey(it.key());
    pb::CursorState cursor;
    if (!key || !cursor.ParseFromString(std::string(it.value()))) continue;
    ++(cursor.loss() == v1::CURSOR_LOSS_UNSPECIFIED ? figures.active : figures.lost);
    if (key->collection == counted) continue;
    counted = key->collection;
    const absl::StatusOr<pb::LogState> log = ReadLog(snapshot, counted);
    if (log.ok()) figures.pinned_bytes += PinnedBytes(*log);
  }
  SLUICE_RETURN_IF_ERROR(it.status());
  core_.metrics.SetCursors(figures);
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

#include "services/log/log_node.h"

#include <utility>

#include "common/server/logging.h"

namespace sluice::log {

LogNode::LogNode(const LogSettings& settings, prometheus::Registry& registry)
    : settings_(settings),
      metrics_(registry),
      log_service_(gate_, metrics_),
      catalog_service_(gate_),
      compaction_service_(gate_),
      admin_service_(gate_) {}

LogNode::~LogNode() = default;

void LogNode::Register(grpc::ServerBuilder& builder) {
  builder.RegisterService(&log_service_);
  builder.RegisterService(&catalog_service_);
  builder.RegisterService(&compaction_service_);
  builder.RegisterService(&admin_service_);
}

absl::Status LogNode::Start(const std::shared_ptr<grpc::Channel>&) {
  core_ = std::make_unique<ServiceCore>(settings_, metrics_);
  ShardOptions options = settings_.Shard();
  options.on_moved = [core = core_.get()](std::span<const LogPositions> moved) {
    core->watchers.Moved(moved);
    core->claims.Poke();
  };
  options.on_group = [this](const GroupStats& group) { metrics_.Applied(group); };
  absl::StatusOr<std::unique_ptr<Shard>> shard = Shard::Open(std::move(options));
  if (!shard.ok()) return shard.status();
  core_->shard = *std::move(shard);
  core_->backup_desk = std::make_unique<BackupDesk>(*core_->shard, settings_.backup_folder);
  housekeeping_ = std::make_unique<Housekeeping>(*core_);
  gate_.Open(core_.get());
  server::Log(server::Level::kInfo, "the log is open",
              {{"folder", settings_.data}, {"incarnation", core_->shard->incarnation().value}});
  return absl::OkStatus();
}

absl::Status LogNode::Ready() const {
  const absl::StatusOr<ServiceCore*> core = gate_.ForWriting();
  if (!core.ok()) return core.status();
  return (*core)->shard->Writable();
}

absl::Status LogNode::Alive() const {
  if (!gate_.ForReading().ok() || gate_.draining()) return absl::OkStatus();
  return housekeeping_->Alive();
}

void LogNode::BeginDrain() {
  gate_.BeginDrain();
  core_->claims.BeginDrain();
  core_->streams.BeginDrain();
  core_->long_work_stop.request_stop();
}

void LogNode::FinishDrain(std::chrono::steady_clock::time_point deadline) {
  // Half of what is left, so that a consumer that does not read costs no one else their answer.
  const auto now = std::chrono::steady_clock::now();
  core_->streams.AwaitEnd(now + (deadline - now) / 2);
  housekeeping_->Stop();
  core_->Stop(now + (deadline - now) * 3 / 4);
}

}  // namespace sluice::log

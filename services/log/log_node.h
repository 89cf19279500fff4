// The log service as a component of a process: one shard, and the gRPC services over it. Public for
// mains: sluice-log has one, and so has sluice.
#pragma once

#include <prometheus/registry.h>

#include <chrono>
#include <memory>

#include "common/server/server.h"
#include "services/log/admin_service.h"
#include "services/log/catalog_service.h"
#include "services/log/compaction_service.h"
#include "services/log/housekeeping.h"
#include "services/log/log_service.h"
#include "services/log/metrics.h"
#include "services/log/service_core.h"
#include "services/log/settings.h"

namespace sluice::log {

class LogNode final : public server::Component {
 public:
  // `settings` are read when it starts; both must outlive it.
  LogNode(const LogSettings& settings, prometheus::Registry& registry);
  ~LogNode() override;

  void Register(grpc::ServerBuilder& builder) override;
  // FAILED_PRECONDITION if the data folder is in use or of a newer format; DATA_LOSS if it cannot
  // be read.
  absl::Status Start(const std::shared_ptr<grpc::Channel>& self) override;
  absl::Status Ready() const override;
  absl::Status Alive() const override;
  // Writes are refused, streams told to end, claims ended.
  void BeginDrain() override;
  // Waits for the streams, then closes the shard.
  void FinishDrain(std::chrono::steady_clock::time_point deadline) override;

 private:
  const LogSettings& settings_;
  LogMetrics metrics_;
  CoreGate gate_;
  LogService log_service_;
  CatalogService catalog_service_;
  CompactionService compaction_service_;
  AdminService admin_service_;
  // From Start on.
  std::unique_ptr<ServiceCore> core_;
  std::unique_ptr<Housekeeping> housekeeping_;
};

}  // namespace sluice::log

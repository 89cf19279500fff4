// The frontend as a part of a process: sluice-frontend (main.cc), or one of three in sluice. It
// keeps no state that matters: it can be killed at any moment.
#pragma once

#include <prometheus/registry.h>

#include <chrono>
#include <memory>

#include "absl/status/status.h"
#include "common/server/server.h"
#include "services/frontend/backend.h"
#include "services/frontend/metrics.h"
#include "services/frontend/services.h"
#include "services/frontend/settings.h"

namespace sluice::frontend {

class Frontend final : public server::Component {
 public:
  // Where the process's CatalogService comes from.
  enum class Catalog {
    // From here: passed through to the log.
    kPassedThrough,
    // From the log itself, which serves in this process.
    kElsewhere,
  };

  // Settings and registry must outlive this.
  Frontend(const FrontendSettings& settings, Catalog catalog, prometheus::Registry& registry);

  void Register(grpc::ServerBuilder& builder) override;
  absl::Status Start(const std::shared_ptr<grpc::Channel>& self) override;
  absl::Status Ready() const override;
  absl::Status Alive() const override;
  void BeginDrain() override;
  void FinishDrain(std::chrono::steady_clock::time_point deadline) override;

 private:
  const FrontendSettings& settings_;
  const Catalog catalog_;
  Metrics metrics_;
  FrontendService frontend_service_;
  CatalogService catalog_service_;
  // From here on: since Start.
  std::shared_ptr<grpc::Channel> log_;
  std::unique_ptr<ObjectStore> objects_;
  std::unique_ptr<Backend> backend_;
};

}  // namespace sluice::frontend

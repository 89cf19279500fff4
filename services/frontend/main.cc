// sluice-frontend: what applications talk to.
#include <prometheus/registry.h>

#include <memory>

#include "common/server/server.h"
#include "common/server/settings.h"
#include "services/frontend/frontend.h"
#include "services/frontend/settings.h"

int main(int argc, char** argv) {
  using sluice::frontend::Frontend;
  sluice::server::BlockStopSignals();
  sluice::server::Settings settings;
  sluice::server::ServerSettings server;
  server.Declare(settings, "127.0.0.1:7702", "127.0.0.1:7712");
  sluice::frontend::FrontendSettings frontend_settings;
  frontend_settings.Declare(settings, "127.0.0.1:7701");
  frontend_settings.store.Declare(settings);
  if (const auto status = sluice::server::ParseCommandLine(
          argc, argv, "sluice-frontend",
          "Serves writes and reads of applications: FrontendService and CatalogService.",
          settings)) {
    return *status;
  }
  const auto registry = std::make_shared<prometheus::Registry>();
  Frontend frontend(frontend_settings, Frontend::Catalog::kPassedThrough, *registry);
  return sluice::server::Run("sluice-frontend", server, registry, {&frontend});
}

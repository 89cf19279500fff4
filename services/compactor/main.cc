// sluice-compactor: turns the records of logs into segments.
#include <prometheus/registry.h>

#include <memory>

#include "common/server/server.h"
#include "services/compactor/compactor.h"
#include "services/compactor/settings.h"

int main(int argc, char** argv) {
  sluice::server::BlockStopSignals();
  sluice::server::Settings settings;
  sluice::server::ServerSettings server;
  server.Declare(settings, "127.0.0.1:7703", "127.0.0.1:7713");
  sluice::compactor::CompactorSettings compactor;
  compactor.Declare(settings, "127.0.0.1:7701");
  compactor.store.Declare(settings);
  if (const auto status = sluice::server::ParseCommandLine(
          argc, argv, "sluice-compactor", "Applies the logs of collections to segments.",
          settings)) {
    return *status;
  }
  const auto registry = std::make_shared<prometheus::Registry>();
  sluice::compactor::Compactor component(compactor, *registry);
  return sluice::server::Run("sluice-compactor", server, registry, {&component});
}

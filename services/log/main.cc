// sluice-log: the log service as a process of its own.
#include <prometheus/registry.h>

#include <memory>

#include "common/server/server.h"
#include "common/server/settings.h"
#include "services/log/log_node.h"

int main(int argc, char** argv) {
  sluice::server::BlockStopSignals();
  sluice::server::ServerSettings server_settings;
  sluice::log::LogSettings log_settings;
  sluice::server::Settings settings;
  server_settings.Declare(settings, "127.0.0.1:7701", "127.0.0.1:7711");
  log_settings.Declare(settings);
  const auto status = sluice::server::ParseCommandLine(
      argc, argv, "sluice-log", "The durable, ordered log of Sluice's collections.", settings,
      {{"--data", "log.data"}});
  if (status) return *status;
  const auto registry = std::make_shared<prometheus::Registry>();
  sluice::log::LogNode node(log_settings, *registry);
  return sluice::server::Run("sluice-log", server_settings, registry, {&node});
}

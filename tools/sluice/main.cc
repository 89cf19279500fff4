// sluice: the log, a compactor and a frontend in one process, on one port and one data folder. The
// same services as in processes of their own; only the wiring differs: in-process channels.
#include <prometheus/registry.h>

#include <memory>
#include <string>

#include "common/objects/settings.h"
#include "common/server/server.h"
#include "common/server/settings.h"
#include "services/compactor/compactor.h"
#include "services/compactor/settings.h"
#include "services/frontend/frontend.h"
#include "services/frontend/settings.h"
#include "services/log/log_node.h"
#include "services/log/settings.h"

namespace {

struct SluiceSettings {
  std::string data;
  std::string objects;
  sluice::ObjectSettings store;
  sluice::server::ServerSettings server;
  sluice::log::LogSettings log;
  sluice::compactor::CompactorSettings compactor;
  sluice::frontend::FrontendSettings frontend;

  void Declare(sluice::server::Settings& settings) {
    settings.Add("data", &data, "sluice-data",
                 "Folder that holds everything; made if it is not there. One process at a time");
    server.Declare(settings, "127.0.0.1:7700", "127.0.0.1:7710");
    log.Declare(settings);
    compactor.Declare(settings, "");
    frontend.Declare(settings, "");
    settings.Add("objects.place", &objects, "",
                 "Where segments are stored: a folder, or s3://BUCKET/PREFIX; empty means a folder "
                 "in `data`");
    store.Declare(settings);
    for (const char* decided_here :
         {"log.data", "compactor.log_address", "compactor.objects", "compactor.vector_cache",
          "frontend.log_address", "frontend.objects"}) {
      settings.Remove(decided_here);
    }
  }
  // To be called once `data` is known.
  void Place() {
    log.data = data + "/log";
    compactor.objects = objects.empty() ? data + "/objects" : objects;
    frontend.objects = compactor.objects;
    compactor.vector_cache = data + "/vectors";
    compactor.store = store;
    frontend.store = store;
  }
};

}  // namespace

int main(int argc, char** argv) {
  sluice::server::BlockStopSignals();
  sluice::server::Settings settings;
  SluiceSettings sluice_settings;
  sluice_settings.Declare(settings);
  if (const auto status = sluice::server::ParseCommandLine(
          argc, argv, "sluice",
          "Sluice in one process: log, compactor and frontend on one data folder.", settings,
          {{"--data", "data"}})) {
    return *status;
  }
  sluice_settings.Place();
  const auto registry = std::make_shared<prometheus::Registry>();
  sluice::log::LogNode log(sluice_settings.log, *registry);
  sluice::compactor::Compactor compactor(sluice_settings.compactor, *registry);
  sluice::frontend::Frontend frontend(sluice_settings.frontend,
                                      sluice::frontend::Frontend::Catalog::kElsewhere, *registry);
  // They drain in the reverse order: the frontend takes no new work, the compactor releases its
  // leases, the log is last.
  return sluice::server::Run("sluice", sluice_settings.server, registry,
                             {&log, &compactor, &frontend});
}

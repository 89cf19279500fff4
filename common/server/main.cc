// What the mains of all programs share: signals, the command line, Run.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "common/server/logging.h"
#include "common/server/server.h"

namespace sluice::server {
namespace {

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

std::optional<int> Fail(std::string_view program, absl::string_view message) {
  std::cerr << program << ": " << message << std::endl;
  return 2;
}

}  // namespace

void BlockStopSignals() {
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

std::optional<int> ParseCommandLine(int argc, char** argv, std::string_view program,
                                    std::string_view about, Settings& settings,
                                    const std::vector<Flag>& flags) {
  CLI::App app{std::string(about), std::string(program)};
  app.set_version_flag("--version",
                       absl::StrCat(std::string(program), " ", std::string(Version())));
  app.footer(
      "Each setting can also be given as an environment variable: server.drain_ms as "
      "SLUICE_SERVER_DRAIN_MS.");
  std::string config;
  bool print_config = false;
  app.add_option("--config", config, "YAML file with settings")->type_name("FILE");
  app.add_flag("--print-config", print_config,
               "Print all settings with the values in force, and end");
  std::vector<std::string> values(flags.size());
  std::vector<CLI::Option*> options;
  for (size_t i = 0; i < flags.size(); ++i) {
    options.push_back(
        app.add_option(flags[i].name, values[i], absl::StrCat("Sets ", flags[i].setting))
            ->type_name("VALUE"));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {  // --help, --version
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    return Fail(program, absl::StrCat(e.what(), " (--help lists the options)"));
  }
  if (const absl::Status loaded = settings.Load(config); !loaded.ok())
    return Fail(program, loaded.message());
  for (size_t i = 0; i < flags.size(); ++i) {
    if (options[i]->count() == 0) continue;
    const absl::Status set = settings.Set(flags[i].setting, values[i], flags[i].name);
    if (!set.ok()) return Fail(program, set.message());
  }
  if (print_config) {
    std::cout << settings.Print() << std::flush;
    return 0;
  }
  return std::nullopt;
}

int Run(std::string_view program, const ServerSettings& settings,
        const std::shared_ptr<prometheus::Registry>& registry,
        const std::vector<Component*>& components) {
  auto server = Server::Start(program, settings, registry, components);
  if (!server.ok()) {
    std::cerr << program << ": " << server.status().message() << std::endl;
    return 1;
  }
  std::cout << "ready grpc=" << (*server)->grpc_address() << " http=" << (*server)->http_address()
            << std::endl;
  const sigset_t signals = StopSignals();
  int signal = 0;
  while (sigwait(&signals, &signal) != 0) {
  }
  (*server)->Drain();
  return 0;
}

}  // namespace sluice::server

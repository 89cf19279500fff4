// What every Sluice process has around its service: a gRPC server with health, reflection and InfoService; an HTTP port with /metrics, /livez and
// /readyz; logging; an orderly stop on SIGTERM and SIGINT.
//
// A service is a Component. One process runs one (sluice-log, ...) or all three (sluice): the wiring differs, the services do not.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <grpcpp/channel.h>
#include <grpcpp/server_builder.h>
#include <prometheus/registry.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/server/settings.h"

namespace sluice::server {

// A service within a process. Register, Start, then any number of Ready and Alive, then BeginDrain, FinishDrain; destroyed after the gRPC server has stopped.
class Component {
 public:
  virtual ~Component() = default;
  // Adds its gRPC services.
  virtual void Register(grpc::ServerBuilder& builder) = 0;
  // Called once the server listens. `self` is an in-process channel to it.
  virtual absl::Status Start(const std::shared_ptr<grpc::Channel>& self) = 0;
  // OK if it can do useful work; else what is missing, for people.
  virtual absl::Status Ready() const = 0;
  // Whether its loops still turn.
  virtual absl::Status Alive() const = 0;
  // Takes no new work: calls that write answer DRAINING, streams end, claims stop. Returns at once.
  virtual void BeginDrain() = 0;
  // Finishes or releases what is held; returns by `deadline`.
  virtual void FinishDrain(std::chrono::steady_clock::time_point deadline) = 0;
};

// Settings that every process has, under `server.`.
struct ServerSettings {
  std::string grpc_address;  // server.grpc_address, default 127.0.0.1:0 replaced by each program's own port
  std::string http_address;  // server.http_address
  uint64_t drain_ms = 0;     // server.drain_ms
  std::string log_format;    // server.log_format: text (key=value) or json
  std::string log_level;     // server.log_level

  void Declare(Settings& settings, std::string default_grpc_address, std::string default_http_address);
};

// What a program's main does after its settings are loaded: builds the components' server, prints one line "ready grpc=ADDRESS http=ADDRESS" to standard output
// once it serves (with the ports the kernel picked), runs until SIGTERM or SIGINT, drains, and returns the exit status: 0 after an orderly stop, 1
// with a message on standard error if it could not start (port in use, data folder in use, ...). Signals must be blocked before any thread starts: call BlockStopSignals first in main.
void BlockStopSignals();
int Run(std::string_view program, const ServerSettings& settings, const std::shared_ptr<prometheus::Registry>& registry,
        const std::vector<Component*>& components);

// The command line that every program has: --config FILE, --print-config, --help, --version. Returns an exit status if the program is to end now.
// `declare` has been called on `settings` before.
std::optional<int> ParseCommandLine(int argc, char** argv, std::string_view program, std::string_view about, Settings& settings);

}  // namespace sluice::server

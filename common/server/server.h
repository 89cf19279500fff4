// What every Sluice process has around its service: a gRPC server with health, reflection and
// InfoService; an HTTP port with /metrics, /livez and /readyz; logging; an orderly stop on SIGTERM
// and SIGINT.
//
// A service is a Component. One process runs one (sluice-log, ...) or all three (sluice): the
// wiring differs, the services do not. A main is: BlockStopSignals, declare settings,
// ParseCommandLine, make the components, Run.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <prometheus/registry.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/server/settings.h"

namespace sluice::server {

// Largest gRPC message that servers and channels of ours take: an append's 16 MiB of records and
// what stands around them.
inline constexpr int kMaxMessageBytes = 32 << 20;

// A service within a process. Its life: constructed (cheap, cannot fail), Register, Start, then any
// number of Ready and Alive (from several threads, must return at once), BeginDrain, FinishDrain;
// destroyed after the gRPC server has stopped. If Start failed, nothing but the destructor follows.
class Component {
 public:
  virtual ~Component() = default;
  // Adds its gRPC services.
  virtual void Register(grpc::ServerBuilder& builder) = 0;
  // Opens what it needs and starts its loops. Called once the server listens: a call that arrives
  // before this has returned gets UNAVAILABLE from the component. `self` is an in-process channel
  // to the server.
  virtual absl::Status Start(const std::shared_ptr<grpc::Channel>& self) = 0;
  // OK if it can do useful work; else what is missing, for people.
  virtual absl::Status Ready() const = 0;
  // OK if its loops still turn; else which one does not.
  virtual absl::Status Alive() const = 0;
  // Takes no new work: calls that write answer DRAINING, streams end, claims stop. Returns at once.
  virtual void BeginDrain() = 0;
  // Finishes or releases what is held; returns by `deadline`.
  virtual void FinishDrain(std::chrono::steady_clock::time_point deadline) = 0;
};

// Settings that every process has, under `server.`.
struct ServerSettings {
  std::string grpc_address;
  std::string http_address;
  uint64_t drain_ms = 0;
  uint64_t keepalive_ms = 30'000;
  uint64_t keepalive_timeout_ms = 10'000;
  uint64_t max_connection_age_seconds = 1800;
  uint64_t max_connection_age_grace_seconds = 300;
  std::string log_format;
  std::string log_level;

  void Declare(Settings& settings, std::string default_grpc_address,
               std::string default_http_address);
};

// The version of the software, as in `--version`.
std::string_view Version();

class HttpServer;
class InfoService;

// The server of one process, for mains (through Run) and for tests. Thread-safe once started. The
// components are not owned and must outlive it.
class Server {
 public:
  // Listens, then starts the components in order. On error (port in use, a component that cannot
  // start) everything is stopped again.
  static absl::StatusOr<std::unique_ptr<Server>> Start(
      std::string_view program, const ServerSettings& settings,
      const std::shared_ptr<prometheus::Registry>& registry,
      const std::vector<Component*>& components);
  // Drains, if that has not happened yet.
  ~Server();

  // HOST:PORT, with the ports the kernel picked.
  const std::string& grpc_address() const { return grpc_address_; }
  const std::string& http_address() const;
  // An in-process channel.
  std::shared_ptr<grpc::Channel> Channel();
  // Not ready; then the components drain one by one, in the reverse of their order, so that each
  // can still use those before it; then the gRPC server stops. Returns within drain_ms, if the
  // components keep their deadlines. To be called by one thread.
  void Drain();

 private:
  enum class Phase { kStarting, kServing, kDraining };

  Server(const ServerSettings& settings, const std::vector<Component*>& components);
  absl::Status Listen(std::string_view program, const ServerSettings& settings,
                      const std::shared_ptr<prometheus::Registry>& registry);
  absl::Status StartComponents();
  absl::Status Live() const;
  absl::Status Ready() const;
  // Keeps gRPC health as Ready says.
  void WatchReadiness(const std::stop_token& stop);

  const std::chrono::milliseconds drain_;
  const std::vector<Component*> components_;
  std::atomic<Phase> phase_ = Phase::kStarting;
  size_t started_components_ = 0;
  std::string grpc_address_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<InfoService> info_;
  std::unique_ptr<grpc::Server> grpc_;
  std::jthread watcher_;
};

// Blocks SIGTERM and SIGINT in this thread and those it starts, for Run to wait for. To be called
// first in main.
void BlockStopSignals();

// The command line that every program has: --config FILE, --print-config, --help, --version, and
// `flags`. Loads the settings. Returns an exit status if the program is to end now: 0, or 2 with a
// message on standard error.
struct Flag {
  std::string name;     // "--data"
  std::string setting;  // the setting it sets
};
std::optional<int> ParseCommandLine(int argc, char** argv, std::string_view program,
                                    std::string_view about, Settings& settings,
                                    const std::vector<Flag>& flags = {});

// Starts the server, prints one line "ready grpc=HOST:PORT http=HOST:PORT" to standard output once
// every component has started, runs until SIGTERM or SIGINT, drains, and returns the exit status: 0
// after an orderly stop, 1 with a message on standard error if it could not start.
int Run(std::string_view program, const ServerSettings& settings,
        const std::shared_ptr<prometheus::Registry>& registry,
        const std::vector<Component*>& components);

}  // namespace sluice::server

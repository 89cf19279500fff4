#include "common/server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>

#include <condition_variable>
#include <mutex>

#include "absl/synchronization/mutex.h"
#include "common/errors/errors.h"
#include "common/server/address.h"
#include "common/server/http.h"
#include "common/server/info_service.h"
#include "common/server/logging.h"
#include "common/server/metrics.h"

namespace sluice::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kReadinessInterval(200);
// Of the time to drain, what is kept for the gRPC server itself: its last answers and cancelling
// what did not end.
constexpr int kGrpcShareOfDrain = 10;

constexpr int kSecond = 1000;
constexpr int kMaxStreamsPerConnection = 1000;

// Extensions that every gRPC server built in this process has.
void InstallExtensions() {
  static std::once_flag once;
  std::call_once(once, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    // Debian's abseil looks for deadlocks at each lock of gRPC's, as a debug build does: 5 % of a
    // server's processor time.
    absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  });
}

void ConfigureConnections(const ServerSettings& settings, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetMaxSendMessageSize(kMaxMessageBytes);
  const auto add_millis = [&builder](const char* name, uint64_t millis) {
    builder.AddChannelArgument(name, static_cast<int>(millis));
  };
  add_millis(GRPC_ARG_KEEPALIVE_TIME_MS, settings.keepalive_ms);
  add_millis(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, settings.keepalive_timeout_ms);
  // Clients may keep an idle stream or connection alive as often as that.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5 * kSecond);
  add_millis(GRPC_ARG_MAX_CONNECTION_AGE_MS, settings.max_connection_age_seconds * kSecond);
  add_millis(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
             settings.max_connection_age_grace_seconds * kSecond);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection);
  // Without this two servers share a port, each with some of the connections, and neither says so.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Only reflection is a synchronous service: it needs no more threads than these.
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 2);
}

}  // namespace

std::string_view Version() { return SLUICE_VERSION; }

void ServerSettings::Declare(Settings& settings, std::string default_grpc_address,
                             std::string default_http_address) {
  settings.Add("server.grpc_address", &grpc_address, std::move(default_grpc_address),
               "Where gRPC listens, HOST:PORT; with port 0 the kernel picks one");
  settings.Add("server.http_address", &http_address, std::move(default_http_address),
               "Where /metrics, /livez and /readyz listen, HOST:PORT");
  settings.Add("server.drain_ms", &drain_ms, 20'000, 100, 3'600'000,
               "Longest orderly stop after SIGTERM; keep it below the orchestrator's grace period");
  settings.Add(
      "server.keepalive_ms", &keepalive_ms, 30'000, 100, 3'600'000,
      "A connection on which nothing came for this long is asked whether it is still there");
  settings.Add("server.keepalive_timeout_ms", &keepalive_timeout_ms, 10'000, 100, 600'000,
               "A connection that does not answer for this long is closed, with its calls");
  settings.Add("server.max_connection_age_seconds", &max_connection_age_seconds, 1800, 1, 2'000'000,
               "Clients are told to connect anew after this long, more or less by a tenth, so that "
               "they find new servers");
  settings.Add("server.max_connection_age_grace_seconds", &max_connection_age_grace_seconds, 300, 1,
               2'000'000, "Calls that still run this long after that are cut; streams resume");
  settings.AddChoice("server.log_format", &log_format, "text", {"text", "json"},
                     "Form of log lines: key=value text, or JSON");
  settings.AddChoice("server.log_level", &log_level, "info", {"debug", "info", "warning", "error"},
                     "Least severe log lines that are written");
}

Server::Server(const ServerSettings& settings, const std::vector<Component*>& components)
    : drain_(settings.drain_ms), components_(components) {}

Server::~Server() { Drain(); }

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    std::string_view program, const ServerSettings& settings,
    const std::shared_ptr<prometheus::Registry>& registry,
    const std::vector<Component*>& components) {
  SetUpLogging(settings.log_format, settings.log_level);
  std::unique_ptr<Server> server(new Server(settings, components));
  SLUICE_RETURN_IF_ERROR(server->Listen(program, settings, registry));
  SLUICE_RETURN_IF_ERROR(server->StartComponents());
  return server;
}

absl::Status Server::Listen(std::string_view program, const ServerSettings& settings,
                            const std::shared_ptr<prometheus::Registry>& registry) {
  SLUICE_ASSIGN_OR_RETURN(Address address, ParseAddress(settings.grpc_address));
  SLUICE_ASSIGN_OR_RETURN(http_,
                          HttpServer::Start(
                              settings.http_address, {registry, std::make_shared<ProcessMetrics>()},
                              [this] { return Live(); }, [this] { return Ready(); }));
  InstallExtensions();
  info_ = std::make_unique<InfoService>(program);
  grpc::ServerBuilder builder;
  ConfigureConnections(settings, builder);
  builder.RegisterService(info_.get());
  for (Component* component : components_) component->Register(builder);
  int port = 0;
  builder.AddListeningPort(address.ToString(), grpc::InsecureServerCredentials(), &port);
  grpc_ = builder.BuildAndStart();
  if (grpc_ == nullptr) return CannotListen(address);
  grpc_->GetHealthCheckService()->SetServingStatus(false);
  address.port = static_cast<uint16_t>(port);
  grpc_address_ = address.ToString();
  return absl::OkStatus();
}

absl::Status Server::StartComponents() {
  for (Component* component : components_) {
    SLUICE_RETURN_IF_ERROR(component->Start(Channel()));
    ++started_components_;
  }
  phase_ = Phase::kServing;
  watcher_ = std::jthread([this](const std::stop_token& stop) { WatchReadiness(stop); });
  return absl::OkStatus();
}

const std::string& Server::http_address() const { return http_->address(); }

std::shared_ptr<grpc::Channel> Server::Channel() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  return grpc_->InProcessChannel(arguments);
}

absl::Status Server::Live() const {
  // Before and after, nothing turns that could be stuck without Start or FinishDrain being stuck:
  // those have deadlines of their own.
  if (phase_ != Phase::kServing) return absl::OkStatus();
  for (const Component* component : components_) SLUICE_RETURN_IF_ERROR(component->Alive());
  return absl::OkStatus();
}

absl::Status Server::Ready() const {
  switch (phase_) {
    case Phase::kStarting:
      return absl::UnavailableError("starting");
    case Phase::kDraining:
      return absl::UnavailableError("draining");
    case Phase::kServing:
      break;
  }
  for (const Component* component : components_) SLUICE_RETURN_IF_ERROR(component->Ready());
  return absl::OkStatus();
}

void Server::WatchReadiness(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  bool was_ready = false;
  do {
    const absl::Status ready = Ready();
    if (ready.ok() != was_ready) {
      was_ready = ready.ok();
      grpc_->GetHealthCheckService()->SetServingStatus(was_ready);
      if (was_ready) {
        Log(Level::kInfo, "ready");
      } else {
        Log(Level::kWarn, "not ready", {{"reason", ready.message()}});
      }
    }
  } while (
      !stopped.wait_for(lock, stop, kReadinessInterval, [&] { return stop.stop_requested(); }));
}

void Server::Drain() {
  if (grpc_ == nullptr) return;
  const auto began = steady_clock::now();
  const auto deadline = began + drain_;
  phase_ = Phase::kDraining;
  if (watcher_.joinable()) {
    watcher_.request_stop();
    watcher_.join();
  }
  grpc_->GetHealthCheckService()->SetServingStatus(false);
  Log(Level::kInfo, "draining", {{"drain_ms", drain_.count()}});
  // Each component gets an equal share of the time that those before it have left.
  const auto components_deadline = deadline - drain_ / kGrpcShareOfDrain;
  for (size_t left = started_components_; left > 0; --left) {
    Component* component = components_[left - 1];
    component->BeginDrain();
    const auto now = steady_clock::now();
    component->FinishDrain(
        now + std::max(steady_clock::duration::zero(), components_deadline - now) / left);
  }
  // gRPC takes wall-clock deadlines.
  grpc_->Shutdown(std::chrono::system_clock::now() + (deadline - steady_clock::now()));
  grpc_->Wait();
  grpc_.reset();
  const auto took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - began);
  Log(Level::kInfo, "stopped", {{"took_ms", took.count()}});
}

}  // namespace sluice::server

#include "services/frontend/frontend.h"

#include <utility>

#include "common/client/client.h"
#include "common/errors/errors.h"
#include "common/server/cgroup.h"

namespace sluice::frontend {
namespace {

// Tasks that wait, and none begun for this long: the executor's threads are stuck.
constexpr std::chrono::seconds kStuck{60};

}  // namespace

Frontend::Frontend(const FrontendSettings& settings, Catalog catalog,
                   prometheus::Registry& registry)
    : settings_(settings), catalog_(catalog), metrics_(registry) {}

void Frontend::Register(grpc::ServerBuilder& builder) {
  builder.RegisterService(&frontend_service_);
  if (catalog_ == Catalog::kPassedThrough) builder.RegisterService(&catalog_service_);
}

absl::Status Frontend::Start(const std::shared_ptr<grpc::Channel>& self) {
  if (settings_.log_address.empty() && catalog_ == Catalog::kPassedThrough) {
    return absl::InvalidArgumentError("frontend.log_address is required");
  }
  SLUICE_ASSIGN_OR_RETURN(objects_,
                          OpenObjectStore(settings_.objects, settings_.store, "frontend"));
  SLUICE_ASSIGN_OR_RETURN(embed::Embedders embedders,
                          embed::Embedders::Create(settings_.embedders));
  if (settings_.log_address.empty()) {
    log_ = self;
  } else {
    log_ = client::Connect(settings_.log_address);
    log_->GetState(true);  // begins to connect
  }
  const uint64_t threads = settings_.read_threads
                               ? settings_.read_threads
                               : std::max<uint64_t>(2, server::ProcessAllowance().cpus);
  backend_ = std::make_unique<Backend>(
      log_, *objects_, std::move(embedders),
      BackendOptions{.read_threads = threads,
                     .max_pending_reads = settings_.max_pending_reads,
                     .max_pending_write_bytes = settings_.max_pending_write_bytes,
                     .max_view_bytes = settings_.max_view_bytes,
                     .timeout = std::chrono::milliseconds(settings_.timeout_ms)},
      metrics_);
  frontend_service_.Serve(backend_.get());
  catalog_service_.Serve(backend_.get());
  return absl::OkStatus();
}

absl::Status Frontend::Ready() const {
  // Asking also makes an idle channel connect.
  if (settings_.log_address.empty() || log_->GetState(true) == GRPC_CHANNEL_READY) {
    return absl::OkStatus();
  }
  return absl::UnavailableError("not connected to the log at " + settings_.log_address);
}

absl::Status Frontend::Alive() const {
  if (backend_->executor.StuckFor() < kStuck) return absl::OkStatus();
  return absl::InternalError("the threads for reads are stuck");
}

void Frontend::BeginDrain() { backend_->gate.Close(); }

void Frontend::FinishDrain(std::chrono::steady_clock::time_point deadline) {
  backend_->gate.WaitUntilEmpty(deadline);
}

}  // namespace sluice::frontend

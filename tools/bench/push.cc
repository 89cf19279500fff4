#include "tools/bench/push.h"

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/client/client.h"
#include "common/errors/errors.h"
#include "tests/support/process.h"
#include "tools/bench/ceilings.h"
#include "tools/bench/load.h"
#include "tools/bench/payload.h"

namespace sluice::bench {
namespace {

// One server that answers PushLogs, and a load on it.
class PushTarget {
 public:
  PushTarget(std::shared_ptr<grpc::Channel> channel, std::string collection_id)
      : stub_(v1::LogService::NewStub(channel)), collection_id_(std::move(collection_id)) {}

  LoadResult Run(size_t in_flight, size_t records, const PushBenchOptions& options) {
    Prepare(in_flight, records);
    return RunClosedLoop(
        in_flight, options.warm_up, options.measured,
        [this](size_t slot, std::function<void(bool)> done) { Start(slot, std::move(done)); });
  }
  // Of one push, as encoded.
  size_t push_bytes() const { return calls_[0].request.ByteSizeLong(); }
  const std::string& last_error() const { return last_error_; }

 private:
  struct Call {
    v1::PushLogsRequest request;
    v1::PushLogsResponse response;
    std::unique_ptr<grpc::ClientContext> context;
  };

  void Prepare(size_t in_flight, size_t records) {
    std::vector<v1::PushLogsRequest> pushes =
        MakePushes({}, collection_id_, in_flight, records, /*seed=*/records);
    calls_ = std::vector<Call>(in_flight);
    for (size_t i = 0; i < in_flight; ++i) calls_[i].request.Swap(&pushes[i]);
  }

  void Start(size_t slot, std::function<void(bool)> done) {
    Call& call = calls_[slot];
    call.context = std::make_unique<grpc::ClientContext>();
    call.request.set_request_id(Uuid::TimeOrdered(NowMicros() / 1000).ToString());
    stub_->async()->PushLogs(call.context.get(), &call.request, &call.response,
                             [this, done = std::move(done)](const grpc::Status& status) {
                               if (!status.ok()) last_error_ = status.error_message();
                               done(status.ok());
                             });
  }

  std::unique_ptr<v1::LogService::Stub> stub_;
  const std::string collection_id_;
  std::vector<Call> calls_;
  std::string last_error_;
};

// A new collection, so that no round reads or waits for what another left.
absl::StatusOr<std::string> NewCollection(const std::shared_ptr<grpc::Channel>& channel) {
  v1::CreateCollectionRequest request;
  request.set_name("bench-" + Uuid::Random().ToString());
  request.mutable_schema()->set_dimension(Payload{}.dimension);
  request.mutable_settings()->set_max_backlog_bytes(uint64_t{1} << 40);
  SLUICE_ASSIGN_OR_RETURN(const v1::CreateCollectionResponse created,
                          client::Catalog(channel).Create(request));
  return created.collection().id();
}

struct Workload {
  const char* name;
  size_t in_flight;
  size_t records;
};
constexpr Workload kBatch100{"batch100", 16, 100};
constexpr Workload kSingle{"single", 512, 1};
constexpr Workload kAlone{"alone", 1, 1};

nlohmann::json Raw(const LoadResult& result, size_t push_bytes) {
  return {{"pushes_per_second", result.calls_per_second()},
          {"bytes_per_second", result.calls_per_second() * static_cast<double>(push_bytes)},
          {"p50_us", result.latency_us(0.5)},
          {"p99_us", result.latency_us(0.99)}};
}

}  // namespace

absl::StatusOr<nlohmann::json> BenchPush(const PushBenchOptions& options) {
  SLUICE_ASSIGN_OR_RETURN(
      auto echo_server,
      testing::Process::Start({.program = "/proc/self/exe", .arguments = {"--serve-echo"}}));
  SLUICE_ASSIGN_OR_RETURN(
      auto log_server, testing::Process::Start(
                           {.program = testing::BinaryPath("sluice-log"),
                            .environment = {{"SLUICE_LOG_DATA", (options.folder / "log").string()},
                                            {"SLUICE_SERVER_GRPC_ADDRESS", "127.0.0.1:0"},
                                            {"SLUICE_SERVER_HTTP_ADDRESS", "127.0.0.1:0"}}}));
  PushTarget echo(client::Connect(echo_server->grpc_address()),
                  CollectionId(Uuid::Random()).ToString());

  nlohmann::json raw = nlohmann::json::array();
  std::vector<double> batch_over_echo, batch_over_file, single_over_echo, alone_excess;
  for (int round = 0; round < options.rounds; ++round) {
    nlohmann::json figures;
    LoadResult of_echo, of_push;
    size_t push_bytes = 0;
    // Each workload runs on the echo and on the log back to back, so that the machine's drift
    // touches both.
    const auto measure = [&](const Workload& w) -> absl::Status {
      std::fprintf(stderr, "push: round %d of %d: %s\n", round + 1, options.rounds, w.name);
      const auto channel = client::Connect(log_server->grpc_address());
      SLUICE_ASSIGN_OR_RETURN(const std::string collection, NewCollection(channel));
      PushTarget log(channel, collection);
      of_echo = echo.Run(w.in_flight, w.records, options);
      of_push = log.Run(w.in_flight, w.records, options);
      if (of_echo.failures) return absl::InternalError("echo failed: " + echo.last_error());
      if (of_push.failures) return absl::InternalError("push failed: " + log.last_error());
      push_bytes = log.push_bytes();
      figures[w.name] = {{"echo", Raw(of_echo, push_bytes)}, {"push", Raw(of_push, push_bytes)}};
      return absl::OkStatus();
    };

    SLUICE_RETURN_IF_ERROR(measure(kBatch100));
    SLUICE_ASSIGN_OR_RETURN(const FileLoop file,
                            BestWriteAndSync(options.folder, options.measured / 8));
    const double push_bytes_per_second =
        of_push.calls_per_second() * static_cast<double>(push_bytes);
    batch_over_echo.push_back(of_push.calls_per_second() / of_echo.calls_per_second());
    batch_over_file.push_back(push_bytes_per_second / file.bytes_per_second);
    figures["file"] = {{"block_bytes", file.block_bytes},
                       {"bytes_per_second", file.bytes_per_second}};

    SLUICE_RETURN_IF_ERROR(measure(kSingle));
    single_over_echo.push_back(of_push.calls_per_second() / of_echo.calls_per_second());

    SLUICE_RETURN_IF_ERROR(measure(kAlone));
    SLUICE_ASSIGN_OR_RETURN(const FileLoop lone,
                            WriteAndSync(options.folder, push_bytes, options.measured / 4));
    alone_excess.push_back((of_push.latency_us(0.5) - of_echo.latency_us(0.5)) / lone.p50_us);
    figures["fdatasync"] = {{"block_bytes", lone.block_bytes}, {"p50_us", lone.p50_us}};
    raw.push_back(std::move(figures));
  }
  return nlohmann::json{{"push_batch100_over_echo", Median(batch_over_echo)},
                        {"push_batch100_over_file", Median(batch_over_file)},
                        {"push_single_over_echo", Median(single_over_echo)},
                        {"push_alone_excess_fdatasync", Median(alone_excess)},
                        {"raw", std::move(raw)}};
}

}  // namespace sluice::bench

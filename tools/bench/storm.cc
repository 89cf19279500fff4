// The group `storm`: what one collection's flood does to the pushes of the others.
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/client/client.h"
#include "common/errors/errors.h"
#include "tools/bench/group.h"
#include "tools/bench/load.h"
#include "tools/bench/log_process.h"
#include "tools/bench/open_loop.h"
#include "tools/bench/payload.h"
#include "tools/bench/pushes.h"

namespace sluice::bench {
namespace {

// The others: their pushes have one record each.
constexpr size_t kOthers = 16;
constexpr double kOthersPushesPerSecond = 500;
// The flood, about 165 MB/s, by the client that waits as long as it is told to and tries again.
constexpr double kFloodPushesPerSecond = 1000;
constexpr size_t kFloodRecordsAPush = 100;
constexpr size_t kFloodInFlight = 256;

// Floods a collection from construction to destruction.
class Flood {
 public:
  Flood(const std::shared_ptr<grpc::Channel>& channel, const std::string& collection)
      : log_(channel),
        requests_(MakePushes({}, collection, kFloodInFlight, kFloodRecordsAPush, /*seed=*/7)) {
    thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
  }
  ~Flood() {
    thread_.request_stop();
    thread_.join();
  }

  size_t accepted() const { return accepted_; }
  size_t given_up() const { return given_up_; }

 private:
  void Run(const std::stop_token& stop) {
    const auto turn = std::chrono::milliseconds(100);
    while (!stop.stop_requested()) {
      RunOpenLoop({.calls_per_second = kFloodPushesPerSecond,
                   .measured = turn,
                   .most_in_flight = kFloodInFlight},
                  [this](size_t slot, std::function<void(bool)> done) {
                    log_.PushAsync(requests_[slot],
                                   [this, done = std::move(done)](const auto& response) {
                                     ++(response.ok() ? accepted_ : given_up_);
                                     done(response.ok());
                                   });
                  });
    }
  }

  client::Log log_;
  const std::vector<v1::PushLogsRequest> requests_;
  std::atomic<size_t> accepted_ = 0;
  std::atomic<size_t> given_up_ = 0;
  std::jthread thread_;
};

}  // namespace

absl::StatusOr<Figures> BenchStorm(const BenchOptions& options) {
  SLUICE_ASSIGN_OR_RETURN(auto log, StartLog(options.folder / "storm"));
  const auto channel = client::Connect(log->grpc_address());
  std::vector<std::string> others;
  for (size_t i = 0; i < kOthers; ++i) {
    SLUICE_ASSIGN_OR_RETURN(others.emplace_back(), NewCollection(channel));
  }
  const OpenLoop loop{.calls_per_second = kOthersPushesPerSecond,
                      .warm_up = options.warm_up,
                      .measured = 2 * options.measured};
  Pushes pushes(channel, others, loop.most_in_flight, 1);
  std::vector<double> ratios;
  Figures raw = Figures::array();
  for (int round = 1; round <= options.rounds; ++round) {
    Progress("storm", "round " + std::to_string(round) + " of " + std::to_string(options.rounds));
    const LoadResult quiet = RunOpenLoop(loop, pushes.start());
    SLUICE_ASSIGN_OR_RETURN(const std::string flooded, NewCollection(channel));
    LoadResult storm;
    size_t accepted = 0;
    size_t given_up = 0;
    {
      const Flood flood(client::Connect(log->grpc_address()), flooded);
      storm = RunOpenLoop(loop, pushes.start());
      accepted = flood.accepted();
      given_up = flood.given_up();
    }
    if (quiet.failures + storm.failures) {
      return absl::InternalError("push failed: " + pushes.last_error());
    }
    const double seconds = std::chrono::duration<double>(loop.warm_up + loop.measured).count();
    ratios.push_back(storm.latency_us(0.99) / quiet.latency_us(0.99));
    raw.push_back({{"quiet_p50_us", quiet.latency_us(0.5)},
                   {"quiet_p99_us", quiet.latency_us(0.99)},
                   {"storm_p50_us", storm.latency_us(0.5)},
                   {"storm_p99_us", storm.latency_us(0.99)},
                   {"others_pushes_per_second", kOthersPushesPerSecond},
                   {"flood_pushes_per_second_offered", kFloodPushesPerSecond},
                   {"flood_records_a_push", kFloodRecordsAPush},
                   {"flood_pushes_per_second_accepted", static_cast<double>(accepted) / seconds},
                   {"flood_pushes_given_up", given_up}});
  }
  return Figures{{"storm_p99_over_quiet", Median(ratios)}, {"raw", std::move(raw)}};
}

}  // namespace sluice::bench

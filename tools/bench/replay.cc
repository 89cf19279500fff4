// The group `replay`: how long a log that was killed at full rate takes until it accepts a push
// again.
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "common/client/client.h"
#include "common/errors/errors.h"
#include "tools/bench/group.h"
#include "tools/bench/load.h"
#include "tools/bench/log_process.h"
#include "tools/bench/payload.h"
#include "tools/bench/pushes.h"

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kInFlight = 16;
constexpr size_t kRecordsAPush = 100;

}  // namespace

absl::StatusOr<Figures> BenchReplay(const BenchOptions& options) {
  const std::filesystem::path folder = options.folder / "replay";
  std::vector<double> seconds;
  Figures raw = Figures::array();
  for (int round = 1; round <= options.rounds; ++round) {
    Progress("replay", "round " + std::to_string(round) + " of " + std::to_string(options.rounds));
    SLUICE_ASSIGN_OR_RETURN(auto log, StartLog(folder));
    SLUICE_ASSIGN_OR_RETURN(const std::string collection,
                            NewCollection(client::Connect(log->grpc_address())));
    LoadResult pushed;
    {
      Pushes pushes(client::Connect(log->grpc_address()), {collection}, kInFlight, kRecordsAPush);
      // The kill comes in the middle of the load: pushes that fail then end it.
      std::jthread killer([&] {
        std::this_thread::sleep_for(options.warm_up + options.measured);
        log->Kill();
      });
      pushed = RunClosedLoop(kInFlight, options.warm_up, 2 * options.measured, pushes.start());
    }
    const uint64_t journal_bytes = DiskBytes(folder / "journal");
    DropPages(folder);
    const Clock::time_point began = Clock::now();
    SLUICE_ASSIGN_OR_RETURN(log, StartLog(folder));
    const double ready = std::chrono::duration<double>(Clock::now() - began).count();
    v1::PushLogsRequest push = MakePushes({}, collection, 1, 1, /*seed=*/1)[0];
    SLUICE_RETURN_IF_ERROR(client::Log(client::Connect(log->grpc_address())).Push(push).status());
    seconds.push_back(std::chrono::duration<double>(Clock::now() - began).count());
    raw.push_back({{"seconds", seconds.back()},
                   {"ready_seconds", ready},
                   {"pushes_before_the_kill", pushed.latencies_us.size()},
                   {"journal_bytes", journal_bytes}});
  }
  return Figures{{"replay_s", Median(seconds)}, {"raw", std::move(raw)}};
}

}  // namespace sluice::bench

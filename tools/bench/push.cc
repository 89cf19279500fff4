// The group `push`: durable pushes over two ceilings, an echo that stores nothing and a bare
// write + fdatasync loop.
#include <memory>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "common/client/client.h"
#include "common/errors/errors.h"
#include "tools/bench/ceilings.h"
#include "tools/bench/group.h"
#include "tools/bench/load.h"
#include "tools/bench/log_process.h"
#include "tools/bench/pushes.h"
#include "tools/bench/rocks_loop.h"

namespace sluice::bench {
namespace {

struct Workload {
  const char* name;
  size_t in_flight;
  size_t records;
};
constexpr Workload kBatch100{"batch100", 16, 100};
constexpr Workload kSingle{"single", 512, 1};
constexpr Workload kAlone{"alone", 1, 1};
// About one push of 100 records.
constexpr size_t kRocksValueBytes = 160 << 10;

Figures Raw(const LoadResult& result, size_t push_bytes) {
  return {{"pushes_per_second", result.calls_per_second()},
          {"bytes_per_second", result.calls_per_second() * static_cast<double>(push_bytes)},
          {"p50_us", result.latency_us(0.5)},
          {"p99_us", result.latency_us(0.99)}};
}

}  // namespace

absl::StatusOr<Figures> BenchPush(const BenchOptions& options) {
  SLUICE_ASSIGN_OR_RETURN(auto echo_server, StartSelf({"--serve-echo"}));
  SLUICE_ASSIGN_OR_RETURN(auto log_server, StartLog(options.folder / "log"));
  const auto echo_channel = client::Connect(echo_server->grpc_address());
  const std::string anywhere = CollectionId(Uuid::Random()).ToString();

  Figures rounds = Figures::array();
  std::vector<double> batch_over_echo, batch_over_file, single_over_echo, alone_excess;
  for (int round = 0; round < options.rounds; ++round) {
    Figures figures;
    LoadResult of_echo, of_push;
    size_t push_bytes = 0;
    // Each workload runs on the echo and on the log back to back, so that the machine's drift
    // touches both.
    const auto measure = [&](const Workload& w) -> absl::Status {
      Progress("push", "round " + std::to_string(round + 1) + " of " +
                           std::to_string(options.rounds) + ": " + w.name);
      const auto channel = client::Connect(log_server->grpc_address());
      // A new collection, so that no round reads or waits for what another left.
      SLUICE_ASSIGN_OR_RETURN(const std::string collection, NewCollection(channel));
      Pushes echo(echo_channel, {anywhere}, w.in_flight, w.records);
      Pushes log(channel, {collection}, w.in_flight, w.records);
      of_echo = RunClosedLoop(w.in_flight, options.warm_up, options.measured, echo.start());
      of_push = RunClosedLoop(w.in_flight, options.warm_up, options.measured, log.start());
      if (of_echo.failures) return absl::InternalError("echo failed: " + echo.last_error());
      if (of_push.failures) return absl::InternalError("push failed: " + log.last_error());
      push_bytes = log.push_bytes();
      figures[w.name] = {{"echo", Raw(of_echo, push_bytes)}, {"push", Raw(of_push, push_bytes)}};
      figures[w.name]["push"]["overloaded"] = log.overloaded();
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
    rounds.push_back(std::move(figures));
  }
  Progress("push", "a bare RocksDB loop, for information");
  SLUICE_ASSIGN_OR_RETURN(const Figures rocks,
                          BestRocksBatches(options.folder, kRocksValueBytes, options.measured / 8));
  return Figures{{"push_batch100_over_echo", Median(batch_over_echo)},
                 {"push_batch100_over_file", Median(batch_over_file)},
                 {"push_single_over_echo", Median(single_over_echo)},
                 {"push_alone_excess_fdatasync", Median(alone_excess)},
                 {"raw", {{"rounds", std::move(rounds)}, {"rocksdb", rocks}}}};
}

}  // namespace sluice::bench

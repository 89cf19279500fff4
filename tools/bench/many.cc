// The group `many`: pushes to very many collections in turn over pushes to one.
#include <string>
#include <vector>

#include "common/client/client.h"
#include "common/errors/errors.h"
#include "tools/bench/group.h"
#include "tools/bench/load.h"
#include "tools/bench/log_process.h"
#include "tools/bench/pushes.h"

namespace sluice::bench {
namespace {

constexpr size_t kCollections = 100'000;
constexpr size_t kInFlight = 512;

}  // namespace

absl::StatusOr<Figures> BenchMany(const BenchOptions& options) {
  const std::filesystem::path folder = options.folder / "many";
  const size_t count = options.Sized(kCollections);
  Progress("many", "making " + std::to_string(count) + " collections");
  SLUICE_ASSIGN_OR_RETURN(const std::vector<std::string> collections,
                          MakeCollections(folder, count, WithoutBacklogLimit()));
  SLUICE_ASSIGN_OR_RETURN(auto log, StartLog(folder));
  const auto channel = client::Connect(log->grpc_address());
  Pushes to_many(channel, collections, kInFlight, 1);
  std::vector<double> ratios;
  Figures raw = Figures::array();
  for (int round = 1; round <= options.rounds; ++round) {
    Progress("many", "round " + std::to_string(round) + " of " + std::to_string(options.rounds));
    SLUICE_ASSIGN_OR_RETURN(const std::string collection, NewCollection(channel));
    Pushes to_one(channel, {collection}, kInFlight, 1);
    const LoadResult one =
        RunClosedLoop(kInFlight, options.warm_up, options.measured, to_one.start());
    if (one.failures) return absl::InternalError("push failed: " + to_one.last_error());
    const LoadResult many =
        RunClosedLoop(kInFlight, options.warm_up, options.measured, to_many.start());
    if (many.failures) return absl::InternalError("push failed: " + to_many.last_error());
    ratios.push_back(many.calls_per_second() / one.calls_per_second());
    raw.push_back({{"collections", count},
                   {"many_pushes_per_second", many.calls_per_second()},
                   {"many_p99_us", many.latency_us(0.99)},
                   {"one_pushes_per_second", one.calls_per_second()},
                   {"one_p99_us", one.latency_us(0.99)}});
  }
  return Figures{{"many_collections_over_one", Median(ratios)}, {"raw", std::move(raw)}};
}

}  // namespace sluice::bench

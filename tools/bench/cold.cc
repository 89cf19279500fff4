// The group `cold`: what very many collections cost that nobody writes, and how the one that is
// written is found among them.
#include <algorithm>
#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "common/client/client.h"
#include "common/errors/errors.h"
#include "tools/bench/group.h"
#include "tools/bench/load.h"
#include "tools/bench/log_process.h"
#include "tools/bench/payload.h"

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kCollections = 1'000'000;
constexpr int kFinds = 30;

double SecondsSince(Clock::time_point began) {
  return std::chrono::duration<double>(Clock::now() - began).count();
}

// Waits until the process has used next to no processor for a second: what it does after a start is
// over. Returns when that was.
Clock::time_point AwaitIdle(pid_t pid) {
  constexpr std::chrono::milliseconds kLook(100);
  Clock::time_point busy = Clock::now();
  double used = ProcessorSeconds(pid);
  while (Clock::now() - busy < std::chrono::seconds(1)) {
    std::this_thread::sleep_for(kLook);
    const double now = ProcessorSeconds(pid);
    if (now - used > 0.02) busy = Clock::now();
    used = now;
  }
  return busy;
}

absl::StatusOr<uint64_t> ResidentWhenIdle(testing::Process& log) {
  AwaitIdle(log.pid());
  return ResidentBytes(log.pid());
}

// Writes one collection, so that it is due, and claims what is due: from asking to the answer.
absl::StatusOr<double> FindDirtyMillis(const std::shared_ptr<grpc::Channel>& channel,
                                       const std::string& collection) {
  v1::PushLogsRequest push = MakePushes({}, collection, 1, 1, /*seed=*/1)[0];
  SLUICE_RETURN_IF_ERROR(client::Log(channel).Push(push).status());
  client::Compaction compaction(channel);
  v1::ClaimRequest request;
  request.set_worker("bench");
  request.add_kinds(v1::LEASE_KIND_COMPACTION);
  const Clock::time_point began = Clock::now();
  SLUICE_ASSIGN_OR_RETURN(const v1::ClaimResponse claimed, compaction.Claim(request));
  const double millis = SecondsSince(began) * 1e3;
  if (claimed.lease().collection_id() != collection) {
    return absl::InternalError("the claim did not find the collection that was written");
  }
  SLUICE_RETURN_IF_ERROR(CommitWithoutSegment(compaction, claimed));
  return millis;
}

}  // namespace

absl::StatusOr<Figures> BenchCold(const BenchOptions& options) {
  const std::filesystem::path folder = options.folder / "cold";
  const size_t count = options.Sized(kCollections);
  uint64_t resident_empty = 0;
  {
    SLUICE_ASSIGN_OR_RETURN(const auto empty, StartLog(options.folder / "cold-empty"));
    SLUICE_ASSIGN_OR_RETURN(resident_empty, ResidentWhenIdle(*empty));
  }
  Progress("cold", "making " + std::to_string(count) + " collections");
  // Due as soon as there is one record, so that finding it is all that a claim waits for.
  v1::CollectionSettings settings = WithoutBacklogLimit();
  settings.mutable_compaction()->set_max_bytes(1024);
  settings.mutable_compaction()->set_max_age_ms(10'000);
  const Clock::time_point making = Clock::now();
  SLUICE_ASSIGN_OR_RETURN(const std::vector<std::string> collections,
                          MakeCollections(folder, count, settings));
  const double make_seconds = SecondsSince(making);

  Progress("cold", "starting on them");
  DropPages(folder);
  const Clock::time_point starting = Clock::now();
  SLUICE_ASSIGN_OR_RETURN(const auto log, StartLog(folder));
  const auto channel = client::Connect(log->grpc_address());
  v1::PushLogsRequest push = MakePushes({}, collections[count / 2], 1, 1, /*seed=*/1)[0];
  SLUICE_RETURN_IF_ERROR(client::Log(channel).Push(push).status());
  const double start_seconds = SecondsSince(starting);
  const double idle_seconds =
      std::chrono::duration<double>(AwaitIdle(log->pid()) - starting).count();
  const uint64_t resident = ResidentBytes(log->pid());
  // The collection written above is due; it goes first.
  SLUICE_RETURN_IF_ERROR(FindDirtyMillis(channel, collections[count / 2]).status());

  Progress("cold", "finding the one that is dirty");
  std::mt19937_64 random(1);
  std::vector<double> finds;
  for (int i = 0; i < kFinds; ++i) {
    SLUICE_ASSIGN_OR_RETURN(const double millis,
                            FindDirtyMillis(channel, collections[random() % count]));
    finds.push_back(millis);
  }
  const double bytes_each = (static_cast<double>(resident) - static_cast<double>(resident_empty)) /
                            static_cast<double>(count);
  return Figures{{"cold_start_s", start_seconds},
                 {"cold_bytes_per_collection", std::max(0.0, bytes_each)},
                 {"find_dirty_ms", Median(finds)},
                 {"raw",
                  {{"collections", count},
                   {"make_seconds", make_seconds},
                   {"start_seconds", start_seconds},
                   {"idle_after_seconds", idle_seconds},
                   {"resident_bytes", resident},
                   {"resident_bytes_without_collections", resident_empty},
                   {"disk_bytes", DiskBytes(folder)},
                   {"find_dirty_worst_ms", *std::max_element(finds.begin(), finds.end())}}}};
}

}  // namespace sluice::bench

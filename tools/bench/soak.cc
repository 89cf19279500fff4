// The group `soak`: minutes at half of the top rate, a consumer that keeps up, trimming on: the
// longest stall, and the disk taken over what is kept.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
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

using Clock = std::chrono::steady_clock;

constexpr size_t kInFlight = 16;
constexpr size_t kMostInFlight = 256;
constexpr size_t kRecordsAPush = 100;
constexpr uint64_t kKept = uint64_t{1} << 30;
constexpr std::chrono::milliseconds kLook(250);

// Reads the log live, moves `applied` as a compactor does, and trims what is more than `keep`
// records behind it.
class Consumer {
 public:
  Consumer(const std::string& address, const std::string& collection, uint64_t keep)
      : channel_(client::Connect(address)), collection_(collection), keep_(keep) {
    v1::SubscribeRequest request;
    request.set_collection_id(collection);
    request.set_earliest(true);
    subscription_ = client::Log(channel_).Subscribe(request);
    reads_ = std::jthread([this] { Read(); });
    applies_ = std::jthread([this](const std::stop_token& stop) { Apply(stop); });
  }
  ~Consumer() {
    applies_.request_stop();
    subscription_->Cancel();
  }

  uint64_t read() const { return read_; }
  uint64_t trimmed() const { return trimmed_; }
  absl::Status error() const {
    const std::lock_guard lock(mutex_);
    return error_;
  }

 private:
  void Read() {
    v1::SubscribeResponse message;
    for (;;) {
      const absl::StatusOr<bool> more = subscription_->Next(&message);
      if (!more.ok()) {
        if (!absl::IsCancelled(more.status())) SetError(more.status());
        return;
      }
      read_ = subscription_->last().value;
    }
  }
  void Apply(const std::stop_token& stop) {
    while (!stop.stop_requested()) SetError(ApplyOnce());
  }
  absl::Status ApplyOnce() {
    client::Compaction compaction(channel_);
    v1::ClaimRequest request;
    request.set_worker("bench");
    request.add_kinds(v1::LEASE_KIND_COMPACTION);
    request.set_wait_ms(1000);
    SLUICE_ASSIGN_OR_RETURN(const v1::ClaimResponse claimed, compaction.Claim(request));
    if (!claimed.has_lease()) return absl::OkStatus();
    SLUICE_RETURN_IF_ERROR(CommitWithoutSegment(compaction, claimed));
    // Nothing is trimmed that was not read.
    const uint64_t done = std::min(claimed.tail_seq_id(), read_.load());
    if (done <= keep_ + trimmed_) return absl::OkStatus();
    SLUICE_ASSIGN_OR_RETURN(const CollectionId id, ParseId(collection_));
    SLUICE_ASSIGN_OR_RETURN(const v1::TrimLogResponse trimmed,
                            client::Log(channel_).Trim(id, SeqId(done - keep_)));
    trimmed_ = trimmed.trim_seq_id();
    return absl::OkStatus();
  }
  static absl::StatusOr<CollectionId> ParseId(const std::string& text) {
    SLUICE_ASSIGN_OR_RETURN(const Uuid uuid, Uuid::Parse(text));
    return CollectionId(uuid);
  }
  void SetError(const absl::Status& error) {
    const std::lock_guard lock(mutex_);
    error_.Update(error);
  }

  const std::shared_ptr<grpc::Channel> channel_;
  const std::string collection_;
  const uint64_t keep_;
  std::unique_ptr<client::Subscription> subscription_;
  std::atomic<uint64_t> read_ = 0;
  std::atomic<uint64_t> trimmed_ = 0;
  mutable std::mutex mutex_;
  absl::Status error_;
  std::jthread reads_;
  std::jthread applies_;
};

// What is looked at while the load runs.
struct Seen {
  double worst_disk_over_kept = 0;
  uint64_t disk_bytes = 0;
  uint64_t kept_bytes = 0;
  uint64_t most_behind = 0;
};

// Pushes a second, closed loop, on a log of its own.
absl::StatusOr<double> TopRate(const BenchOptions& options) {
  Progress("soak", "measuring the top rate");
  const std::filesystem::path folder = options.folder / "soak-top";
  LoadResult result;
  {
    SLUICE_ASSIGN_OR_RETURN(const auto log, StartLog(folder));
    const auto channel = client::Connect(log->grpc_address());
    SLUICE_ASSIGN_OR_RETURN(const std::string collection, NewCollection(channel));
    Pushes pushes(channel, {collection}, kInFlight, kRecordsAPush);
    result = RunClosedLoop(kInFlight, options.warm_up, 2 * options.measured, pushes.start());
    if (result.failures) return absl::InternalError("push failed: " + pushes.last_error());
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return result.calls_per_second();
}

}  // namespace

absl::StatusOr<Figures> BenchSoak(const BenchOptions& options) {
  double rate = options.soak_rate;
  if (rate == 0) {
    SLUICE_ASSIGN_OR_RETURN(const double top, TopRate(options));
    rate = top / 2;
  }
  const std::filesystem::path folder = options.folder / "soak";
  // Trimming is the consumer's alone, so that at least what it keeps is kept.
  SLUICE_ASSIGN_OR_RETURN(const auto log,
                          StartLog(folder, {{"SLUICE_LOG_TRIM_MAX_BYTES", "1024GiB"}}));
  const auto channel = client::Connect(log->grpc_address());

  SLUICE_ASSIGN_OR_RETURN(const std::string collection, NewCollection(channel));
  // By the client that waits as long as it is told to and tries again: refusals are part of the
  // latency.
  client::Log pushes(channel);
  const std::vector<v1::PushLogsRequest> requests =
      MakePushes({}, collection, kMostInFlight, kRecordsAPush, /*seed=*/1);
  const double bytes_a_record = static_cast<double>(requests[0].ByteSizeLong()) / kRecordsAPush;
  const auto keep =
      static_cast<uint64_t>(static_cast<double>(options.Sized(kKept)) / bytes_a_record);
  Consumer consumer(log->grpc_address(), collection, keep);
  std::atomic<uint64_t> tail = 0;
  Seen seen;
  std::mutex mutex;
  std::condition_variable_any wakes;
  LoadResult result;
  {
    std::jthread watcher([&](const std::stop_token& stop) {
      std::unique_lock lock(mutex);
      const Clock::time_point began = Clock::now();
      int64_t said = 0;
      while (!wakes.wait_for(lock, stop, kLook, [&] { return stop.stop_requested(); })) {
        const uint64_t kept = tail - consumer.trimmed();
        seen.most_behind =
            std::max(seen.most_behind, tail - std::min<uint64_t>(tail, consumer.read()));
        seen.kept_bytes = static_cast<uint64_t>(static_cast<double>(kept) * bytes_a_record);
        seen.disk_bytes = DiskBytes(folder);
        if (kept >= keep) {
          const double over =
              static_cast<double>(seen.disk_bytes) / static_cast<double>(seen.kept_bytes);
          seen.worst_disk_over_kept = std::max(seen.worst_disk_over_kept, over);
        }
        const int64_t seconds =
            std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - began).count();
        if (seconds / 10 > said) {
          said = seconds / 10;
          Progress("soak", std::to_string(seconds) +
                               " s: " + std::to_string(seen.kept_bytes >> 20) + " MiB kept on " +
                               std::to_string(seen.disk_bytes >> 20) + " MiB of disk");
        }
      }
    });
    result = RunOpenLoop(
        {.calls_per_second = rate, .measured = options.soak, .most_in_flight = kMostInFlight},
        [&](size_t slot, std::function<void(bool)> done) {
          pushes.PushAsync(requests[slot], [&, done = std::move(done)](const auto& response) {
            if (response.ok()) tail += kRecordsAPush;
            done(response.ok());
          });
        });
  }
  if (result.failures) return absl::InternalError("pushes failed in spite of retries");
  SLUICE_RETURN_IF_ERROR(consumer.error());
  if (seen.worst_disk_over_kept == 0) {
    return absl::InternalError("the soak was too short to trim anything: --soak-seconds");
  }
  return Figures{{"soak_longest_stall_ms", result.latency_us(1) / 1e3},
                 {"soak_disk_over_kept", seen.worst_disk_over_kept},
                 {"raw",
                  {{"seconds", options.soak.count()},
                   {"offered_pushes_per_second", rate},
                   {"pushes_per_second", result.calls_per_second()},
                   {"bytes_per_second", result.calls_per_second() * bytes_a_record * kRecordsAPush},
                   {"p50_us", result.latency_us(0.5)},
                   {"p99_us", result.latency_us(0.99)},
                   {"disk_bytes_at_the_end", seen.disk_bytes},
                   {"kept_bytes_at_the_end", seen.kept_bytes},
                   {"consumer_most_records_behind", seen.most_behind}}}};
}

}  // namespace sluice::bench

// How long a record takes from its acknowledgement into a segment, and how many objects that costs,
// where many collections are written slowly.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/errors/errors.h"
#include "tools/bench/compact.h"
#include "tools/bench/indexed.h"
#include "tools/bench/open_loop.h"
#include "tools/bench/payload.h"

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr size_t kCollections = 50;
constexpr double kRecordsPerSecond = 500;
constexpr std::chrono::milliseconds kWritten = 60s;
// How often it is looked whether the writer has ended.
constexpr std::chrono::milliseconds kLookEvery = 1s;

// One collection, and those of its records that are not in a segment yet.
class Collection {
 public:
  Collection(const std::shared_ptr<grpc::Channel>& channel, const CollectionId& id)
      : log_(channel, Impatient()),
        id_(id.ToString()),
        watcher_([this](const std::stop_token& stop) { Watch(stop); }) {}

  const std::string& id() const { return id_; }
  void Acknowledged(uint64_t seq_id) {
    const std::lock_guard lock(mutex_);
    since_[seq_id] = Clock::now();
  }
  // Nothing more is written: waits until all is in segments. How many seconds each record took.
  absl::StatusOr<std::vector<double>> Finish() {
    written_ = true;
    watcher_.join();
    if (!error_.ok()) return error_;
    return std::move(seconds_);
  }

 private:
  static client::Options Impatient() {
    client::Options options;
    options.attempt_deadline = options.total_deadline = kLookEvery;
    return options;
  }

  void Watch(const std::stop_token& stop) {
    v1::ReadViewRequest request;
    request.set_collection_id(id_);
    while (!stop.stop_requested() && (!written_ || IsWaiting())) {
      request.set_wait_applied_seq_id(applied_ + 1);
      const absl::Status viewed = log_.ReadView(request, [&](v1::ReadViewResponse& view) {
        if (view.has_header()) Applied(view.header().applied_seq_id());
        return absl::OkStatus();
      });
      if (viewed.ok() || absl::IsDeadlineExceeded(viewed)) continue;
      error_ = viewed;
      return;
    }
  }
  bool IsWaiting() {
    const std::lock_guard lock(mutex_);
    return !since_.empty();
  }
  void Applied(uint64_t seq_id) {
    const Clock::time_point now = Clock::now();
    const std::lock_guard lock(mutex_);
    applied_ = seq_id;
    const auto end = since_.upper_bound(seq_id);
    for (auto it = since_.begin(); it != end; ++it) {
      seconds_.push_back(std::chrono::duration<double>(now - it->second).count());
    }
    since_.erase(since_.begin(), end);
  }

  client::Log log_;
  const std::string id_;
  std::atomic<bool> written_ = false;
  std::mutex mutex_;
  // When each was acknowledged, by SeqId.
  std::map<uint64_t, Clock::time_point> since_;
  // The watcher's, until it has ended.
  uint64_t applied_ = 0;
  std::vector<double> seconds_;
  absl::Status error_;
  std::jthread watcher_;
};

using Collections = std::vector<std::unique_ptr<Collection>>;

// One record a push, to each collection in turn. How many failed.
size_t Write(client::Log& log, Collections& collections, std::chrono::milliseconds time) {
  const OpenLoop loop{.calls_per_second = kRecordsPerSecond, .measured = time};
  const std::vector<v1::PushLogsRequest> pushes =
      MakePushes({}, "", loop.most_in_flight, 1, /*seed=*/1);
  size_t next = 0;
  return RunOpenLoop(loop,
                     [&](size_t slot, std::function<void(bool)> done) {
                       Collection& collection = *collections[next++ % collections.size()];
                       v1::PushLogsRequest push = pushes[slot];
                       push.set_collection_id(collection.id());
                       push.mutable_records(0)->set_id("record-" + std::to_string(next));
                       log.PushAsync(std::move(push),
                                     [&collection, done = std::move(done)](const auto& pushed) {
                                       if (pushed.ok()) {
                                         collection.Acknowledged(pushed->first_seq_id());
                                       }
                                       done(pushed.ok());
                                     });
                     })
      .failures;
}

double ShareOf(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<size_t>(share * static_cast<double>(sorted.size() - 1))];
}

}  // namespace

absl::StatusOr<Figures> BenchCompactFresh(const BenchOptions& options) {
  const auto time = std::chrono::milliseconds(options.Sized(kWritten.count()));
  Progress("compact", "50 collections, each written now and then");
  SLUICE_ASSIGN_OR_RETURN(const auto cluster,
                          StartIndexed(options, {.compactors = 1, .frontends = 0}));
  const auto channel = client::Connect(cluster->address(cluster->log()));
  Collections collections;
  std::vector<CollectionId> ids;
  for (size_t i = 0; i < kCollections; ++i) {
    SLUICE_ASSIGN_OR_RETURN(ids.emplace_back(), NewIndexed(*cluster, Payload{}.dimension, {}));
    collections.push_back(std::make_unique<Collection>(channel, ids.back()));
  }
  client::Log log(channel);
  if (Write(log, collections, time) != 0) return absl::InternalError("push failed");
  std::vector<double> seconds;
  for (const auto& collection : collections) {
    SLUICE_ASSIGN_OR_RETURN(const std::vector<double> some, collection->Finish());
    seconds.insert(seconds.end(), some.begin(), some.end());
  }
  for (const CollectionId& id : ids) SLUICE_RETURN_IF_ERROR(AwaitSettled(log, id).status());
  std::sort(seconds.begin(), seconds.end());
  const Stored stored = StoredIn(cluster->objects());
  const double thousands = static_cast<double>(seconds.size()) / 1000;
  return Figures{{"freshness_p99_s", ShareOf(seconds, 0.99)},
                 {"objects_put_per_1000_records", static_cast<double>(stored.objects) / thousands},
                 {"raw",
                  {{"records", seconds.size()},
                   {"collections", kCollections},
                   {"records_per_second", kRecordsPerSecond},
                   {"freshness_p50_s", ShareOf(seconds, 0.5)},
                   {"freshness_max_s", seconds.back()},
                   {"objects", stored.objects},
                   {"stored_bytes", stored.bytes}}}};
}

}  // namespace sluice::bench

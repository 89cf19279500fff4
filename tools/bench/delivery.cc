// The group `delivery`: how long after its acknowledgement a push reaches a live subscriber.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/base/ids.h"
#include "common/client/client.h"
#include "common/errors/errors.h"
#include "tools/bench/group.h"
#include "tools/bench/load.h"
#include "tools/bench/log_process.h"
#include "tools/bench/open_loop.h"
#include "tools/bench/pushes.h"

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kPushesPerSecond = 2000;

int64_t NowNanos() { return Clock::now().time_since_epoch().count(); }

// When each SeqId was acknowledged and when it was delivered, by the same clock; 0: not yet.
struct Times {
  explicit Times(size_t most) : acknowledged(most + 1), delivered(most + 1) {}
  std::vector<std::atomic<int64_t>> acknowledged;
  std::vector<std::atomic<int64_t>> delivered;
};

// Reads the collection live, until it is cancelled.
class Subscriber {
 public:
  Subscriber(const std::shared_ptr<grpc::Channel>& channel, const std::string& collection,
             Times& times)
      : stub_(v1::LogService::NewStub(channel)) {
    v1::SubscribeRequest request;
    request.set_collection_id(collection);
    request.set_earliest(true);
    reader_ = stub_->Subscribe(&context_, request);
    // The heartbeat with which every subscription begins.
    v1::SubscribeResponse first;
    reader_->Read(&first);
    thread_ = std::jthread([this, &times] {
      v1::SubscribeResponse message;
      while (reader_->Read(&message)) {
        const int64_t now = NowNanos();
        for (const v1::Append& append : message.appends()) {
          const uint64_t end = append.first_seq_id() + append.records_size();
          for (uint64_t seq_id = append.first_seq_id(); seq_id < end; ++seq_id) {
            if (seq_id < times.delivered.size()) times.delivered[seq_id] = now;
          }
          last_ = end - 1;
        }
        last_.notify_all();
      }
    });
  }
  ~Subscriber() {
    context_.TryCancel();
    thread_.join();
    reader_->Finish();
  }

  void Await(uint64_t seq_id) {
    for (uint64_t last = last_; last < seq_id; last = last_) last_.wait(last);
  }

 private:
  std::unique_ptr<v1::LogService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::SubscribeResponse>> reader_;
  std::atomic<uint64_t> last_ = 0;
  std::jthread thread_;
};

}  // namespace

absl::StatusOr<Figures> BenchDelivery(const BenchOptions& options) {
  SLUICE_ASSIGN_OR_RETURN(auto log, StartLog(options.folder / "delivery"));
  SLUICE_ASSIGN_OR_RETURN(auto echo, StartSelf({"--serve-echo"}));
  const OpenLoop loop{.calls_per_second = kPushesPerSecond,
                      .warm_up = options.warm_up,
                      .measured = 2 * options.measured};
  std::vector<double> ratios;
  Figures raw = Figures::array();
  for (int round = 1; round <= options.rounds; ++round) {
    Progress("delivery",
             "round " + std::to_string(round) + " of " + std::to_string(options.rounds));
    Pushes to_echo(client::Connect(echo->grpc_address()), {CollectionId(Uuid::Random()).ToString()},
                   loop.most_in_flight, 1);
    const LoadResult of_echo = RunOpenLoop(loop, to_echo.start());
    if (of_echo.failures) return absl::InternalError("echo failed: " + to_echo.last_error());

    const auto channel = client::Connect(log->grpc_address());
    SLUICE_ASSIGN_OR_RETURN(const std::string collection, NewCollection(channel));
    const double seconds = std::chrono::duration<double>(loop.warm_up + loop.measured).count();
    Times times(static_cast<size_t>(kPushesPerSecond * seconds) + 1);
    std::atomic<uint64_t> tail = 0;
    Pushes to_log(channel, {collection}, loop.most_in_flight, 1);
    LoadResult of_log;
    {
      Subscriber subscriber(client::Connect(log->grpc_address()), collection, times);
      of_log = RunOpenLoop(loop, [&](size_t slot, std::function<void(bool)> done) {
        to_log.Start(slot, [&, slot, done = std::move(done)](bool ok) {
          if (ok) {
            times.acknowledged[to_log.response(slot).first_seq_id()] = NowNanos();
            ++tail;
          }
          done(ok);
        });
      });
      if (of_log.failures) return absl::InternalError("push failed: " + to_log.last_error());
      subscriber.Await(tail);
    }
    std::vector<double> behind_us;
    const auto skipped = static_cast<uint64_t>(kPushesPerSecond *
                                               std::chrono::duration<double>(loop.warm_up).count());
    for (uint64_t seq_id = skipped + 1; seq_id <= tail; ++seq_id) {
      behind_us.push_back(std::max(
          0.0, static_cast<double>(times.delivered[seq_id] - times.acknowledged[seq_id]) / 1e3));
    }
    std::sort(behind_us.begin(), behind_us.end());
    const LoadResult behind{.seconds = of_log.seconds, .latencies_us = std::move(behind_us)};
    ratios.push_back(behind.latency_us(0.99) / of_echo.latency_us(0.5));
    raw.push_back({{"pushes_per_second", of_log.calls_per_second()},
                   {"delivery_after_acknowledgement_p50_us", behind.latency_us(0.5)},
                   {"delivery_after_acknowledgement_p99_us", behind.latency_us(0.99)},
                   {"push_p50_us", of_log.latency_us(0.5)},
                   {"push_p99_us", of_log.latency_us(0.99)},
                   {"echo_p50_us", of_echo.latency_us(0.5)},
                   {"echo_p99_us", of_echo.latency_us(0.99)}});
  }
  return Figures{{"delivery_p99_over_echo_p50", Median(ratios)}, {"raw", std::move(raw)}};
}

}  // namespace sluice::bench

// Pushes of prepared records to the collections of one server, round robin, for the loads of load.h
// and open_loop.h. A push that is OVERLOADED is made again after the delay that came with it, which
// is part of its time. Start may be called from any thread, for one slot by one at a time.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/channel.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "sluice/v1/log.grpc.pb.h"
#include "tools/bench/load.h"

namespace sluice::bench {

class Pushes {
 public:
  Pushes(const std::shared_ptr<grpc::Channel>& channel, std::vector<std::string> collections,
         size_t slots, size_t records);

  void Start(size_t slot, std::function<void(bool ok)> done);
  // For RunClosedLoop and RunOpenLoop.
  StartCall start() {
    return [this](size_t slot, std::function<void(bool)> done) { Start(slot, std::move(done)); };
  }
  // Pushes this many, as many at a time as there are slots, and waits for the answers.
  absl::Status Push(size_t count);
  // Of the slot's last push, if it succeeded.
  const v1::PushLogsResponse& response(size_t slot) const { return calls_[slot].response; }
  // Of one push, as encoded.
  size_t push_bytes() const { return push_bytes_; }
  std::string last_error() const;
  // Refusals after which a push was made again.
  size_t overloaded() const { return overloaded_; }

 private:
  using Done = std::function<void(bool ok)>;
  struct Call {
    v1::PushLogsRequest request;
    v1::PushLogsResponse response;
    std::unique_ptr<grpc::ClientContext> context;
    std::unique_ptr<grpc::Alarm> again;
  };

  void Send(Call& call, Done done);

  const std::unique_ptr<v1::LogService::Stub> stub_;
  const std::vector<std::string> collections_;
  std::vector<Call> calls_;
  size_t push_bytes_ = 0;
  std::atomic<size_t> next_ = 0;
  std::atomic<size_t> overloaded_ = 0;
  mutable std::mutex mutex_;
  std::string last_error_;
};

}  // namespace sluice::bench

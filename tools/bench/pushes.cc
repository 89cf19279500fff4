#include "tools/bench/pushes.h"

#include <chrono>
#include <latch>
#include <utility>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/errors/errors.h"
#include "tools/bench/payload.h"

namespace sluice::bench {
namespace {

constexpr std::chrono::milliseconds kRetryUnlessTold{10};

}  // namespace

Pushes::Pushes(const std::shared_ptr<grpc::Channel>& channel, std::vector<std::string> collections,
               size_t slots, size_t records)
    : stub_(v1::LogService::NewStub(channel)), collections_(std::move(collections)), calls_(slots) {
  std::vector<v1::PushLogsRequest> requests =
      MakePushes({}, collections_[0], slots, records, /*seed=*/records);
  push_bytes_ = requests[0].ByteSizeLong();
  for (size_t i = 0; i < slots; ++i) calls_[i].request.Swap(&requests[i]);
}

void Pushes::Start(size_t slot, std::function<void(bool ok)> done) {
  Call& call = calls_[slot];
  call.request.set_collection_id(
      collections_[next_.fetch_add(1, std::memory_order_relaxed) % collections_.size()]);
  call.request.set_request_id(Uuid::TimeOrdered(NowMicros() / 1000).ToString());
  Send(call, std::move(done));
}

void Pushes::Send(Call& call, Done done) {
  call.context = std::make_unique<grpc::ClientContext>();
  stub_->async()->PushLogs(
      call.context.get(), &call.request, &call.response,
      [this, &call, done = std::move(done)](const grpc::Status& status) mutable {
        if (status.ok()) return done(true);
        const absl::Status error = FromGrpc(status, *call.context);
        if (ReasonOf(error) == Reason::OVERLOADED) {
          ++overloaded_;
          call.again = std::make_unique<grpc::Alarm>();
          call.again->Set(
              std::chrono::system_clock::now() + RetryAfter(error).value_or(kRetryUnlessTold),
              [this, &call, done = std::move(done)](bool) mutable { Send(call, std::move(done)); });
          return;
        }
        {
          const std::lock_guard lock(mutex_);
          last_error_ = std::string(error.message());
        }
        done(false);
      });
}

absl::Status Pushes::Push(size_t count) {
  std::atomic<size_t> begun = 0;
  std::latch ended(static_cast<ptrdiff_t>(calls_.size()));
  std::atomic<bool> failed = false;
  std::function<void(size_t)> next = [&](size_t slot) {
    if (failed || begun++ >= count) return ended.count_down();
    Start(slot, [&, slot](bool ok) {
      if (!ok) failed = true;
      next(slot);
    });
  };
  for (size_t slot = 0; slot < calls_.size(); ++slot) next(slot);
  ended.wait();
  return failed ? absl::InternalError("push failed: " + last_error()) : absl::OkStatus();
}

std::string Pushes::last_error() const {
  const std::lock_guard lock(mutex_);
  return last_error_;
}

}  // namespace sluice::bench

#include "tools/bench/pushes.h"

#include <latch>
#include <utility>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "tools/bench/payload.h"

namespace sluice::bench {

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
  call.context = std::make_unique<grpc::ClientContext>();
  call.request.set_collection_id(
      collections_[next_.fetch_add(1, std::memory_order_relaxed) % collections_.size()]);
  call.request.set_request_id(Uuid::TimeOrdered(NowMicros() / 1000).ToString());
  stub_->async()->PushLogs(call.context.get(), &call.request, &call.response,
                           [this, done = std::move(done)](const grpc::Status& status) {
                             if (!status.ok()) {
                               const std::lock_guard lock(mutex_);
                               last_error_ = status.error_message();
                             }
                             done(status.ok());
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

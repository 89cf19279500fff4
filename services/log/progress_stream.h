// The stream of a call that works for minutes on a thread of a pool, and reports how far it is.
//
// The working thread reports, and ends it once. Kept by that thread, and by itself until gRPC is
// done with it.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

#include "absl/status/status.h"
#include "common/base/mutex.h"
#include "common/errors/errors.h"

namespace sluice::log {

template <class Progress>
class ProgressStream final : public grpc::ServerWriteReactor<Progress>,
                             public std::enable_shared_from_this<ProgressStream<Progress>> {
 public:
  ProgressStream(grpc::CallbackServerContext* context, std::stop_token node_stops)
      : context_(context), with_node_(std::move(node_stops), Stop{&stop_}) {}

  // Once, before the method's handler returns.
  void Begin() { alive_ = this->shared_from_this(); }
  // The caller went away, or the node stops.
  std::stop_token stop() const { return stop_.get_token(); }

  // What is not on its way yet when the next report comes is merged with it: numbers are the
  // newest, lists are joined.
  void Report(const Progress& progress) {
    const MutexLock lock(mutex_);
    if (next_) {
      next_->MergeFrom(progress);
    } else {
      next_ = progress;
    }
    Proceed();
  }
  // The last call.
  void End(const absl::Status& status) {
    const MutexLock lock(mutex_);
    end_ = status;
    Proceed();
  }

  void OnWriteDone(bool) override {
    const MutexLock lock(mutex_);
    writing_ = false;
    Proceed();
  }
  void OnCancel() override { stop_.request_stop(); }
  void OnDone() override { const std::shared_ptr<ProgressStream> last = std::move(alive_); }

 private:
  struct Stop {
    std::stop_source* source;
    void operator()() const { source->request_stop(); }
  };

  void Proceed() REQUIRES(mutex_) {
    if (writing_) return;
    if (next_ && !context_->IsCancelled()) {
      message_ = *std::exchange(next_, std::nullopt);
      writing_ = true;
      this->StartWrite(&message_);
    } else if (end_) {
      this->Finish(ToGrpc(*std::exchange(end_, std::nullopt), context_));
    }
  }

  grpc::CallbackServerContext* const context_;
  std::stop_source stop_;
  const std::stop_callback<Stop> with_node_;
  std::shared_ptr<ProgressStream> alive_;

  Mutex mutex_;
  bool writing_ GUARDED_BY(mutex_) = false;
  std::optional<Progress> next_ GUARDED_BY(mutex_);
  std::optional<absl::Status> end_ GUARDED_BY(mutex_);
  // What is on its way.
  Progress message_;
};

}  // namespace sluice::log

// A log of one collection, scripted by a test: for the error paths that a real log does not show on
// demand. It keeps no rules but those said here.
#pragma once

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "common/base/mutex.h"
#include "common/errors/errors.h"
#include "sluice/v1/compaction.grpc.pb.h"
#include "sluice/v1/log.grpc.pb.h"

namespace sluice::compactor::testing {

class FakeLog : public v1::LogService::Service, public v1::CompactionService::Service {
 public:
  FakeLog() {
    grpc::ServerBuilder builder;
    builder.RegisterService(static_cast<v1::LogService::Service*>(this));
    builder.RegisterService(static_cast<v1::CompactionService::Service*>(this));
    server_ = builder.BuildAndStart();
  }
  ~FakeLog() override { server_->Shutdown(std::chrono::system_clock::now()); }

  std::shared_ptr<grpc::Channel> Channel() { return server_->InProcessChannel({}); }

  // Grants this, once.
  void Grant(v1::ClaimResponse claim) {
    const MutexLock lock(mutex_);
    claims_.push_back(std::move(claim));
    changed_.notify_all();
  }

  // Waits until `done` holds for what was received; false after ten seconds.
  bool Await(const std::function<bool(const FakeLog&)>& done) {
    MutexLock lock(mutex_);
    return changed_.wait_for(mutex_, std::chrono::seconds(10), [&] { return done(*this); });
  }

  // Set before the compactor starts. The functions answer calls; they hold no lock where they may
  // block (on_commit).
  std::vector<v1::Append> appends;
  std::function<absl::Status(const v1::CommitRequest&)> on_commit = [](const v1::CommitRequest&) {
    return absl::OkStatus();
  };
  std::function<absl::Status(const v1::RenewRequest&)> on_renew = [](const v1::RenewRequest&) {
    return absl::OkStatus();
  };
  std::function<absl::Status(const v1::PullLogsRequest&)> on_pull = [](const v1::PullLogsRequest&) {
    return absl::OkStatus();
  };
  std::vector<v1::GarbageEntry> garbage;
  std::vector<v1::MissingVector> missing;

  // What was received; read under Await.
  std::vector<v1::CommitRequest> commits;
  std::vector<v1::ReleaseRequest> releases;
  std::vector<std::string> collected;
  uint64_t renewals = 0;
  uint64_t pulls = 0;

 private:
  grpc::Status Claim(grpc::ServerContext* context, const v1::ClaimRequest* request,
                     v1::ClaimResponse* response) override {
    MutexLock lock(mutex_);
    const auto wanted = [&] {
      return !claims_.empty() && claims_.front().lease().kind() == request->kinds(0);
    };
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(request->wait_ms());
    while (!wanted() && !context->IsCancelled()) {
      if (changed_.wait_until(mutex_, until) == std::cv_status::timeout) break;
    }
    if (wanted()) {
      *response = claims_.front();
      claims_.pop_front();
    }
    return grpc::Status::OK;
  }

  grpc::Status Renew(grpc::ServerContext* context, const v1::RenewRequest* request,
                     v1::RenewResponse*) override {
    const MutexLock lock(mutex_);
    ++renewals;
    changed_.notify_all();
    return ToGrpc(on_renew(*request), context);
  }

  grpc::Status Commit(grpc::ServerContext* context, const v1::CommitRequest* request,
                      v1::CommitResponse*) override {
    {
      const MutexLock lock(mutex_);
      commits.push_back(*request);
      changed_.notify_all();
    }
    return ToGrpc(on_commit(*request), context);
  }

  grpc::Status Release(grpc::ServerContext*, const v1::ReleaseRequest* request,
                       v1::ReleaseResponse*) override {
    const MutexLock lock(mutex_);
    releases.push_back(*request);
    changed_.notify_all();
    return grpc::Status::OK;
  }

  grpc::Status ListGarbage(grpc::ServerContext*, const v1::ListGarbageRequest*,
                           v1::ListGarbageResponse* response) override {
    const MutexLock lock(mutex_);
    response->mutable_entries()->Assign(garbage.begin(), garbage.end());
    return grpc::Status::OK;
  }

  grpc::Status ListMissingVectors(grpc::ServerContext*,
                                  const v1::ListMissingVectorsRequest* request,
                                  v1::ListMissingVectorsResponse* response) override {
    const MutexLock lock(mutex_);
    for (const v1::MissingVector& one : missing) {
      if (one.reason() == request->reason()) *response->add_missing() = one;
    }
    return grpc::Status::OK;
  }

  grpc::Status CollectGarbage(grpc::ServerContext*, const v1::CollectGarbageRequest* request,
                              v1::CollectGarbageResponse*) override {
    const MutexLock lock(mutex_);
    collected.insert(collected.end(), request->keys().begin(), request->keys().end());
    changed_.notify_all();
    return grpc::Status::OK;
  }

  // One append a call.
  grpc::Status PullLogs(grpc::ServerContext* context, const v1::PullLogsRequest* request,
                        v1::PullLogsResponse* response) override {
    const MutexLock lock(mutex_);
    ++pulls;
    changed_.notify_all();
    for (const v1::Append& append : appends) {
      response->set_tail_seq_id(append.first_seq_id() + append.records_size() - 1);
      if (append.first_seq_id() > request->start_seq_id() && response->appends().empty())
        *response->add_appends() = append;
    }
    return ToGrpc(on_pull(*request), context);
  }

  Mutex mutex_;
  CondVar changed_;
  std::deque<v1::ClaimResponse> claims_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace sluice::compactor::testing

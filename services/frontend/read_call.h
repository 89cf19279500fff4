// Get, Count, Query: checked and resolved on gRPC's threads, which nothing here blocks; answered on
// the executor, once there is a view. What takes long is answered ahead, from the view that is at
// hand, while the log is asked whether that still holds. Vectors are read from segments that are
// local; all else is answered from those that are still remote (segment_loader.h), or, if a row
// cannot be read there, once they are local after all.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "common/objects/object_store.h"
#include "services/frontend/backend.h"
#include "services/frontend/call.h"
#include "services/frontend/reads.h"
#include "sluice/v1/frontend.pb.h"

namespace sluice::frontend {

// What all three have in common.
class ReadCall : public Call {
 public:
  ReadCall(const char* name, Backend& backend, const Exchange& exchange);
  ~ReadCall() override;

 protected:
  // Parses and checks the request.
  virtual absl::Status Prepare(const grpc::ByteBuffer& request) = 0;
  virtual const v1::CollectionRef& collection() const = 0;
  virtual const v1::ReadLevel& level() const = 0;
  // Of the request.
  virtual bool needs_vectors() const = 0;
  std::chrono::system_clock::time_point deadline() const { return deadline_; }
  // Until then, or until the caller gives up.
  Patience patience() const;
  // Of the request and a view: what can be said before its segments are local, and whether they
  // are better waited for though only their rows are needed.
  virtual absl::Status CheckWith(const View& view) const = 0;
  virtual bool TakesManyRemoteRowsOf(const View& view) const = 0;
  // Whether answering takes longer than a hand-over to another thread.
  virtual bool TakesLong() const = 0;
  using Made = absl::AnyInvocable<void(const absl::StatusOr<grpc::ByteBuffer>&)>;
  // Calls `made` once with the answer, within this call or on another thread.
  virtual void Make(const ViewCache::ViewPtr& view, Made made) = 0;

 private:
  // An answer from the view that was at hand, and the view that the log gave meanwhile.
  struct Ahead {
    explicit Ahead(ViewCache::ViewPtr at_hand) : view(std::move(at_hand)) {}
    const ViewCache::ViewPtr view;
    absl::StatusOr<grpc::ByteBuffer> answer;
    absl::StatusOr<ViewCache::ViewPtr> taken;
    // Of the two.
    std::atomic<int> missing = 2;
  };

  void Run() final;
  ViewCache::Wanted wanted() const;
  // Only if there is a view that probably still holds, and a thread that has nothing else to do.
  void BeginAhead();
  void ConcludeAhead();
  void TakeView();
  void GoOnWith(absl::StatusOr<ViewCache::ViewPtr> view);
  void AnswerFromWhatIsReady(const ViewCache::ViewPtr& view);
  bool LacksVectors(const View& view) const;
  void AnswerFrom(const ViewCache::ViewPtr& view);
  void Answer(const ViewCache::ViewPtr& view, const absl::StatusOr<grpc::ByteBuffer>& answer);
  // `error`: of an answer from `view`. Answers with it, or in another way.
  void FailFrom(const ViewCache::ViewPtr& view, const absl::Status& error);

  // Of the caller, or our own.
  const std::chrono::system_clock::time_point deadline_;
  CollectionId collection_id_;
  int views_taken_ = 0;
  // Until both are there.
  std::unique_ptr<Ahead> ahead_;
  // Whether all of the view must be local, and whether that in use was when it was begun with.
  bool needs_local_ = false;
  bool is_local_ = true;
};

template <class Response>
absl::StatusOr<grpc::ByteBuffer> Encoded(const absl::StatusOr<Response>& response) {
  if (!response.ok()) return response.status();
  return BufferOf(response->SerializeAsString());
}

template <class Request>
class ReadCallOf final : public ReadCall {
 public:
  using ReadCall::ReadCall;

 private:
  absl::Status Prepare(const grpc::ByteBuffer& request) override {
    SLUICE_RETURN_IF_ERROR(Parse(request, &request_));
    return Check(request_);
  }
  const v1::CollectionRef& collection() const override { return request_.collection(); }
  const v1::ReadLevel& level() const override { return request_.level(); }
  bool needs_vectors() const override { return NeedsVectors(request_); }
  absl::Status CheckWith(const View&) const override { return absl::OkStatus(); }
  bool TakesManyRemoteRowsOf(const View&) const override { return false; }
  bool TakesLong() const override { return false; }
  void Make(const ViewCache::ViewPtr& view, Made made) override {
    made(Encoded(frontend::Answer(*view, request_)));
  }

  Request request_;
};

template <>
bool ReadCallOf<v1::GetRequest>::TakesManyRemoteRowsOf(const View& view) const;
template <>
void ReadCallOf<v1::GetRequest>::Make(const ViewCache::ViewPtr& view, Made made);

template <>
absl::Status ReadCallOf<v1::QueryRequest>::CheckWith(const View& view) const;
template <>
bool ReadCallOf<v1::QueryRequest>::TakesManyRemoteRowsOf(const View& view) const;
template <>
bool ReadCallOf<v1::QueryRequest>::TakesLong() const;
// A text may have to be embedded elsewhere first.
template <>
void ReadCallOf<v1::QueryRequest>::Make(const ViewCache::ViewPtr& view, Made made);

}  // namespace sluice::frontend

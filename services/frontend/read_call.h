// Get, Count, Query: checked and resolved on gRPC's threads, which nothing here blocks; answered on
// the executor, once there is a view. Vectors are read from segments that are local; all else is
// answered from those that are still remote (segment_loader.h), or, if a row cannot be read there,
// once they are local after all.
#pragma once

#include <chrono>

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
  // Answers with Succeed, Fail or FailFrom.
  virtual void AnswerFrom(ViewCache::ViewPtr view) = 0;
  // `error`: of an answer from `view`. Answers with it, or in another way.
  void FailFrom(const ViewCache::ViewPtr& view, const absl::Status& error);

 private:
  void Run() final;
  void TakeView();
  void AnswerFromWhatIsReady(const ViewCache::ViewPtr& view);
  bool LacksVectors(const View& view) const;

  // Of the caller, or our own.
  const std::chrono::system_clock::time_point deadline_;
  CollectionId collection_id_;
  int views_taken_ = 0;
  // Whether all of the view must be local, and whether that in use was when it was begun with.
  bool needs_local_ = false;
  bool is_local_ = true;
};

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
  void AnswerFrom(ViewCache::ViewPtr view) override {
    Answer(view, frontend::Answer(*view, request_));
  }
  template <class Response>
  void Answer(const ViewCache::ViewPtr& view, const absl::StatusOr<Response>& response) {
    if (!response.ok()) return FailFrom(view, response.status());
    Succeed(*response);
  }

  Request request_;
};

template <>
bool ReadCallOf<v1::GetRequest>::TakesManyRemoteRowsOf(const View& view) const;
template <>
void ReadCallOf<v1::GetRequest>::AnswerFrom(ViewCache::ViewPtr view);

template <>
absl::Status ReadCallOf<v1::QueryRequest>::CheckWith(const View& view) const;
template <>
bool ReadCallOf<v1::QueryRequest>::TakesManyRemoteRowsOf(const View& view) const;
// A text may have to be embedded elsewhere first.
template <>
void ReadCallOf<v1::QueryRequest>::AnswerFrom(ViewCache::ViewPtr view);

}  // namespace sluice::frontend

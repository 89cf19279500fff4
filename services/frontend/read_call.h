// Get, Count, Query: checked and resolved on gRPC's threads, which nothing here blocks; answered on
// the executor, once there is a view.
#pragma once

#include <functional>

#include "absl/status/statusor.h"
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
  // Answers with Succeed or Fail.
  virtual void AnswerFrom(ViewCache::ViewPtr view) = 0;

 private:
  void Run() final;
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
  void AnswerFrom(ViewCache::ViewPtr view) override { Answer(frontend::Answer(*view, request_)); }
  template <class Response>
  void Answer(const absl::StatusOr<Response>& response) {
    if (!response.ok()) return Fail(response.status());
    Succeed(*response);
  }

  Request request_;
};

// A text may have to be embedded elsewhere first.
template <>
void ReadCallOf<v1::QueryRequest>::AnswerFrom(ViewCache::ViewPtr view);

}  // namespace sluice::frontend

// Add, Update, Upsert, Delete: checked, resolved, and pushed to the log. One attempt: a caller that
// retries does so with its request_id, and learns of each attempt's outcome (invariant 10). Blocks
// no thread; two callers' writes are never merged.
#pragma once

#include <memory>

#include "services/frontend/backend.h"
#include "services/frontend/call.h"
#include "services/frontend/writes.h"
#include "sluice/v1/log.pb.h"

namespace sluice::frontend {

class WriteCall final : public Call {
 public:
  WriteCall(const char* name, v1::Operation operation, Backend& backend, const Exchange& exchange);

 private:
  void Run() override;
  void Send(const CollectionId& collection);
  void Answered(const grpc::Status& status);

  const v1::Operation operation_;
  ByteBudget::Share share_;
  Push push_;
  CollectionId collection_;
  std::unique_ptr<grpc::ClientContext> context_;
  grpc::ByteBuffer request_;
  v1::PushLogsResponse pushed_;
};

}  // namespace sluice::frontend

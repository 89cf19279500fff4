#include "common/client/client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/client/continuity.h"
#include "common/client/named.h"
#include "common/client/retry.h"
#include "common/client/retrying_call.h"
#include "common/errors/errors.h"

namespace sluice::client {
namespace {

// A method of a generated stub's callback API.
template <class Async, class Request, class Response>
using Method = void (Async::*)(grpc::ClientContext*, const Request*, Response*,
                               std::function<void(grpc::Status)>);

template <class Stub, class Async, class Request, class Response>
void Start(const std::shared_ptr<Stub>& stub, const Options& options, Effect effect,
           Method<Async, Request, Response> method, Request request, Callback<Response> done) {
  struct Exchange {
    Request request;
    Response response;
  };
  auto exchange = std::make_shared<Exchange>();
  exchange->request = std::move(request);
  CallWithRetries(
      options, effect,
      [stub, method, exchange](grpc::ClientContext* context,
                               std::function<void(grpc::Status)> answered) {
        (stub->async()->*method)(context, &exchange->request, &exchange->response,
                                 std::move(answered));
      },
      [exchange, done = std::move(done)](absl::Status status) {
        if (!status.ok()) return done(std::move(status));
        done(std::move(exchange->response));
      });
}

template <class Stub, class Async, class Request, class Response>
absl::StatusOr<Response> Call(const std::shared_ptr<Stub>& stub, const Options& options,
                              Effect effect, Method<Async, Request, Response> method,
                              Request request) {
  absl::StatusOr<Response> result;
  absl::Notification answered;
  Start<Stub, Async, Request, Response>(stub, options, effect, method, std::move(request),
                                        [&](absl::StatusOr<Response> r) {
                                          result = std::move(r);
                                          answered.Notify();
                                        });
  answered.WaitForNotification();
  return result;
}

}  // namespace

std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  grpc::ChannelArguments args;
  args.SetLoadBalancingPolicyName("round_robin");
  args.SetMaxReceiveMessageSize(kMaxMessageBytes);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  // gRPC's own defaults (1 s, 20 s, 2 min) would leave callers waiting long after a restart.
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2'000);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  // Proxies are for the web; gRPC would send even loopback addresses through $http_proxy.
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), args);
}

// LogService

Log::Log(const std::shared_ptr<grpc::Channel>& channel, Options options)
    : stub_(v1::LogService::NewStub(channel)), options_(options) {}

absl::StatusOr<v1::PushLogsResponse> Log::Push(v1::PushLogsRequest request) {
  return Call(stub_, options_, Effect::kWrite, &v1::LogService::Stub::async::PushLogs,
              Named(std::move(request)));
}

void Log::PushAsync(v1::PushLogsRequest request, Callback<v1::PushLogsResponse> done) {
  Start(stub_, options_, Effect::kWrite, &v1::LogService::Stub::async::PushLogs,
        Named(std::move(request)), std::move(done));
}

absl::StatusOr<v1::PullLogsResponse> Log::Pull(const v1::PullLogsRequest& request) {
  SLUICE_ASSIGN_OR_RETURN(
      v1::PullLogsResponse response,
      Call(stub_, options_, Effect::kRead, &v1::LogService::Stub::async::PullLogs, request));
  std::optional<SeqId> last(request.start_seq_id());
  for (const v1::Append& append : response.appends()) {
    SLUICE_RETURN_IF_ERROR(Continue(append, &last));
  }
  return response;
}

absl::StatusOr<v1::DescribeLogResponse> Log::Describe(const CollectionId& collection) {
  v1::DescribeLogRequest request;
  request.set_collection_id(collection.ToString());
  return Call(stub_, options_, Effect::kRead, &v1::LogService::Stub::async::DescribeLog,
              std::move(request));
}

absl::StatusOr<v1::TrimLogResponse> Log::Trim(const CollectionId& collection, SeqId up_to) {
  v1::TrimLogRequest request;
  request.set_collection_id(collection.ToString());
  request.set_up_to_seq_id(up_to.value);
  return Call(stub_, options_, Effect::kWrite, &v1::LogService::Stub::async::TrimLog,
              std::move(request));
}

absl::StatusOr<v1::Cursor> Log::CommitCursor(v1::CommitCursorRequest request) {
  SLUICE_ASSIGN_OR_RETURN(
      v1::CommitCursorResponse response,
      Call(stub_, options_, Effect::kWrite, &v1::LogService::Stub::async::CommitCursor,
           Named(std::move(request))));
  return std::move(*response.mutable_cursor());
}

void Log::CommitCursorAsync(v1::CommitCursorRequest request,
                            Callback<v1::CommitCursorResponse> done) {
  Start(stub_, options_, Effect::kWrite, &v1::LogService::Stub::async::CommitCursor,
        Named(std::move(request)), std::move(done));
}

absl::StatusOr<v1::Cursor> Log::RollbackCursor(const v1::RollbackCursorRequest& request) {
  SLUICE_ASSIGN_OR_RETURN(
      v1::RollbackCursorResponse response,
      Call(stub_, options_, Effect::kWrite, &v1::LogService::Stub::async::RollbackCursor, request));
  return std::move(*response.mutable_cursor());
}

absl::StatusOr<v1::GetCursorResponse> Log::GetCursor(const CollectionId& collection,
                                                     const std::string& name) {
  v1::GetCursorRequest request;
  request.set_collection_id(collection.ToString());
  request.set_name(name);
  return Call(stub_, options_, Effect::kRead, &v1::LogService::Stub::async::GetCursor,
              std::move(request));
}

absl::StatusOr<v1::ListCursorsResponse> Log::ListCursors(const CollectionId& collection) {
  v1::ListCursorsRequest request;
  request.set_collection_id(collection.ToString());
  return Call(stub_, options_, Effect::kRead, &v1::LogService::Stub::async::ListCursors,
              std::move(request));
}

absl::Status Log::DeleteCursor(const v1::DeleteCursorRequest& request) {
  return Call(stub_, options_, Effect::kWrite, &v1::LogService::Stub::async::DeleteCursor, request)
      .status();
}

absl::Status Log::ReadView(const v1::ReadViewRequest& request,
                           absl::FunctionRef<absl::Status(v1::ReadViewResponse&)> on_message) {
  const auto give_up = std::chrono::steady_clock::now() + options_.total_deadline;
  for (int failures = 1;; ++failures) {
    grpc::ClientContext context;
    context.set_wait_for_ready(failures > 1);
    const auto left = LeftUntil(give_up);
    context.set_deadline(std::chrono::system_clock::now() + left);
    ViewCheck check(request);
    absl::Status refused;
    v1::ReadViewResponse message;
    const auto reader = stub_->ReadView(&context, request);
    while (refused.ok() && reader->Read(&message)) {
      refused = check.Accept(message);
      if (refused.ok()) refused = on_message(message);
    }
    if (!refused.ok()) context.TryCancel();
    const grpc::Status status = reader->Finish();
    if (!refused.ok()) return refused;
    if (status.ok()) return check.Complete();
    absl::Status error = FromGrpc(status, context);
    if (check.begun()) return error;
    const auto wait = WaitBeforeRetry(options_, error, failures, LeftUntil(give_up), RandomShare());
    if (!wait)
      return failures > 1 ? Annotate(error, absl::StrCat("after ", failures, " attempts")) : error;
    std::this_thread::sleep_for(*wait);
  }
}

// CatalogService

Catalog::Catalog(const std::shared_ptr<grpc::Channel>& channel, Options options)
    : stub_(v1::CatalogService::NewStub(channel)), options_(options) {}

absl::StatusOr<v1::CreateCollectionResponse> Catalog::Create(v1::CreateCollectionRequest request) {
  if (request.collection_id().empty()) request.set_collection_id(Uuid::Random().ToString());
  return Call(stub_, options_, Effect::kWrite, &v1::CatalogService::Stub::async::CreateCollection,
              std::move(request));
}

absl::StatusOr<v1::Collection> Catalog::Get(const v1::CollectionRef& ref) {
  v1::GetCollectionRequest request;
  *request.mutable_collection() = ref;
  SLUICE_ASSIGN_OR_RETURN(
      v1::GetCollectionResponse response,
      Call(stub_, options_, Effect::kRead, &v1::CatalogService::Stub::async::GetCollection,
           std::move(request)));
  return std::move(*response.mutable_collection());
}

absl::StatusOr<v1::ListCollectionsResponse> Catalog::List(
    const v1::ListCollectionsRequest& request) {
  return Call(stub_, options_, Effect::kRead, &v1::CatalogService::Stub::async::ListCollections,
              request);
}

absl::StatusOr<v1::Collection> Catalog::Update(const v1::UpdateCollectionRequest& request) {
  SLUICE_ASSIGN_OR_RETURN(v1::UpdateCollectionResponse response,
                          Call(stub_, options_, Effect::kWrite,
                               &v1::CatalogService::Stub::async::UpdateCollection, request));
  return std::move(*response.mutable_collection());
}

absl::StatusOr<v1::Collection> Catalog::Delete(const v1::CollectionRef& ref) {
  v1::DeleteCollectionRequest request;
  *request.mutable_collection() = ref;
  if (ref.id().empty()) {
    const absl::StatusOr<v1::Collection> collection = Get(ref);
    if (!collection.ok()) return WithOutcome(collection.status(), Outcome::kNotIn);
    request.mutable_collection()->set_id(collection->id());
  }
  SLUICE_ASSIGN_OR_RETURN(
      v1::DeleteCollectionResponse response,
      Call(stub_, options_, Effect::kWrite, &v1::CatalogService::Stub::async::DeleteCollection,
           std::move(request)));
  return std::move(*response.mutable_collection());
}

// CompactionService

Compaction::Compaction(const std::shared_ptr<grpc::Channel>& channel, Options options)
    : stub_(v1::CompactionService::NewStub(channel)), options_(options) {}

absl::StatusOr<v1::ClaimResponse> Compaction::Claim(const v1::ClaimRequest& request) {
  Options options = options_;
  options.attempt_deadline += std::chrono::milliseconds(request.wait_ms());
  options.total_deadline += std::chrono::milliseconds(request.wait_ms());
  return Call(stub_, options, Effect::kWrite, &v1::CompactionService::Stub::async::Claim, request);
}

absl::StatusOr<v1::RenewResponse> Compaction::Renew(const v1::RenewRequest& request) {
  return Call(stub_, options_, Effect::kWrite, &v1::CompactionService::Stub::async::Renew, request);
}

absl::StatusOr<v1::CommitResponse> Compaction::Commit(const v1::CommitRequest& request) {
  return Call(stub_, options_, Effect::kWrite, &v1::CompactionService::Stub::async::Commit,
              request);
}

absl::Status Compaction::Release(const v1::ReleaseRequest& request) {
  return Call(stub_, options_, Effect::kWrite, &v1::CompactionService::Stub::async::Release,
              request)
      .status();
}

absl::StatusOr<v1::ListGarbageResponse> Compaction::ListGarbage(
    const v1::ListGarbageRequest& request) {
  return Call(stub_, options_, Effect::kRead, &v1::CompactionService::Stub::async::ListGarbage,
              request);
}

absl::StatusOr<v1::ListMissingVectorsResponse> Compaction::ListMissingVectors(
    const v1::ListMissingVectorsRequest& request) {
  return Call(stub_, options_, Effect::kRead,
              &v1::CompactionService::Stub::async::ListMissingVectors, request);
}

absl::Status Compaction::RetryMissingVectors(const v1::RetryMissingVectorsRequest& request) {
  return Call(stub_, options_, Effect::kWrite,
              &v1::CompactionService::Stub::async::RetryMissingVectors, request)
      .status();
}

absl::Status Compaction::DropMissingVectors(const v1::DropMissingVectorsRequest& request) {
  return Call(stub_, options_, Effect::kWrite,
              &v1::CompactionService::Stub::async::DropMissingVectors, request)
      .status();
}

absl::Status Compaction::CollectGarbage(const v1::CollectGarbageRequest& request) {
  return Call(stub_, options_, Effect::kWrite, &v1::CompactionService::Stub::async::CollectGarbage,
              request)
      .status();
}

// AdminService

Admin::Admin(const std::shared_ptr<grpc::Channel>& channel, Options options)
    : stub_(v1::AdminService::NewStub(channel)), options_(options) {}

absl::StatusOr<v1::ClockReading> Admin::ReadClock() {
  return Call(stub_, options_, Effect::kRead, &v1::AdminService::Stub::async::ReadClock,
              v1::ReadClockRequest());
}

absl::StatusOr<v1::ClockReading> Admin::CorrectClock() {
  return Call(stub_, options_, Effect::kWrite, &v1::AdminService::Stub::async::CorrectClock,
              v1::CorrectClockRequest());
}

// FrontendService

Frontend::Frontend(const std::shared_ptr<grpc::Channel>& channel, Options options)
    : stub_(v1::FrontendService::NewStub(channel)), options_(options) {}

absl::StatusOr<v1::WriteResponse> Frontend::Add(v1::WriteRequest request) {
  return Call(stub_, options_, Effect::kWrite, &v1::FrontendService::Stub::async::Add,
              Named(std::move(request)));
}

absl::StatusOr<v1::WriteResponse> Frontend::Update(v1::WriteRequest request) {
  return Call(stub_, options_, Effect::kWrite, &v1::FrontendService::Stub::async::Update,
              Named(std::move(request)));
}

absl::StatusOr<v1::WriteResponse> Frontend::Upsert(v1::WriteRequest request) {
  return Call(stub_, options_, Effect::kWrite, &v1::FrontendService::Stub::async::Upsert,
              Named(std::move(request)));
}

absl::StatusOr<v1::WriteResponse> Frontend::Delete(v1::DeleteRequest request) {
  return Call(stub_, options_, Effect::kWrite, &v1::FrontendService::Stub::async::Delete,
              Named(std::move(request)));
}

void Frontend::AddAsync(v1::WriteRequest request, Callback<v1::WriteResponse> done) {
  Start(stub_, options_, Effect::kWrite, &v1::FrontendService::Stub::async::Add,
        Named(std::move(request)), std::move(done));
}

void Frontend::UpdateAsync(v1::WriteRequest request, Callback<v1::WriteResponse> done) {
  Start(stub_, options_, Effect::kWrite, &v1::FrontendService::Stub::async::Update,
        Named(std::move(request)), std::move(done));
}

void Frontend::UpsertAsync(v1::WriteRequest request, Callback<v1::WriteResponse> done) {
  Start(stub_, options_, Effect::kWrite, &v1::FrontendService::Stub::async::Upsert,
        Named(std::move(request)), std::move(done));
}

void Frontend::DeleteAsync(v1::DeleteRequest request, Callback<v1::WriteResponse> done) {
  Start(stub_, options_, Effect::kWrite, &v1::FrontendService::Stub::async::Delete,
        Named(std::move(request)), std::move(done));
}

absl::StatusOr<v1::GetResponse> Frontend::Get(const v1::GetRequest& request) {
  return Call(stub_, options_, Effect::kRead, &v1::FrontendService::Stub::async::Get, request);
}

absl::StatusOr<v1::CountResponse> Frontend::Count(const v1::CountRequest& request) {
  return Call(stub_, options_, Effect::kRead, &v1::FrontendService::Stub::async::Count, request);
}

absl::StatusOr<v1::QueryResponse> Frontend::Query(const v1::QueryRequest& request) {
  return Call(stub_, options_, Effect::kRead, &v1::FrontendService::Stub::async::Query, request);
}

}  // namespace sluice::client

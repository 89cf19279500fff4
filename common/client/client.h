// The C++ client of Sluice: what a program links to push, subscribe, read and administer.
//
// Every call retries what may be retried (retry.h: UNAVAILABLE, OVERLOADED, DEADLINE_EXCEEDED of
// one attempt) with jittered backoff, honours RetryInfo, and gives up at the call's total deadline.
// Writes carry a request_id made once per call, so that a retry never adds anything. A call that
// failed after several attempts states the outcome over all of them (OutcomeOf): UNKNOWN if any
// attempt may be in and none succeeded. BACKLOG is not retried: slow down instead.
//
// All classes are thread-safe unless they say otherwise; they share the channel they are given.
// Async calls may outlive the object that began them: `done` is called exactly once, on a thread of
// gRPC's, and must not block. They may not outlive the channel, and `done` must not drop the last
// reference to it: gRPC 1.51 ends its callback threads with the last channel of the process, and
// crashes if it is on one of them.
#pragma once

#include <grpcpp/channel.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/client/options.h"
#include "sluice/v1/admin.grpc.pb.h"
#include "sluice/v1/catalog.grpc.pb.h"
#include "sluice/v1/compaction.grpc.pb.h"
#include "sluice/v1/frontend.grpc.pb.h"
#include "sluice/v1/log.grpc.pb.h"

namespace sluice::client {

// The largest message that is taken, both ways.
inline constexpr size_t kMaxMessageBytes = 32 << 20;

// A channel with Sluice's settings: round robin over the addresses of the name, keepalive, quick
// reconnects, messages up to 32 MiB, no HTTP proxy. Plain text. Connects with the first call.
std::shared_ptr<grpc::Channel> Connect(const std::string& address);

template <class T>
using Callback = std::function<void(absl::StatusOr<T>)>;

// A subscription that survives reconnects: it resumes after the last SeqId it returned, on the
// incarnation it began with. What the server sends is checked to continue what came before: a gap
// or a repeat is DATA_LOSS and never passed on. One message is read ahead. Used by one thread at a
// time, except Cancel.
class Subscription {
 public:
  ~Subscription();
  // True: *message holds the next one (appends, or a heartbeat, or both). False: the range asked
  // for is complete. OUT_OF_RANGE, DATA_LOSS, NOT_FOUND, FAILED_PRECONDITION, INVALID_ARGUMENT,
  // UNIMPLEMENTED, PERMISSION_DENIED and UNAUTHENTICATED end it, and so does Cancel (CANCELLED),
  // each said again by later calls; on anything else, and on silence for several heartbeats, it
  // reconnects, for as long as it takes.
  absl::StatusOr<bool> Next(v1::SubscribeResponse* message);
  // From any thread.
  void Cancel();
  // The last SeqId returned; where the subscription began if none was; 0 while that is not known
  // yet.
  SeqId last() const;

 private:
  friend class Log;
  struct State;
  explicit Subscription(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Appends to one collection, in the order in which they are handed over, many under way at a time.
// Each names the one before it while that is not answered, so that the log takes none before its
// predecessor; what is refused for a while, or lost with a stream or a server, is sent again from
// there on, under the same names, until it is in. So what is in is always a first part of what was
// handed over, each append once, whatever happens to the streams and the log.
//
// An append that cannot come in (INVALID_ARGUMENT, NOT_FOUND, BACKLOG, ... see retry.h; or nothing
// was acknowledged for the total deadline) fails, and so do all after it that were handed over:
// PREDECESSOR_MISSING, with their own outcome. Then the stream stands still until Resume, so that
// nothing follows what its caller does not know to be missing.
//
// Thread-safe; the order is that of the calls of Push. It runs on a thread of its own.
class PushStream {
 public:
  // Ends it: what is not answered fails with CANCELLED. Flush first to have it answered.
  ~PushStream();

  // Waits until the window has room, then takes the append: records, conditions, perhaps a
  // request_id; the stream sets the rest. `done` is called once, on the stream's thread, in the
  // order of the appends. It delays the stream's answers, and must not call the stream. Not OK: the
  // append was not taken, and `done` is not called: the stream stands still (the error says why),
  // or the request is larger than what servers read (TOO_LARGE).
  absl::Status Push(v1::PushLogsRequest request, Callback<v1::PushLogsResponse> done);
  // Waits until all that was taken is answered, and every `done` has returned; then as status().
  absl::Status Flush();
  // Why it stands still: what the append that failed was told. OK: it does not.
  absl::Status status() const;
  // Goes on with what is handed over from now on, which does not depend on what failed.
  void Resume();

 private:
  friend class Log;
  struct State;
  explicit PushStream(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// LogService.
class Log {
 public:
  explicit Log(const std::shared_ptr<grpc::Channel>& channel, Options options = {});

  // Sets request_id if it is empty.
  absl::StatusOr<v1::PushLogsResponse> Push(v1::PushLogsRequest request);
  void PushAsync(v1::PushLogsRequest request, Callback<v1::PushLogsResponse> done);
  // For many appends in order; Push and PushAsync keep none.
  std::unique_ptr<PushStream> OpenPushStream(const CollectionId& collection,
                                             const PushWindow& window = {});
  absl::StatusOr<v1::PullLogsResponse> Pull(const v1::PullLogsRequest& request);
  absl::StatusOr<v1::DescribeLogResponse> Describe(const CollectionId& collection);
  absl::StatusOr<v1::TrimLogResponse> Trim(const CollectionId& collection, SeqId up_to);
  std::unique_ptr<Subscription> Subscribe(v1::SubscribeRequest request);
  // Cursors. To begin where one stands: Subscribe with `cursor`; to move it: CommitCursor with the
  // last SeqId dealt with, and what the cursor is expected to be at. Sets request_id if it is
  // empty.
  absl::StatusOr<v1::Cursor> CommitCursor(v1::CommitCursorRequest request);
  void CommitCursorAsync(v1::CommitCursorRequest request, Callback<v1::CommitCursorResponse> done);
  absl::StatusOr<v1::Cursor> RollbackCursor(const v1::RollbackCursorRequest& request);
  absl::StatusOr<v1::GetCursorResponse> GetCursor(const CollectionId& collection,
                                                  const std::string& name);
  absl::StatusOr<v1::ListCursorsResponse> ListCursors(const CollectionId& collection);
  absl::Status DeleteCursor(const v1::DeleteCursorRequest& request);
  // Calls `on_message` for each message of one view, on the calling thread; an error that it
  // returns ends the call. Not retried once a message was delivered (a view is one snapshot): the
  // caller asks again. The records of an OK view have been checked to be whole: each after
  // max(after_seq_id, applied), up to the tail. Within total_deadline.
  absl::Status ReadView(const v1::ReadViewRequest& request,
                        absl::FunctionRef<absl::Status(v1::ReadViewResponse&)> on_message);

 private:
  std::shared_ptr<v1::LogService::Stub> stub_;
  Options options_;
};

// CatalogService. Create fills collection_id, and Delete resolves a name first, so that a retry is
// not mistaken for another call.
class Catalog {
 public:
  explicit Catalog(const std::shared_ptr<grpc::Channel>& channel, Options options = {});
  absl::StatusOr<v1::CreateCollectionResponse> Create(v1::CreateCollectionRequest request);
  absl::StatusOr<v1::Collection> Get(const v1::CollectionRef& ref);
  absl::StatusOr<v1::ListCollectionsResponse> List(const v1::ListCollectionsRequest& request);
  absl::StatusOr<v1::Collection> Update(const v1::UpdateCollectionRequest& request);
  absl::StatusOr<v1::Collection> Delete(const v1::CollectionRef& ref);

 private:
  std::shared_ptr<v1::CatalogService::Stub> stub_;
  Options options_;
};

// CompactionService. The deadlines of Claim are extended by its wait_ms.
class Compaction {
 public:
  explicit Compaction(const std::shared_ptr<grpc::Channel>& channel, Options options = {});
  absl::StatusOr<v1::ClaimResponse> Claim(const v1::ClaimRequest& request);
  absl::StatusOr<v1::RenewResponse> Renew(const v1::RenewRequest& request);
  absl::StatusOr<v1::CommitResponse> Commit(const v1::CommitRequest& request);
  absl::Status Release(const v1::ReleaseRequest& request);
  absl::StatusOr<v1::ListGarbageResponse> ListGarbage(const v1::ListGarbageRequest& request);
  absl::Status CollectGarbage(const v1::CollectGarbageRequest& request);
  absl::StatusOr<v1::ListMissingVectorsResponse> ListMissingVectors(
      const v1::ListMissingVectorsRequest& request);
  absl::Status RetryMissingVectors(const v1::RetryMissingVectorsRequest& request);
  absl::Status DropMissingVectors(const v1::DropMissingVectorsRequest& request);

 private:
  std::shared_ptr<v1::CompactionService::Stub> stub_;
  Options options_;
};

// AdminService: what an operator asks of a log.
class Admin {
 public:
  explicit Admin(const std::shared_ptr<grpc::Channel>& channel, Options options = {});
  absl::StatusOr<v1::ClockReading> ReadClock();
  absl::StatusOr<v1::ClockReading> CorrectClock();

 private:
  std::shared_ptr<v1::AdminService::Stub> stub_;
  Options options_;
};

// FrontendService. Writes set request_id if it is empty.
class Frontend {
 public:
  explicit Frontend(const std::shared_ptr<grpc::Channel>& channel, Options options = {});
  absl::StatusOr<v1::WriteResponse> Add(v1::WriteRequest request);
  absl::StatusOr<v1::WriteResponse> Update(v1::WriteRequest request);
  absl::StatusOr<v1::WriteResponse> Upsert(v1::WriteRequest request);
  absl::StatusOr<v1::WriteResponse> Delete(v1::DeleteRequest request);
  void AddAsync(v1::WriteRequest request, Callback<v1::WriteResponse> done);
  void UpdateAsync(v1::WriteRequest request, Callback<v1::WriteResponse> done);
  void UpsertAsync(v1::WriteRequest request, Callback<v1::WriteResponse> done);
  void DeleteAsync(v1::DeleteRequest request, Callback<v1::WriteResponse> done);
  absl::StatusOr<v1::GetResponse> Get(const v1::GetRequest& request);
  absl::StatusOr<v1::CountResponse> Count(const v1::CountRequest& request);
  absl::StatusOr<v1::QueryResponse> Query(const v1::QueryRequest& request);

 private:
  std::shared_ptr<v1::FrontendService::Stub> stub_;
  Options options_;
};

}  // namespace sluice::client

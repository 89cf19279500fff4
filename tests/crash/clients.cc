#include "tests/crash/clients.h"

#include <grpcpp/client_context.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <latch>
#include <map>
#include <optional>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/client/client.h"
#include "common/errors/errors.h"
#include "sluice/v1/log.grpc.pb.h"

namespace sluice::testing {
namespace {

// Appends whose outcome a client leaves open, to try them again later.
constexpr size_t kMostLeftOpen = 8;
// What a push stream has under way; what is handed to it before the next pause.
constexpr client::PushWindow kPushWindow{.appends = 16};
constexpr uint64_t kMostInABurst = 20;
// It leaves a gRPC stream that is silent for as long, as the other clients give up a call.
constexpr client::Options kPushStreamOptions{.attempt_deadline = std::chrono::seconds(1)};
// What a subscriber takes of one stream; then it opens another.
constexpr std::chrono::seconds kStreamDeadline(5);

bool MayHappen(const absl::Status& error) {
  return absl::IsUnavailable(error) || absl::IsDeadlineExceeded(error) ||
         absl::IsCancelled(error) || absl::IsResourceExhausted(error);
}

uint64_t NumberOf(const absl::Status& error, std::string_view key) {
  return std::stoull("0" + ErrorMetadata(error, key));
}

// nullopt: `error` is not about a condition.
std::optional<Refusal> RefusalOf(const absl::Status& error) {
  Refusal refusal;
  switch (ReasonOf(error).value_or(Reason::INVALID_REQUEST)) {
    case Reason::PREDECESSOR_MISSING:
      refusal.no_predecessor = true;
      return refusal;
    case Reason::TAIL_MOVED:
      refusal.tail = NumberOf(error, "tail_seq_id");
      return refusal;
    case Reason::IDS_CHANGED:
      refusal.changed = {ErrorMetadata(error, "id"), NumberOf(error, "seq_id")};
      return refusal;
    case Reason::OBSERVED_TOO_OLD:
      return refusal;
    default:
      return std::nullopt;
  }
}

std::vector<ShownAppend> Shown(const google::protobuf::RepeatedPtrField<v1::Append>& appends) {
  std::vector<ShownAppend> shown;
  for (const v1::Append& append : appends) {
    ShownAppend& part = shown.emplace_back();
    part.first_seq_id = append.first_seq_id();
    for (const v1::OperationRecord& record : append.records())
      part.records.push_back(DigestOf(record));
  }
  return shown;
}

class Client {
 public:
  Client(Scene& scene, size_t number)
      : scene_(scene),
        stub_(v1::LogService::NewStub(scene.channel)),
        random_(scene.seed + number),
        number_(number) {}

  // Everything that is handed over must come in: the log is never away for long. To one collection
  // alone: where a tail always moves, no condition on it holds.
  void RunPushStream() {
    const size_t collection = 0;
    const auto id = ParseCollectionId(scene_.collections[collection]);
    SLUICE_CHECK(id.ok());
    const auto stream =
        client::Log(scene_.channel, kPushStreamOptions).OpenPushStream(*id, kPushWindow);
    Conditions named;
    while (scene_.recorder.operations() < scene_.operations) {
      for (uint64_t left = 1 + Below(kMostInABurst); left > 0; --left) {
        Append append = NewAppend(/*request_id=*/false, collection, {}, named);
        named.predecessor = append.index;
        PushCall call{.append = append.index, .several_attempts = true};
        call.called = scene_.recorder.Now();
        const auto done = [this, call](const absl::StatusOr<v1::PushLogsResponse>& result) mutable {
          if (!result.ok())
            scene_.recorder.Unexpected("a push stream gave up: " + result.status().ToString());
          Answered(result.status(), result.ok() ? *result : v1::PushLogsResponse(), &call);
        };
        if (!stream->Push(std::move(append.request), done).ok()) return;
      }
      if (!stream->Flush().ok()) return;
    }
  }

  void Run() {
    while (scene_.recorder.operations() < scene_.operations) {
      const uint64_t dice = Below(100);
      if (dice < 15) {
        Pull(Below(scene_.collections.size()));
      } else if (dice < 20) {
        Describe(Below(scene_.collections.size()));
      } else if (dice < 40) {
        Send(NewAppend(/*request_id=*/false));
      } else if (dice < 50) {
        if (left_open_.empty()) continue;
        Append append = std::move(left_open_.front());
        left_open_.pop_front();
        PushUntilAnswered(std::move(append));
      } else if (dice < 60) {
        PushOnCondition();
      } else if (dice < 65) {
        PushInOrder();
      } else {
        PushUntilAnswered(NewAppend(/*request_id=*/true));
      }
    }
  }

 private:
  struct Append {
    size_t index = 0;
    size_t collection = 0;
    v1::PushLogsRequest request;
  };
  // One attempt.
  struct Exchange {
    grpc::ClientContext context;
    v1::PushLogsResponse response;
    PushCall call;
  };

  uint64_t Below(uint64_t n) { return std::uniform_int_distribution<uint64_t>(0, n - 1)(random_); }

  // Most calls have time for a restart; some give up so early that nobody knows what became of
  // them.
  void SetDeadline(grpc::ClientContext* context) {
    const std::chrono::milliseconds deadline(Below(50) == 0 ? 1 + Below(10) : 1000);
    context->set_deadline(std::chrono::system_clock::now() + deadline);
    context->set_wait_for_ready(true);
  }

  // `conditions` are in the request; `named` says the same to the history.
  Append NewAppend(bool request_id, size_t collection, v1::PushLogsRequest conditions,
                   Conditions named) {
    Append append;
    append.collection = collection;
    append.request = std::move(conditions);
    append.request.set_collection_id(scene_.collections[collection]);
    if (request_id) append.request.set_request_id(Uuid::TimeOrdered(NowMicros() / 1000).ToString());
    PushedAppend pushed;
    pushed.name = absl::StrCat("w", number_, "-", appends_++);
    pushed.collection = collection;
    pushed.conditions = std::move(named);
    const bool large = Below(50) == 0;
    for (uint64_t i = 0, count = 1 + Below(large ? 20 : 3); i < count; ++i) {
      v1::OperationRecord* record = append.request.add_records();
      record->set_id(RandomId());
      record->set_operation(v1::OPERATION_UPSERT);
      record->set_document(
          absl::StrCat(pushed.name, ".", i, " ", std::string(Below(large ? 4000 : 100), 'x')));
      pushed.records.push_back(DigestOf(*record));
      pushed.ids.push_back(record->id());
    }
    if (append.request.has_if_ids_unchanged() && append.request.if_ids_unchanged().ids().empty())
      pushed.conditions.ids->ids = pushed.ids;
    append.index = scene_.recorder.Begin(std::move(pushed));
    return append;
  }
  Append NewAppend(bool request_id) {
    return NewAppend(request_id, Below(scene_.collections.size()), {}, {});
  }

  void Start(const Append& append, Exchange* exchange) {
    SetDeadline(&exchange->context);
    exchange->call.append = append.index;
    exchange->call.called = scene_.recorder.Now();
  }

  void Finish(const absl::Status& status, Exchange* exchange) {
    Answered(status, exchange->response, &exchange->call);
  }
  void Answered(const absl::Status& status, const v1::PushLogsResponse& response, PushCall* call) {
    call->answered = scene_.recorder.Now();
    call->outcome = OutcomeOf(status);
    if (status.ok()) {
      call->first_seq_id = response.first_seq_id();
      call->tail_seq_id = response.tail_seq_id();
      call->duplicate = response.duplicate();
    } else if (!MayHappen(status)) {
      call->refusal = RefusalOf(status);
      if (!call->refusal || call->outcome != Outcome::kNotIn)
        scene_.recorder.Unexpected("a push was answered " + status.ToString());
    }
    scene_.recorder.Answered(*call);
  }

  PushCall Send(const Append& append) {
    Exchange exchange;
    Start(append, &exchange);
    const grpc::Status status =
        stub_->PushLogs(&exchange.context, append.request, &exchange.response);
    Finish(FromGrpc(status, exchange.context), &exchange);
    return exchange.call;
  }

  // Every third acknowledged append is pushed once more, as if its answer had been lost.
  void PushUntilAnswered(Append append) {
    for (;;) {
      const PushCall call = Send(append);
      if (call.outcome == Outcome::kIn) break;
      if (call.refusal || scene_.recorder.operations() >= scene_.operations) return;
      if (left_open_.size() < kMostLeftOpen && Below(4) == 0) {
        left_open_.push_back(std::move(append));
        return;
      }
    }
    if (Below(3) == 0) Send(append);
  }

  // Only if the tail, or some ids, are as this client saw them last; mostly it looks before.
  void PushOnCondition() {
    const size_t collection = Below(scene_.collections.size());
    if (Below(4) != 0) Describe(collection);
    const uint64_t tail = tails_[collection];
    v1::PushLogsRequest conditions;
    Conditions named;
    if (Below(2) == 0) {
      conditions.set_if_tail_seq_id(tail);
      named.tail = tail;
    } else {
      v1::IdsUnchanged& unchanged = *conditions.mutable_if_ids_unchanged();
      unchanged.set_since_seq_id(tail - std::min(tail, Below(10)));
      for (uint64_t ids = Below(3); ids > 0; --ids) unchanged.add_ids(RandomId());
      named.ids = Conditions::Unchanged{unchanged.since_seq_id(),
                                        {unchanged.ids().begin(), unchanged.ids().end()}};
    }
    const bool request_id = Below(4) != 0;
    Append append = NewAppend(request_id, collection, std::move(conditions), named);
    if (request_id) {
      PushUntilAnswered(std::move(append));
    } else {
      Send(append);
    }
  }

  // Several at once, each of which names the one before it, until all are in.
  void PushInOrder() {
    const size_t collection = Below(scene_.collections.size());
    std::deque<Append> left;
    for (uint64_t count = 2 + Below(4); left.size() < count;) {
      v1::PushLogsRequest conditions;
      Conditions named;
      if (!left.empty()) {
        conditions.set_predecessor_request_id(left.back().request.request_id());
        named.predecessor = left.back().index;
      }
      left.push_back(NewAppend(/*request_id=*/true, collection, std::move(conditions), named));
    }
    while (!left.empty() && scene_.recorder.operations() < scene_.operations) {
      std::vector<Exchange> exchanges(left.size());
      std::latch answered(static_cast<std::ptrdiff_t>(left.size()));
      for (size_t i = 0; i < left.size(); ++i) {
        Exchange* const exchange = &exchanges[i];
        Start(left[i], exchange);
        stub_->async()->PushLogs(&exchange->context, &left[i].request, &exchange->response,
                                 [this, exchange, &answered](const grpc::Status& status) {
                                   Finish(FromGrpc(status, exchange->context), exchange);
                                   answered.count_down();
                                 });
      }
      answered.wait();
      for (const Exchange& exchange : exchanges) {
        if (exchange.call.outcome != Outcome::kIn) break;
        left.pop_front();
      }
    }
  }

  std::string RandomId() { return absl::StrCat("k", Below(64)); }

  void Pull(size_t collection) {
    uint64_t& tail = tails_[collection];
    const uint64_t from_tail = Below(2) == 0 ? Below(20) : Below(tail + 1);
    v1::PullLogsRequest request;
    request.set_collection_id(scene_.collections[collection]);
    request.set_start_seq_id(tail - std::min(tail, from_tail));
    request.set_max_records(1 + static_cast<uint32_t>(Below(50)));
    Observation seen{.collection = collection, .after_seq_id = request.start_seq_id()};
    v1::PullLogsResponse response;
    if (!Read(&v1::LogService::Stub::PullLogs, request, &response, &seen)) return;
    tail = response.tail_seq_id();
    seen.tail = tail;
    seen.appends = Shown(response.appends());
    scene_.recorder.Saw(std::move(seen));
  }

  void Describe(size_t collection) {
    v1::DescribeLogRequest request;
    request.set_collection_id(scene_.collections[collection]);
    Observation seen{.collection = collection};
    v1::DescribeLogResponse response;
    if (!Read(&v1::LogService::Stub::DescribeLog, request, &response, &seen)) return;
    tails_[collection] = response.tail_seq_id();
    seen.tail = response.tail_seq_id();
    scene_.recorder.Saw(std::move(seen));
  }

  template <class Request, class Response>
  bool Read(grpc::Status (v1::LogService::Stub::*method)(grpc::ClientContext*, const Request&,
                                                         Response*),
            const Request& request, Response* response, Observation* seen) {
    grpc::ClientContext context;
    SetDeadline(&context);
    seen->called = scene_.recorder.Now();
    const absl::Status status = FromGrpc((*stub_.*method)(&context, request, response), context);
    seen->answered = scene_.recorder.Now();
    if (!status.ok() && !MayHappen(status))
      scene_.recorder.Unexpected("a read was answered " + status.ToString());
    return status.ok();
  }

  Scene& scene_;
  const std::unique_ptr<v1::LogService::Stub> stub_;
  std::mt19937_64 random_;
  const size_t number_;
  uint64_t appends_ = 0;
  std::deque<Append> left_open_;
  std::map<size_t, uint64_t> tails_;  // by collection, as last seen
};

}  // namespace

void RunClient(Scene& scene, size_t number) { Client(scene, number).Run(); }

void RunPushStreamClient(Scene& scene, size_t number) { Client(scene, number).RunPushStream(); }

void RunSubscriber(Scene& scene, size_t number) {
  const size_t collection = number % scene.collections.size();
  const auto stub = v1::LogService::NewStub(scene.channel);
  std::mt19937_64 random(scene.seed + 1000 + number);
  uint64_t last = 0;
  const auto complete = [&] { return last >= scene.ends[collection].seq_id; };
  while (!complete()) {
    v1::SubscribeRequest request;
    request.set_collection_id(scene.collections[collection]);
    request.set_after_seq_id(last);
    request.set_heartbeat_ms(100);
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(std::chrono::system_clock::now() + kStreamDeadline);
    const Moment called = scene.recorder.Now();
    const auto stream = stub->Subscribe(&context, request);
    const uint64_t leaves_after = 1 + random() % 200;
    v1::SubscribeResponse message;
    for (uint64_t messages = 0; messages < leaves_after && !complete() && stream->Read(&message);
         ++messages) {
      Observation seen{.collection = collection, .called = called, .after_seq_id = last};
      seen.answered = scene.recorder.Now();
      if (message.has_heartbeat()) seen.tail = message.heartbeat().tail_seq_id();
      seen.appends = Shown(message.appends());
      if (!seen.appends.empty())
        last = seen.appends.back().first_seq_id + seen.appends.back().records.size() - 1;
      seen.subscriber = number;
      scene.recorder.Saw(std::move(seen));
    }
    context.TryCancel();
    const absl::Status status = FromGrpc(stream->Finish(), context);
    if (!status.ok() && !MayHappen(status)) {
      scene.recorder.Unexpected("a subscription was answered " + status.ToString());
      return;
    }
  }
}

absl::Status ReadWholeLog(Scene& scene, size_t collection, std::vector<ShownAppend>* log) {
  const auto stub = v1::LogService::NewStub(scene.channel);
  v1::PullLogsRequest request;
  request.set_collection_id(scene.collections[collection]);
  request.set_max_records(10'000);
  v1::PullLogsResponse response;
  do {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    SLUICE_RETURN_IF_ERROR(FromGrpc(stub->PullLogs(&context, request, &response), context));
    for (ShownAppend& shown : Shown(response.appends())) {
      request.set_start_seq_id(shown.first_seq_id + shown.records.size() - 1);
      log->push_back(std::move(shown));
    }
  } while (response.appends_size() > 0);
  return absl::OkStatus();
}

}  // namespace sluice::testing

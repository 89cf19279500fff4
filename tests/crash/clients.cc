#include "tests/crash/clients.h"

#include <grpcpp/client_context.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/errors/errors.h"
#include "sluice/v1/log.grpc.pb.h"

namespace sluice::testing {
namespace {

// Appends whose outcome a client leaves open, to try them again later.
constexpr size_t kMostLeftOpen = 8;
// What a subscriber takes of one stream; then it opens another.
constexpr std::chrono::seconds kStreamDeadline(5);

bool MayHappen(const absl::Status& error) {
  return absl::IsUnavailable(error) || absl::IsDeadlineExceeded(error) ||
         absl::IsCancelled(error) || absl::IsResourceExhausted(error);
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

  void Run() {
    while (scene_.recorder.operations() < scene_.operations) {
      switch (Below(20)) {
        case 0:
        case 1:
        case 2:
          Pull();
          break;
        case 3:
          Describe();
          break;
        case 4:
        case 5:
        case 6:
        case 7:
        case 8:
          Send(NewAppend(/*request_id=*/false));
          break;
        case 9:
        case 10:
          if (!left_open_.empty()) {
            PushUntilAnswered(std::exchange(left_open_.front(), {}));
            left_open_.pop_front();
          }
          break;
        default:
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

  uint64_t Below(uint64_t n) { return std::uniform_int_distribution<uint64_t>(0, n - 1)(random_); }

  // Most calls have time for a restart; some give up so early that nobody knows what became of
  // them.
  void SetDeadline(grpc::ClientContext* context) {
    const std::chrono::milliseconds deadline(Below(50) == 0 ? 1 + Below(10) : 1000);
    context->set_deadline(std::chrono::system_clock::now() + deadline);
    context->set_wait_for_ready(true);
  }

  Append NewAppend(bool request_id) {
    Append append;
    append.collection = Below(scene_.collections.size());
    append.request.set_collection_id(scene_.collections[append.collection]);
    if (request_id) append.request.set_request_id(Uuid::TimeOrdered(NowMicros() / 1000).ToString());
    PushedAppend pushed;
    pushed.name = absl::StrCat("w", number_, "-", appends_++);
    pushed.collection = append.collection;
    const bool large = Below(50) == 0;
    for (uint64_t i = 0, count = 1 + Below(large ? 20 : 3); i < count; ++i) {
      v1::OperationRecord* record = append.request.add_records();
      record->set_id(absl::StrCat("k", Below(64)));
      record->set_operation(v1::OPERATION_UPSERT);
      record->set_document(
          absl::StrCat(pushed.name, ".", i, " ", std::string(Below(large ? 4000 : 100), 'x')));
      pushed.records.push_back(DigestOf(*record));
    }
    append.index = scene_.recorder.Begin(std::move(pushed));
    return append;
  }

  Outcome Send(const Append& append) {
    grpc::ClientContext context;
    SetDeadline(&context);
    v1::PushLogsResponse response;
    PushCall call{.append = append.index, .called = scene_.recorder.Now()};
    const absl::Status status =
        FromGrpc(stub_->PushLogs(&context, append.request, &response), context);
    call.answered = scene_.recorder.Now();
    call.outcome = OutcomeOf(status);
    if (status.ok()) {
      call.first_seq_id = response.first_seq_id();
      call.tail_seq_id = response.tail_seq_id();
      call.duplicate = response.duplicate();
    } else if (!MayHappen(status)) {
      scene_.recorder.Unexpected("a push was answered " + status.ToString());
    }
    scene_.recorder.Answered(call);
    return call.outcome;
  }

  // Every third acknowledged append is pushed once more, as if its answer had been lost.
  void PushUntilAnswered(Append append) {
    while (Send(append) != Outcome::kIn) {
      if (scene_.recorder.operations() >= scene_.operations) return;
      if (left_open_.size() < kMostLeftOpen && Below(4) == 0) {
        left_open_.push_back(std::move(append));
        return;
      }
    }
    if (Below(3) == 0) Send(append);
  }

  void Pull() {
    const size_t collection = Below(scene_.collections.size());
    uint64_t& tail = tails_.try_emplace(collection).first->second;
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

  void Describe() {
    const size_t collection = Below(scene_.collections.size());
    v1::DescribeLogRequest request;
    request.set_collection_id(scene_.collections[collection]);
    Observation seen{.collection = collection};
    v1::DescribeLogResponse response;
    if (!Read(&v1::LogService::Stub::DescribeLog, request, &response, &seen)) return;
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

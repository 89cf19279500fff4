// PushStream through a real server: order, refusals in the middle, what a stream may cost, and how
// it ends.
#include "services/log/push_stream.h"

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>

#include <atomic>

#include "absl/synchronization/notification.h"
#include "common/client/client.h"
#include "services/log/service_harness.h"

namespace sluice::log {
namespace {

using ::testing::ElementsAre;

class PushStreamTest : public ServiceTest {
 protected:
  using Client = grpc::ClientReaderWriter<v1::PushLogsRequest, v1::PushStreamResponse>;

  void SetUp() override {
    ServiceTest::SetUp();
    collection_ = NewCollection();
  }

  // One stream of a client. It must have ended before it goes.
  struct Stream {
    explicit Stream(v1::LogService::Stub& stub) {
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
      client = stub.PushStream(&context);
    }
    // The next answer, or how the stream ended.
    absl::StatusOr<v1::PushLogsResponse> Next() {
      v1::PushStreamResponse response;
      if (!client->Read(&response)) return absl::OutOfRangeError("the stream has ended");
      if (response.has_error()) return FromMessage(response.error());
      EXPECT_TRUE(response.has_pushed());
      return response.pushed();
    }
    void HalfClose() {
      if (!std::exchange(half_closed, true)) client->WritesDone();
    }
    absl::Status End() {
      HalfClose();
      EXPECT_TRUE(absl::IsOutOfRange(Next().status())) << "more answers than requests";
      return FromGrpc(client->Finish(), context);
    }

    grpc::ClientContext context;
    std::unique_ptr<Client> client;
    bool half_closed = false;
  };

  // Appends of a record each, "0" to the last, each of which names the one before it.
  std::vector<v1::PushLogsRequest> Chain(int count, size_t document_bytes = 10) const {
    std::vector<v1::PushLogsRequest> chain;
    for (int i = 0; i < count; ++i) {
      v1::PushLogsRequest request;
      request.set_collection_id(collection_);
      request.set_request_id(NewRequestId());
      if (i > 0) request.set_predecessor_request_id(chain.back().request_id());
      *request.add_records() = UpsertOf(std::to_string(i), std::string(document_bytes, 'x'));
      chain.push_back(std::move(request));
    }
    return chain;
  }

  // The ids in the log, in order.
  std::vector<std::string> Ids() {
    v1::PullLogsRequest request;
    request.set_collection_id(collection_);
    request.set_max_records(10'000);
    const auto pulled = Pull(request);
    EXPECT_TRUE(pulled.ok()) << pulled.status();
    std::vector<std::string> ids;
    for (const auto& append : pulled->appends()) {
      for (const auto& record : append.records()) ids.push_back(record.id());
    }
    return ids;
  }
  static std::vector<std::string> Numbers(size_t count) {
    std::vector<std::string> numbers;
    for (size_t i = 0; i < count; ++i) numbers.push_back(std::to_string(i));
    return numbers;
  }

  // Sums of the values of a metric.
  double Count(const std::string& name) {
    double count = 0;
    for (const auto& family : registry_->Collect()) {
      if (family.name != name) continue;
      for (const auto& metric : family.metric) count += metric.counter.value;
    }
    return count;
  }

  std::string collection_;
};

void ExpectNotIn(const absl::Status& error, Reason reason) {
  ExpectRefused(error, reason);
  EXPECT_EQ(OutcomeOf(error), Outcome::kNotIn) << error;
}

TEST_F(PushStreamTest, PipelinedAppendsAreInAndAnsweredInTheirOrder) {  // invariant 2
  const auto chain = Chain(500);
  Stream stream(*log_);
  std::jthread writer([&] {
    for (const auto& request : chain) ASSERT_TRUE(stream.client->Write(request));
  });
  for (uint64_t i = 1; i <= chain.size(); ++i) {
    const auto answer = stream.Next();
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->first_seq_id(), i);
    EXPECT_FALSE(answer->duplicate());
  }
  writer.join();
  EXPECT_TRUE(stream.End().ok());
  EXPECT_EQ(Ids(), Numbers(chain.size()));
}

TEST_F(PushStreamTest, AfterTheClientsHalfCloseTheRestIsAnsweredAndTheStreamEndsWell) {
  const auto chain = Chain(50);
  Stream stream(*log_);
  for (const auto& request : chain) ASSERT_TRUE(stream.client->Write(request));
  stream.HalfClose();
  for (size_t i = 0; i < chain.size(); ++i) EXPECT_TRUE(stream.Next().ok());
  EXPECT_TRUE(stream.End().ok());
  Stream empty(*log_);
  EXPECT_TRUE(empty.End().ok());
}

// Invariant 10.
TEST_F(PushStreamTest, ARefusedAppendEndsNothingAndKeepsOutOnlyWhatNamesIt) {
  auto chain = Chain(4);
  chain[1].mutable_records(0)->clear_operation();
  chain[3].clear_predecessor_request_id();
  Stream stream(*log_);
  for (const auto& request : chain) ASSERT_TRUE(stream.client->Write(request));
  EXPECT_TRUE(stream.Next().ok());
  const auto refused = stream.Next();
  ExpectNotIn(refused.status(), Reason::INVALID_RECORD);
  EXPECT_EQ(ErrorMetadata(refused.status(), "field"), "operation");
  ExpectNotIn(stream.Next().status(), Reason::PREDECESSOR_MISSING);
  EXPECT_TRUE(stream.Next().ok());
  EXPECT_TRUE(stream.End().ok());
  EXPECT_THAT(Ids(), ElementsAre("0", "3"));
  EXPECT_EQ(Count("sluice_log_pushes_total"), 4);
  EXPECT_EQ(Count("sluice_log_push_records_total"), 2);
}

TEST_F(PushStreamTest, BytesThatAreNoRequestAreAnsweredAsSuchAndEndNothing) {
  grpc::GenericStub stub(server_->Channel());
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  // Operations one at a time, each waited for.
  const auto done = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const auto stream = stub.PrepareCall(&context, "/sluice.v1.LogService/PushStream", &queue);
  stream->StartCall(nullptr);
  ASSERT_TRUE(done());
  const std::string good = Chain(1)[0].SerializeAsString();
  for (const std::string& bytes : {good.substr(0, good.size() - 2), good}) {
    const grpc::Slice slice(bytes);
    stream->Write(grpc::ByteBuffer(&slice, 1), nullptr);
    ASSERT_TRUE(done());
    grpc::ByteBuffer answer;
    stream->Read(&answer, nullptr);
    ASSERT_TRUE(done());
    grpc::Slice answered;
    ASSERT_TRUE(answer.DumpToSingleSlice(&answered).ok());
    v1::PushStreamResponse response;
    ASSERT_TRUE(response.ParseFromArray(answered.begin(), static_cast<int>(answered.size())));
    if (bytes == good) {
      EXPECT_EQ(response.pushed().first_seq_id(), 1u);
    } else {
      ExpectNotIn(FromMessage(response.error()), Reason::MALFORMED_REQUEST);
    }
  }
  stream->WritesDone(nullptr);
  ASSERT_TRUE(done());
  grpc::Status status;
  stream->Finish(&status, nullptr);
  ASSERT_TRUE(done());
  EXPECT_TRUE(status.ok()) << status.error_message();
}

class FewRequestIdsTest : public PushStreamTest {
 protected:
  // Of two.
  FewRequestIdsTest() { settings_.dedupe_max_bytes = 200; }
};

TEST_F(FewRequestIdsTest, WhatStandsBehindAnAppendThatIsRefusedForAWhileIsNotIn) {  // invariant 2
  auto chain = Chain(6);
  chain[5].clear_predecessor_request_id();
  chain[5].clear_request_id();
  Stream stream(*log_);
  for (const auto& request : chain) ASSERT_TRUE(stream.client->Write(request));
  EXPECT_TRUE(stream.Next().ok());
  EXPECT_TRUE(stream.Next().ok());
  const auto refused = stream.Next();
  ExpectNotIn(refused.status(), Reason::OVERLOADED);
  EXPECT_EQ(ErrorMetadata(refused.status(), "limit"), "dedupe");
  EXPECT_TRUE(RetryAfter(refused.status()).has_value());
  ExpectNotIn(stream.Next().status(), Reason::PREDECESSOR_MISSING);
  ExpectNotIn(stream.Next().status(), Reason::PREDECESSOR_MISSING);
  EXPECT_TRUE(stream.Next().ok());
  EXPECT_TRUE(stream.End().ok());
  EXPECT_THAT(Ids(), ElementsAre("0", "1", "5"));
}

class NarrowPushStreamTest : public PushStreamTest {
 protected:
  // A few appends.
  NarrowPushStreamTest() { settings_.max_inflight_collection_bytes = 1200; }
};

// Invariants 2 and 3.
TEST_F(NarrowPushStreamTest, WhatOverloadKeptOutComesInOnceInOrderWhenItIsRepeated) {
  const auto chain = Chain(200);
  int rounds = 0;
  for (size_t in = 0; in < chain.size(); ++rounds) {
    Stream stream(*log_);
    std::jthread writer([&, in] {
      for (size_t i = in; i < chain.size(); ++i) {
        v1::PushLogsRequest request = chain[i];
        if (i == in) request.clear_predecessor_request_id();
        ASSERT_TRUE(stream.client->Write(request));
      }
      stream.HalfClose();
    });
    bool refused = false;
    for (size_t i = in, count = chain.size(); i < count; ++i) {
      const auto answer = stream.Next();
      if (answer.ok()) {
        EXPECT_FALSE(refused) << "in after one that is not";
        EXPECT_EQ(answer->first_seq_id(), i + 1);
        in = i + 1;
      } else {
        const Reason expected =
            refused ? ReasonOf(answer.status()).value_or(Reason::STARTING) : Reason::OVERLOADED;
        ExpectNotIn(answer.status(), expected);
        EXPECT_TRUE(expected == Reason::OVERLOADED || expected == Reason::PREDECESSOR_MISSING)
            << answer.status();
        refused = true;
      }
    }
    writer.join();
    EXPECT_TRUE(stream.End().ok());
  }
  RecordProperty("rounds", rounds);
  EXPECT_EQ(Ids(), Numbers(chain.size()));
}

TEST_F(PushStreamTest, AClientThatDoesNotReadItsAnswersStopsOnlyItself) {  // invariant 9
  constexpr size_t kAll = 3 * kMaxUnansweredPushes;
  // What the transport may hold of requests and answers beside the stream.
  constexpr uint64_t kSlack = 16;
  const auto chain = Chain(kAll);
  Stream stream(*log_);
  std::jthread writer([&] {
    for (const auto& request : chain) ASSERT_TRUE(stream.client->Write(request));
  });
  const auto tail = [this] { return Describe(collection_)->tail_seq_id(); };
  EXPECT_TRUE(Eventually([&] { return tail() >= kMaxUnansweredPushes; }));
  const std::string other = NewCollection();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(Push(other, {UpsertOf("a")}).ok());
  EXPECT_LE(tail(), kMaxUnansweredPushes + kSlack);
  EXPECT_TRUE(Eventually([&] { return Gauge("sluice_log_stream_bytes") > 0; }));
  for (uint64_t i = 1; i <= kAll; ++i) {
    const auto answer = stream.Next();
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->first_seq_id(), i);
  }
  writer.join();
  EXPECT_TRUE(stream.End().ok());
  EXPECT_TRUE(Eventually([&] { return Gauge("sluice_log_stream_bytes") == 0; }));
}

TEST_F(PushStreamTest, TheBytesOfWhatIsNotAnsweredAreBoundedToo) {  // invariant 9
  constexpr size_t kBytes = 500'000;
  constexpr uint64_t kFit = kMaxUnansweredPushBytes / kBytes + 1;
  constexpr uint64_t kSlack = 4;
  const auto chain = Chain(3 * kFit, kBytes);
  Stream stream(*log_);
  std::jthread writer([&] {
    for (const auto& request : chain) ASSERT_TRUE(stream.client->Write(request));
  });
  const auto tail = [this] { return Describe(collection_)->tail_seq_id(); };
  EXPECT_TRUE(Eventually([&] { return tail() >= kFit; }));
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(Push(NewCollection(), {UpsertOf("a")}).ok());
  EXPECT_LE(tail(), kFit + kSlack);
  for (size_t i = 0; i < chain.size(); ++i) ASSERT_TRUE(stream.Next().ok());
  writer.join();
  EXPECT_TRUE(stream.End().ok());
}

class CrowdedPushStreamTest : public PushStreamTest {
 protected:
  CrowdedPushStreamTest() { settings_.max_held_bytes = 0; }
};

TEST_F(CrowdedPushStreamTest, WhereAnswersTakeTooMuchMemoryAStreamGoesOnWithFewerAtATime) {
  constexpr uint64_t kSlack = 4;
  const auto chain = Chain(300);
  Stream stream(*log_);
  std::jthread writer([&] {
    for (const auto& request : chain) ASSERT_TRUE(stream.client->Write(request));
  });
  const auto tail = [this] { return Describe(collection_)->tail_seq_id(); };
  EXPECT_TRUE(Eventually([&] { return tail() >= kMaxUnansweredPushesWhenShort; }));
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(Push(NewCollection(), {UpsertOf("a")}).ok());
  EXPECT_LE(tail(), kMaxUnansweredPushesWhenShort + kSlack);
  for (size_t i = 0; i < chain.size(); ++i) ASSERT_TRUE(stream.Next().ok());
  writer.join();
  EXPECT_TRUE(stream.End().ok());
}

TEST_F(PushStreamTest, ACancelInTheMiddleLeavesAFirstPartAndNothingElse) {
  const auto chain = Chain(300);
  Stream stream(*log_);
  for (const auto& request : chain) ASSERT_TRUE(stream.client->Write(request));
  ASSERT_TRUE(stream.Next().ok());
  stream.context.TryCancel();
  v1::PushStreamResponse answer;
  while (stream.client->Read(&answer)) {
  }
  EXPECT_EQ(stream.client->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(Eventually([&] {
    return Gauge("sluice_log_open_streams") == 0 && Gauge("sluice_log_inflight_bytes") == 0;
  }));
  const auto ids = Ids();
  EXPECT_GE(ids.size(), 1u);
  EXPECT_EQ(ids, Numbers(ids.size()));
  EXPECT_TRUE(Eventually([&] { return Gauge("sluice_log_stream_bytes") == 0; }));
}

TEST_F(PushStreamTest, ADeadlineEndsAStream) {
  const auto stub = OverTcp(server_->grpc_address());
  Stream stream(*stub);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  const auto client = stub->PushStream(&context);
  v1::PushStreamResponse answer;
  EXPECT_FALSE(client->Read(&answer));
  EXPECT_EQ(client->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(stream.End().ok());
  EXPECT_TRUE(Eventually([&] { return Gauge("sluice_log_open_streams") == 0; }));
}

// Invariant 10.
TEST_F(PushStreamTest, AStopAnswersWhatWasReadAndEndsStreamsWithNothingElseIn) {
  for (const bool tcp : {false, true}) {
    const auto over_tcp = OverTcp(server_->grpc_address());
    Stream stream(tcp ? *over_tcp : *log_);
    const std::string before = Text(*Describe(collection_));
    ASSERT_TRUE(stream.client->Write(Chain(1)[0]));
    ASSERT_TRUE(stream.Next().ok());
    node_->BeginDrain();
    v1::PushStreamResponse answer;
    EXPECT_FALSE(stream.client->Read(&answer));
    ExpectNotIn(FromGrpc(stream.client->Finish(), stream.context), Reason::DRAINING);
    Stream late(tcp ? *over_tcp : *log_);
    EXPECT_FALSE(late.client->Read(&answer));
    ExpectNotIn(FromGrpc(late.client->Finish(), late.context), Reason::DRAINING);
    Restart();
  }
}

// Invariants 1, 2 and 3.
TEST_F(PushStreamTest, AStreamCutByAStopIsGoneOnWithOnAnotherOne) {
  const auto chain = Chain(400);
  size_t in = 0;
  for (int stops = 0; in < chain.size(); ++stops) {
    Stream stream(*log_);
    absl::Notification under_way;
    std::jthread stopper([&] {
      under_way.WaitForNotification();
      if (stops < 3) node_->BeginDrain();
    });
    std::jthread writer([&, in] {
      for (size_t i = in; i < chain.size(); ++i) {
        v1::PushLogsRequest request = chain[i];
        if (i == in) request.clear_predecessor_request_id();
        if (!stream.client->Write(request)) return;
      }
      stream.HalfClose();
    });
    bool all_in = true;
    for (;;) {
      const auto answer = stream.Next();
      if (absl::IsOutOfRange(answer.status())) break;
      if (answer.ok()) {
        EXPECT_TRUE(all_in) << "in after one that is not";
        EXPECT_EQ(answer->first_seq_id(), ++in);
        EXPECT_FALSE(answer->duplicate());
      } else {
        ExpectNotIn(answer.status(), Reason::DRAINING);
        all_in = false;
      }
      if (in % 50 == 49 && !under_way.HasBeenNotified()) under_way.Notify();
    }
    if (!under_way.HasBeenNotified()) under_way.Notify();
    writer.join();
    stopper.join();
    const absl::Status end = FromGrpc(stream.client->Finish(), stream.context);
    if (!end.ok()) ExpectNotIn(end, Reason::DRAINING);
    EXPECT_EQ(Ids(), Numbers(in)) << "what was not answered is not in";
    if (stops < 3) Restart();
  }
}

TEST_F(PushStreamTest, TheLargestAppendIsTakenAndAByteMoreIsRefusedOnTheSameStream) {
  const auto stub = OverTcp(server_->grpc_address());
  Stream stream(*stub);
  v1::PushLogsRequest request = LargestPush(collection_);
  ASSERT_TRUE(stream.client->Write(request));
  const auto taken = stream.Next();
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(taken->count(), 16u);
  *request.mutable_records(15)->mutable_document() += 'x';
  ASSERT_TRUE(stream.client->Write(request));
  ExpectNotIn(stream.Next().status(), Reason::TOO_LARGE);
  EXPECT_TRUE(stream.End().ok());
}

TEST_F(PushStreamTest, AMessageThatGrpcDoesNotTakeEndsTheStream) {
  const auto stub = OverTcp(server_->grpc_address());
  Stream stream(*stub);
  v1::PushLogsRequest request = Chain(1)[0];
  request.mutable_records(0)->set_document(std::string(server::kMaxMessageBytes, 'x'));
  stream.client->Write(request);
  v1::PushStreamResponse answer;
  EXPECT_FALSE(stream.client->Read(&answer));
  EXPECT_EQ(stream.client->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(Eventually([&] { return Gauge("sluice_log_open_streams") == 0; }));
}

class ShortConnectionTest : public PushStreamTest {
 protected:
  ShortConnectionTest() {
    common_.max_connection_age_seconds = 1;
    common_.max_connection_age_grace_seconds = 1;
  }
};

TEST_F(ShortConnectionTest, TheClientsPushStreamOutlivesItsConnections) {  // invariants 2 and 3
  const auto channel = client::Connect(server_->grpc_address());
  const auto pushes = client::Log(channel).OpenPushStream(*ParseCollectionId(collection_));
  size_t handed_over = 0;
  const auto push = [&] {
    v1::PushLogsRequest request;
    *request.add_records() = UpsertOf(std::to_string(handed_over++));
    EXPECT_TRUE(pushes
                    ->Push(std::move(request),
                           [](const auto& result) { EXPECT_TRUE(result.ok()) << result.status(); })
                    .ok());
  };
  push();
  ASSERT_TRUE(pushes->Flush().ok());
  // Another stream of the same connection.
  const auto stub = v1::LogService::NewStub(channel);
  Stream other(*stub);
  std::atomic<bool> cut = false;
  std::jthread reader([&] {
    v1::PushStreamResponse answer;
    EXPECT_FALSE(other.client->Read(&answer));
    cut = true;
  });
  while (!cut) {
    push();
    ASSERT_TRUE(pushes->Flush().ok());
  }
  push();
  EXPECT_TRUE(pushes->Flush().ok());
  reader.join();
  EXPECT_FALSE(other.client->Finish().ok());
  EXPECT_EQ(Describe(collection_)->tail_seq_id(), handed_over);
}

class OneStreamTest : public PushStreamTest {
 protected:
  OneStreamTest() { settings_.max_streams = 1; }
};

TEST_F(OneStreamTest, OneStreamMoreThanAllowedIsRefused) {  // invariant 9
  Stream first(*log_);
  ASSERT_TRUE(first.client->Write(Chain(1)[0]));
  ASSERT_TRUE(first.Next().ok());
  Stream second(*log_);
  v1::PushStreamResponse answer;
  EXPECT_FALSE(second.client->Read(&answer));
  ExpectNotIn(FromGrpc(second.client->Finish(), second.context), Reason::OVERLOADED);
  EXPECT_TRUE(first.End().ok());
}

}  // namespace
}  // namespace sluice::log

// Subscribe through a real server: every record once, in order, from the backlog into what comes.
#include <atomic>
#include <thread>

#include "common/record/limits.h"
#include "services/log/service_harness.h"

namespace sluice::log {
namespace {

using std::chrono::milliseconds;

// A subscriber that checks that nothing is skipped or repeated.
class Subscriber {
 public:
  Subscriber(v1::LogService::Stub& stub, const v1::SubscribeRequest& request) {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    reader_ = stub.Subscribe(&context_, request);
  }

  // The next message; nullopt at the end.
  std::optional<v1::SubscribeResponse> Next() {
    v1::SubscribeResponse message;
    if (!reader_->Read(&message)) return std::nullopt;
    for (const v1::Append& append : message.appends()) {
      if (next_ != 0) {
        EXPECT_EQ(append.first_seq_id(), next_);
      }
      next_ = append.first_seq_id() + static_cast<uint64_t>(append.records_size());
      records_ += static_cast<uint64_t>(append.records_size());
    }
    return message;
  }
  v1::Heartbeat First() {
    const auto message = Next();
    EXPECT_TRUE(message && message->has_heartbeat() && message->appends().empty())
        << (message ? message->ShortDebugString() : End().ToString());
    return message ? message->heartbeat() : v1::Heartbeat();
  }
  // Reads until `last` has come, or the end.
  void ReadUpTo(uint64_t last) {
    while (this->last() < last && Next()) {
    }
  }
  // Reads to the end, and yields why.
  absl::Status End() {
    while (Next()) {
    }
    return FromGrpc(reader_->Finish(), context_);
  }
  void Cancel() { context_.TryCancel(); }

  uint64_t last() const { return next_ == 0 ? 0 : next_ - 1; }
  uint64_t records() const { return records_; }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::SubscribeResponse>> reader_;
  uint64_t next_ = 0;
  uint64_t records_ = 0;
};

class SubscribeTest : public ServiceTest {
 protected:
  void SetUp() override {
    ServiceTest::SetUp();
    collection_ = NewCollection(SoonDue);
  }
  v1::SubscribeRequest After(uint64_t seq_id, uint64_t end = 0) const {
    v1::SubscribeRequest request;
    request.set_collection_id(collection_);
    request.set_after_seq_id(seq_id);
    request.set_end_seq_id(end);
    return request;
  }
  Subscriber Subscribe(const v1::SubscribeRequest& request) { return Subscriber(*log_, request); }
  void PushMany(int appends, int records, size_t bytes = 10) {
    for (int i = 0; i < appends; ++i) {
      const std::vector<v1::OperationRecord> all(static_cast<size_t>(records),
                                                 UpsertOf("id", std::string(bytes, 'x')));
      const auto pushed = Push(collection_, all);
      ASSERT_TRUE(pushed.ok()) << pushed.status();
    }
  }
  std::string collection_;
};

TEST_F(SubscribeTest, TheFirstMessageSaysWhereTheLogStands) {
  PushMany(1, 3);
  auto subscriber = Subscribe(After(0));
  const v1::Heartbeat first = subscriber.First();
  EXPECT_EQ(first.tail_seq_id(), 3u);
  EXPECT_EQ(first.incarnation(), Describe(collection_)->incarnation());
  EXPECT_FALSE(first.draining());
}

TEST_F(SubscribeTest, BacklogThenLiveWithoutGapOrRepeatWhilePushesGoOn) {  // invariant 4
  PushMany(50, 7, 2000);
  static constexpr uint64_t kEnd = 50 * 7 + 300 * 3;
  std::jthread pusher([this] { PushMany(300, 3, 500); });
  std::vector<std::jthread> subscribers;
  for (int i = 0; i < 4; ++i) {
    subscribers.emplace_back([this] {
      auto subscriber = Subscribe(After(0, kEnd));
      EXPECT_EQ(subscriber.End(), absl::OkStatus());
      EXPECT_EQ(subscriber.last(), kEnd);
      EXPECT_EQ(subscriber.records(), kEnd);
    });
  }
}

TEST_F(SubscribeTest, AConsumerThatReconnectsGoesOnWhereItWas) {  // invariant 4
  std::jthread pusher([this] { PushMany(100, 3); });
  uint64_t seen = 0;
  while (seen < 300) {
    auto subscriber = Subscribe(After(seen));
    subscriber.First();
    const auto message = subscriber.Next();
    ASSERT_TRUE(message.has_value());
    if (message->appends().empty()) continue;
    EXPECT_EQ(message->appends(0).first_seq_id(), seen + 1);
    seen = subscriber.last();
    subscriber.Cancel();
  }
  EXPECT_EQ(seen, 300u);
}

TEST_F(SubscribeTest, ItEndsWithOkAfterTheEndAskedFor) {
  PushMany(4, 5);
  auto subscriber = Subscribe(After(3, 12));
  EXPECT_EQ(subscriber.End(), absl::OkStatus());
  EXPECT_EQ(subscriber.last(), 12u);
  EXPECT_EQ(subscriber.records(), 9u);
  auto nothing = Subscribe(After(7, 7));
  EXPECT_EQ(nothing.End(), absl::OkStatus());
  EXPECT_EQ(nothing.records(), 0u);
}

TEST_F(SubscribeTest, LatestGivesOnlyWhatComes) {
  PushMany(1, 5);
  v1::SubscribeRequest request;
  request.set_collection_id(collection_);
  request.set_latest(true);
  request.set_end_seq_id(7);
  auto subscriber = Subscribe(request);
  subscriber.First();
  PushMany(1, 2);
  EXPECT_EQ(subscriber.End(), absl::OkStatus());
  EXPECT_EQ(subscriber.records(), 2u);
}

TEST_F(SubscribeTest, SinceATimeBeginsWithTheFirstAppendCommittedThen) {
  PushMany(2, 2);
  const int64_t time = Push(collection_, {UpsertOf("a"), UpsertOf("b")})->commit_time_us();
  PushMany(1, 1);
  v1::SubscribeRequest request;
  request.set_collection_id(collection_);
  request.set_since_time_us(time);
  request.set_end_seq_id(7);
  auto subscriber = Subscribe(request);
  EXPECT_EQ(subscriber.End(), absl::OkStatus());
  EXPECT_EQ(subscriber.records(), 3u);
}

TEST_F(SubscribeTest, EarliestBeginsWithTheFirstRecordKept) {
  PushMany(3, 2);
  ApplyAll(collection_);
  ASSERT_TRUE(Trim(collection_, 3).ok());
  v1::SubscribeRequest request;
  request.set_collection_id(collection_);
  request.set_end_seq_id(6);
  for (const bool stated : {true, false}) {
    if (stated) request.set_earliest(true);
    auto subscriber = Subscribe(request);
    EXPECT_EQ(subscriber.End(), absl::OkStatus());
    EXPECT_EQ(subscriber.records(), 3u);
    request.clear_earliest();
  }
}

TEST_F(SubscribeTest, AStartBelowTheTrimPointIsRefusedAndSaysWhatIsKept) {  // invariant 4
  PushMany(3, 2);
  ApplyAll(collection_);
  ASSERT_TRUE(Trim(collection_, 4).ok());
  const absl::Status error = Subscribe(After(3)).End();
  ExpectRefused(error, Reason::TRIMMED);
  EXPECT_EQ(ErrorMetadata(error, "first_seq_id"), "5");
}

TEST_F(SubscribeTest, TrimmingUnderAnOpenReaderIsSaidNeverJumpedOver) {  // invariant 4
  PushMany(20, 2, 500'000);
  auto slow = Subscribe(After(0));
  slow.First();
  ApplyAll(collection_);
  ASSERT_TRUE(Trim(collection_, 40).ok());
  PushMany(1, 1);
  // What was on its way still comes, in order; then the error.
  const absl::Status error = slow.End();
  ExpectRefused(error, Reason::TRIMMED);
  EXPECT_EQ(ErrorMetadata(error, "first_seq_id"), "41");
  EXPECT_LT(slow.last(), 40u);
}

TEST_F(SubscribeTest, AStartBeyondTheTailIsRefused) {
  PushMany(1, 2);
  const absl::Status error = Subscribe(After(3)).End();
  ExpectRefused(error, Reason::BEYOND_TAIL);
  EXPECT_EQ(ErrorMetadata(error, "tail_seq_id"), "2");
}

TEST_F(SubscribeTest, BadRequestsAreRefused) {
  const absl::Status end = Subscribe(After(3, 2)).End();
  ExpectRefused(end, Reason::INVALID_REQUEST);
  EXPECT_EQ(ErrorMetadata(end, "field"), "end_seq_id");
  v1::SubscribeRequest request = After(0);
  request.set_heartbeat_ms(99);
  EXPECT_EQ(ErrorMetadata(Subscribe(request).End(), "field"), "heartbeat_ms");
  request = After(0);
  request.set_collection_id("x");
  ExpectRefused(Subscribe(request).End(), Reason::INVALID_REQUEST);
  request.set_collection_id(Uuid::Random().ToString());
  ExpectRefused(Subscribe(request).End(), Reason::COLLECTION_NOT_FOUND);
  request = After(0);
  request.set_incarnation(1);
  ExpectRefused(Subscribe(request).End(), Reason::INCARNATION_CHANGED);
}

TEST_F(SubscribeTest, HeartbeatsComeWhenNothingElseDoes) {
  v1::SubscribeRequest request = After(0);
  request.set_heartbeat_ms(100);
  auto subscriber = Subscribe(request);
  subscriber.First();
  for (int i = 0; i < 3; ++i) {
    const auto message = subscriber.Next();
    ASSERT_TRUE(message && message->has_heartbeat());
  }
  PushMany(1, 1);
  subscriber.ReadUpTo(1);
  EXPECT_EQ(subscriber.last(), 1u);
}

TEST_F(SubscribeTest, MessagesStayBelowAMebibyteUnlessOneRecordIsLarger) {  // invariant 9
  PushMany(1, 30, 100'000);
  PushMany(1, 1, kMaxDocumentBytes);
  auto subscriber = Subscribe(After(0, 31));
  subscriber.First();
  while (const auto message = subscriber.Next()) {
    if (subscriber.last() < 31) {
      EXPECT_LE(message->ByteSizeLong(), 1u << 20);
    } else {
      EXPECT_EQ(message->appends_size(), 1);
    }
  }
  EXPECT_EQ(subscriber.records(), 31u);
}

TEST_F(SubscribeTest, ASlowConsumerDelaysNobody) {  // invariant 9
  PushMany(20, 1, 1'000'000);
  // None of them reads; more of them than threads that read the store.
  std::vector<std::unique_ptr<Subscriber>> slow;
  for (int i = 0; i < 20; ++i) slow.push_back(std::make_unique<Subscriber>(*log_, After(0)));
  auto fast = Subscribe(After(0, 21));
  PushMany(1, 1);
  EXPECT_EQ(fast.End(), absl::OkStatus());
  EXPECT_EQ(fast.records(), 21u);
}

TEST_F(SubscribeTest, EveryWaitingStreamOfACollectionIsWoken) {
  const std::string quiet = NewCollection();
  v1::SubscribeRequest elsewhere = After(0);
  elsewhere.set_collection_id(quiet);
  auto other = Subscribe(elsewhere);
  other.First();
  std::vector<std::unique_ptr<Subscriber>> waiting;
  for (int i = 0; i < 100; ++i) {
    waiting.push_back(std::make_unique<Subscriber>(*log_, After(0, 1)));
    waiting.back()->First();
  }
  PushMany(1, 1);
  for (const auto& subscriber : waiting) {
    EXPECT_EQ(subscriber->End(), absl::OkStatus());
    EXPECT_EQ(subscriber->records(), 1u);
  }
}

TEST_F(SubscribeTest, DeletingTheCollectionEndsTheStream) {
  auto subscriber = Subscribe(After(0));
  subscriber.First();
  v1::DeleteCollectionRequest request;
  request.mutable_collection()->set_id(collection_);
  ASSERT_TRUE(Call(*catalog_, &v1::CatalogService::Stub::DeleteCollection, request).ok());
  ExpectRefused(subscriber.End(), Reason::COLLECTION_DELETED);
}

TEST_F(SubscribeTest, ADrainIsAnnouncedAndEndsTheStream) {
  auto idle = Subscribe(After(0));
  idle.First();
  std::jthread drain([this] { server_->Drain(); });
  const auto last = idle.Next();
  ASSERT_TRUE(last.has_value());
  EXPECT_TRUE(last->heartbeat().draining());
  ExpectRefused(idle.End(), Reason::DRAINING);
}

TEST_F(SubscribeTest, ADrainDoesNotWaitForAConsumerThatDoesNotRead) {
  common_.drain_ms = 1000;
  Restart();
  PushMany(20, 1, 1'000'000);
  auto stuck = Subscribe(After(0));
  stuck.First();
  const auto began = std::chrono::steady_clock::now();
  Stop();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5));
  EXPECT_FALSE(stuck.End().ok());
}

class FewStreamsTest : public SubscribeTest {
 protected:
  FewStreamsTest() { settings_.max_streams = 1; }
};

TEST_F(FewStreamsTest, StreamsAreBoundedAndACancelledOneMakesRoom) {  // invariant 9
  {
    auto first = Subscribe(After(0));
    first.First();
    ExpectRefused(Subscribe(After(0)).End(), Reason::OVERLOADED);
    first.Cancel();
    EXPECT_EQ(first.End().code(), absl::StatusCode::kCancelled);
  }
  // The server hears of it a moment later.
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  bool open = false;
  while (!open && std::chrono::steady_clock::now() < until) {
    open = Subscribe(After(0)).Next().has_value();
  }
  EXPECT_TRUE(open);
}

class ShortViewTest : public SubscribeTest {
 protected:
  ShortViewTest() { settings_.view_seconds = 1; }
};

TEST_F(ShortViewTest, AViewThatIsNotReadInTimeGivesItsSnapshotBackAndSaysSo) {  // invariant 9
  const std::string id = NewCollection();
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE(Push(id, {UpsertOf("a", std::string(1'000'000, 'x'))}).ok());
  }
  v1::ReadViewRequest request;
  request.set_collection_id(id);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  const auto view = log_->ReadView(&context, request);
  v1::ReadViewResponse message;
  ASSERT_TRUE(view->Read(&message));
  // The reader takes longer than a view is kept.
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);
  while (std::chrono::steady_clock::now() < until) ASSERT_TRUE(Describe(id).ok());
  while (view->Read(&message)) {
  }
  ExpectRefused(FromGrpc(view->Finish(), context), Reason::OVERLOADED);
}

}  // namespace
}  // namespace sluice::log

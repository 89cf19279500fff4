#include "common/client/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "absl/synchronization/notification.h"
#include "common/client/misbehaving_server.h"

namespace sluice::client {
namespace {

using std::chrono::milliseconds;

// Invariant 3: the log adds an append once, and it is the same append only because its name is.
TEST(ClientTest, APushWhoseReplyIsLostIsRepeatedUnderTheSameNameAndAddsNothing) {
  MisbehavingServer server;
  std::map<std::string, uint64_t> log;
  server.on_push = [&](int n, const v1::PushLogsRequest& request, v1::PushLogsResponse* response) {
    const auto [entry, added] = log.try_emplace(request.request_id(), log.size() + 1);
    if (n <= 3) return absl::UnavailableError("the reply is lost");
    response->set_first_seq_id(entry->second);
    response->set_duplicate(!added);
    return absl::OkStatus();
  };
  Log client(server.channel(), kQuick);
  const auto response = client.Push(PushOf("a"));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->first_seq_id(), 1u);
  EXPECT_TRUE(response->duplicate());
  EXPECT_EQ(log.size(), 1u);

  const auto next = client.Push(PushOf("a"));
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(next->first_seq_id(), 2u) << "another call is another append";
}

TEST(ClientTest, RequestIdsAreUuidsOfVersion7UnlessTheCallerGaveOne) {
  MisbehavingServer server;
  server.on_push = [](int, auto&, auto*) { return absl::OkStatus(); };
  Log client(server.channel(), kQuick);
  ASSERT_TRUE(client.Push(PushOf("a")).ok());
  v1::PushLogsRequest named = PushOf("b");
  named.set_request_id("given");
  ASSERT_TRUE(client.Push(named).ok());
  const auto made = Uuid::Parse(server.pushes()[0].request_id());
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(made->version(), 7);
  EXPECT_EQ(server.pushes()[1].request_id(), "given");
}

TEST(ClientTest, ACursorsCommitWhoseReplyIsLostIsRepeatedUnderTheSameName) {
  MisbehavingServer server;
  server.on_commit = [](int n, const auto& request, v1::CommitCursorResponse* response) {
    if (n == 1) return absl::UnavailableError("the reply is lost");
    response->mutable_cursor()->set_seq_id(request.seq_id());
    return absl::OkStatus();
  };
  Log client(server.channel(), kQuick);
  v1::CommitCursorRequest request;
  request.set_seq_id(7);
  request.set_expected_seq_id(5);
  const auto cursor = client.CommitCursor(request);
  ASSERT_TRUE(cursor.ok()) << cursor.status();
  EXPECT_EQ(cursor->seq_id(), 7u);
  const auto commits = server.commits();
  ASSERT_EQ(commits.size(), 2u);
  EXPECT_TRUE(Uuid::Parse(commits[0].request_id()).ok());
  EXPECT_EQ(commits[1].request_id(), commits[0].request_id());
}

// Invariant 10.
TEST(ClientTest, AnErrorAfterSeveralAttemptsStatesTheOutcomeOverAllOfThem) {
  MisbehavingServer server;
  server.on_push = [](int n, auto&, auto*) {
    if (n == 1) return absl::UnavailableError("says nothing: may be in");
    return WithOutcome(MakeError(Reason::REQUEST_ID_EXPIRED, "too late"), Outcome::kNotIn);
  };
  Log client(server.channel(), kQuick);
  const absl::Status error = client.Push(PushOf("a")).status();
  EXPECT_EQ(ReasonOf(error), Reason::REQUEST_ID_EXPIRED);
  EXPECT_EQ(OutcomeOf(error), Outcome::kUnknown);
  EXPECT_EQ(error.message(), "after 2 attempts: too late");
}

// Invariant 10.
TEST(ClientTest, AnErrorOfAttemptsThatAllWereRefusedSaysNotIn) {
  MisbehavingServer server;
  server.on_push = [](int n, auto&, auto*) {
    if (n < 4) return WithOutcome(MakeError(Reason::OVERLOADED, "busy"), Outcome::kNotIn);
    return WithOutcome(MakeError(Reason::BACKLOG, "full"), Outcome::kNotIn);
  };
  Log client(server.channel(), kQuick);
  const absl::Status error = client.Push(PushOf("a")).status();
  EXPECT_EQ(ReasonOf(error), Reason::BACKLOG);
  EXPECT_EQ(OutcomeOf(error), Outcome::kNotIn);
  EXPECT_EQ(server.pushes().size(), 4u);
}

TEST(ClientTest, AServerThatAsksForADelayIsNotAskedAgainBefore) {
  MisbehavingServer server;
  std::vector<std::chrono::steady_clock::time_point> times;
  server.on_push = [&](int n, auto&, auto*) {
    times.push_back(std::chrono::steady_clock::now());
    if (n == 1) return MakeRetryableError(Reason::OVERLOADED, "busy", milliseconds(120));
    return absl::OkStatus();
  };
  Log client(server.channel(), kQuick);
  ASSERT_TRUE(client.Push(PushOf("a")).ok());
  EXPECT_GE(times[1] - times[0], milliseconds(120));
}

TEST(ClientTest, AnAttemptThatIsNeverAnsweredIsGivenUpAndRepeated) {
  MisbehavingServer server;
  server.on_push = [&](int n, auto&, auto*) { return n == 1 ? server.Hang() : absl::OkStatus(); };
  Options options = kQuick;
  options.attempt_deadline = milliseconds(50);
  Log client(server.channel(), options);
  EXPECT_TRUE(client.Push(PushOf("a")).ok());
}

TEST(ClientTest, ACallGivesUpAtItsTotalDeadline) {
  MisbehavingServer server;
  server.on_push = [](int, auto&, auto*) { return absl::UnavailableError("not today"); };
  Options options = kQuick;
  // Long enough for a first answer on a busy machine: without one there is nothing to tell of.
  options.total_deadline = milliseconds(500);
  Log client(server.channel(), options);
  const absl::Status error = client.Push(PushOf("a")).status();
  EXPECT_FALSE(error.ok());
  EXPECT_THAT(std::string(error.message()), testing::HasSubstr("not today"));
  EXPECT_EQ(OutcomeOf(error), Outcome::kUnknown);
}

TEST(ClientTest, AnAsyncCallAnswersOnceEvenIfItsClientIsGone) {
  MisbehavingServer server;
  server.on_push = [](int n, auto&, auto*) {
    return n < 3 ? absl::UnavailableError("again") : absl::OkStatus();
  };
  absl::Notification answered;
  absl::Status status;
  const auto channel = server.channel();
  Log(channel, kQuick).PushAsync(PushOf("a"), [&](const auto& response) {
    status = response.status();
    answered.Notify();
  });
  answered.WaitForNotification();
  EXPECT_TRUE(status.ok()) << status;
}

v1::ReadViewResponse Header(uint64_t applied, uint64_t tail) {
  v1::ReadViewResponse message;
  message.mutable_header()->set_applied_seq_id(applied);
  message.mutable_header()->set_tail_seq_id(tail);
  return message;
}

TEST(ClientTest, AViewIsRetriedOnlyBeforeItsFirstMessage) {
  MisbehavingServer server;
  server.on_view = [](int n, auto&, MisbehavingServer::ViewWriter* writer) {
    if (n >= 3) writer->Write(Header(0, 0));
    return n == 4 ? absl::OkStatus() : absl::UnavailableError("broken");
  };
  Log client(server.channel(), kQuick);
  int messages = 0;
  const auto count = [&](v1::ReadViewResponse&) {
    ++messages;
    return absl::OkStatus();
  };
  EXPECT_EQ(client.ReadView({}, count).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(messages, 1);
  EXPECT_TRUE(client.ReadView({}, count).ok());
  EXPECT_EQ(messages, 2);
}

TEST(ClientTest, AViewThatLacksRecordsIsDataLoss) {
  MisbehavingServer server;
  server.on_view = [](int, auto&, MisbehavingServer::ViewWriter* writer) {
    writer->Write(Header(3, 4));
    return absl::OkStatus();
  };
  Log client(server.channel(), kQuick);
  EXPECT_EQ(client.ReadView({}, [](auto&) { return absl::OkStatus(); }).code(),
            absl::StatusCode::kDataLoss);
}

TEST(ClientTest, AReaderOfAViewCanEndIt) {
  MisbehavingServer server;
  server.on_view = [](int, auto&, MisbehavingServer::ViewWriter* writer) {
    writer->Write(Header(3, 4));
    return absl::OkStatus();
  };
  Log client(server.channel(), kQuick);
  EXPECT_EQ(client.ReadView({}, [](auto&) { return absl::AbortedError("enough"); }),
            absl::AbortedError("enough"));
}

TEST(ClientTest, NobodyListeningIsAnErrorThatSaysSo) {
  std::shared_ptr<grpc::Channel> channel;
  { channel = MisbehavingServer().channel(); }
  Options options = kQuick;
  options.total_deadline = milliseconds(200);
  const absl::Status error = Log(channel, options).Describe(CollectionId()).status();
  EXPECT_EQ(error.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(error.message()), testing::HasSubstr("onnect"));
}

}  // namespace
}  // namespace sluice::client

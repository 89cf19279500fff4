#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "common/client/client.h"
#include "common/client/misbehaving_server.h"

namespace sluice::client {
namespace {

using std::chrono::milliseconds;
using Writer = MisbehavingServer::SubscribeWriter;

void SendHeartbeat(Writer* writer, uint64_t tail, uint64_t trim = 0) {
  v1::SubscribeResponse message;
  message.mutable_heartbeat()->set_tail_seq_id(tail);
  message.mutable_heartbeat()->set_trim_seq_id(trim);
  message.mutable_heartbeat()->set_incarnation(5);
  writer->Write(message);
}

void SendRecords(Writer* writer, uint64_t first, uint64_t last) {
  v1::SubscribeResponse message;
  v1::Append* append = message.add_appends();
  append->set_first_seq_id(first);
  for (uint64_t s = first; s <= last; ++s) append->add_records()->set_id(absl::StrCat(s));
  writer->Write(message);
}

// Reads until the subscription ends; the ids in the order in which they came.
absl::StatusOr<std::vector<std::string>> ReadAll(Subscription& subscription) {
  std::vector<std::string> ids;
  v1::SubscribeResponse message;
  for (;;) {
    SLUICE_ASSIGN_OR_RETURN(const bool more, subscription.Next(&message));
    if (!more) return ids;
    for (const auto& append : message.appends()) {
      for (const auto& record : append.records()) ids.push_back(record.id());
    }
  }
}

// Invariant 4.
TEST(SubscriptionTest, AStreamBrokenMidWayIsResumedWithoutGapOrRepeat) {
  MisbehavingServer server;
  server.on_subscribe = [](int n, const v1::SubscribeRequest& request, Writer* writer) {
    SendHeartbeat(writer, 6);
    if (n == 2) return absl::UnavailableError("broken before anything came");
    const uint64_t next = request.after_seq_id() + 1;
    if (next == 5) {
      SendRecords(writer, 5, 6);
      return absl::OkStatus();
    }
    SendRecords(writer, next, next);
    SendRecords(writer, next + 1, next + 1);
    return n == 1 ? absl::UnavailableError("broken") : absl::InternalError("broken otherwise");
  };
  v1::SubscribeRequest request;
  request.set_end_seq_id(6);
  const auto subscription = Log(server.channel(), kQuick).Subscribe(request);
  const auto ids = ReadAll(*subscription);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_THAT(*ids, testing::ElementsAre("1", "2", "3", "4", "5", "6"));
  EXPECT_EQ(subscription->last(), SeqId(6));
  EXPECT_EQ(server.subscribes().back().incarnation(), 5u);
}

// Invariant 4.
TEST(SubscriptionTest, AGapOrARepeatFromTheServerIsNeverPassedOn) {
  for (const uint64_t wrong : {4, 2}) {
    MisbehavingServer server;
    server.on_subscribe = [&](int, auto&, Writer* writer) {
      SendHeartbeat(writer, 6);
      SendRecords(writer, 1, 2);
      SendRecords(writer, wrong, wrong);
      return server.Hang();
    };
    const auto subscription = Log(server.channel(), kQuick).Subscribe({});
    v1::SubscribeResponse message;
    ASSERT_TRUE(subscription->Next(&message).ok());
    ASSERT_TRUE(subscription->Next(&message).ok());
    EXPECT_EQ(subscription->Next(&message).status().code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(subscription->last(), SeqId(2));
    EXPECT_EQ(subscription->Next(&message).status().code(), absl::StatusCode::kDataLoss)
        << "the end is said again";
  }
}

TEST(SubscriptionTest, AStartAtLatestThatBreaksBeforeAnyRecordDoesNotSkipWhatCameMeanwhile) {
  MisbehavingServer server;
  server.on_subscribe = [](int n, const v1::SubscribeRequest& request, Writer* writer) {
    if (n == 1) {
      EXPECT_TRUE(request.latest());
      SendHeartbeat(writer, 10);
      return absl::UnavailableError("broken");
    }
    EXPECT_EQ(request.after_seq_id(), 10u);
    SendHeartbeat(writer, 12);
    SendRecords(writer, 11, 12);
    return absl::OkStatus();
  };
  v1::SubscribeRequest request;
  request.set_latest(true);
  request.set_end_seq_id(12);
  const auto ids = ReadAll(*Log(server.channel(), kQuick).Subscribe(request));
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_THAT(*ids, testing::ElementsAre("11", "12"));
}

TEST(SubscriptionTest, WhatAskingAgainCannotHealEndsIt) {
  for (const absl::Status& error :
       {MakeError(Reason::TRIMMED, "gone", {{"first_seq_id", "7"}}),
        MakeError(Reason::LOG_CORRUPT, "bad"), MakeError(Reason::COLLECTION_DELETED, "deleted"),
        MakeError(Reason::INCARNATION_CHANGED, "restored"),
        MakeError(Reason::INVALID_REQUEST, "no")}) {
    MisbehavingServer server;
    server.on_subscribe = [&](int, auto&, Writer*) { return error; };
    const auto subscription = Log(server.channel(), kQuick).Subscribe({});
    v1::SubscribeResponse message;
    EXPECT_EQ(ReasonOf(subscription->Next(&message).status()), ReasonOf(error));
    EXPECT_EQ(server.subscribes().size(), 1u);
  }
}

TEST(SubscriptionTest, AServerThatFallsSilentIsLeft) {
  MisbehavingServer server;
  server.on_subscribe = [&](int n, auto&, Writer* writer) {
    if (n == 1) return server.Hang();
    SendHeartbeat(writer, 1);
    if (n == 2) return server.Hang();
    SendRecords(writer, 1, 1);
    return absl::OkStatus();
  };
  Options options = kQuick;
  options.attempt_deadline = milliseconds(50);
  v1::SubscribeRequest request;
  request.set_heartbeat_ms(10);
  request.set_end_seq_id(1);
  const auto ids = ReadAll(*Log(server.channel(), options).Subscribe(request));
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_THAT(*ids, testing::ElementsAre("1"));
}

TEST(SubscriptionTest, CancelEndsAWaitForMessages) {
  MisbehavingServer server;
  absl::Notification first_came;
  server.on_subscribe = [&](int, auto&, Writer* writer) {
    SendHeartbeat(writer, 0);
    return server.Hang();
  };
  const auto subscription = Log(server.channel(), kQuick).Subscribe({});
  std::jthread canceller([&] {
    first_came.WaitForNotification();
    subscription->Cancel();
  });
  v1::SubscribeResponse message;
  ASSERT_TRUE(subscription->Next(&message).ok());
  first_came.Notify();
  EXPECT_EQ(subscription->Next(&message).status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(subscription->Next(&message).status().code(), absl::StatusCode::kCancelled);
}

TEST(SubscriptionTest, CancelEndsAWaitBetweenAttempts) {
  MisbehavingServer server;
  absl::Notification asked;
  server.on_subscribe = [&](int n, auto&, Writer*) {
    if (n == 1) asked.Notify();
    return MakeRetryableError(Reason::OVERLOADED, "much later", std::chrono::hours(1));
  };
  const auto subscription = Log(server.channel(), kQuick).Subscribe({});
  std::jthread canceller([&] {
    asked.WaitForNotification();
    subscription->Cancel();
  });
  v1::SubscribeResponse message;
  EXPECT_EQ(subscription->Next(&message).status().code(), absl::StatusCode::kCancelled);
}

TEST(SubscriptionTest, ASlowSubscriberHoldsUpTheServerAndNotMemory) {
  MisbehavingServer server;
  std::atomic<int> sent = 0;
  server.on_subscribe = [&](int, auto&, Writer* writer) {
    v1::SubscribeResponse message;
    message.mutable_heartbeat()->set_incarnation(5);
    writer->Write(message);
    message.Clear();
    v1::Append* append = message.add_appends();
    append->add_records()->set_document(std::string(1 << 20, 'x'));
    for (uint64_t s = 1; s <= 100; ++s) {
      append->set_first_seq_id(s);
      if (!writer->Write(message)) return absl::CancelledError("gone");
      ++sent;
    }
    return absl::OkStatus();
  };
  v1::SubscribeRequest request;
  request.set_end_seq_id(100);
  const auto subscription = Log(server.channel(), kQuick).Subscribe(request);
  v1::SubscribeResponse message;
  ASSERT_TRUE(subscription->Next(&message).ok());
  ASSERT_TRUE(subscription->Next(&message).ok());
  EXPECT_LT(sent.load(), 50);
  const auto rest = ReadAll(*subscription);
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_EQ(rest->size(), 99u);
}

TEST(SubscriptionTest, OneThatIsDroppedWithMessagesUnreadLeavesNothingBehind) {
  MisbehavingServer server;
  server.on_subscribe = [](int, auto&, Writer* writer) {
    SendHeartbeat(writer, 1000);
    for (uint64_t s = 1; s <= 1000; ++s) SendRecords(writer, s, s);
    return absl::OkStatus();
  };
  for (int reads = 0; reads < 20; ++reads) {
    const auto subscription = Log(server.channel(), kQuick).Subscribe({});
    v1::SubscribeResponse message;
    for (int i = 0; i < reads; ++i) ASSERT_TRUE(subscription->Next(&message).ok());
  }
}

}  // namespace
}  // namespace sluice::client

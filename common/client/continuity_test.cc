#include "common/client/continuity.h"

#include <gtest/gtest.h>

#include "common/errors/errors.h"

namespace sluice::client {
namespace {

v1::Append AppendOf(uint64_t first, int count) {
  v1::Append append;
  append.set_first_seq_id(first);
  for (int i = 0; i < count; ++i) append.add_records()->set_id("x");
  return append;
}

v1::SubscribeResponse Message(std::initializer_list<v1::Append> appends) {
  v1::SubscribeResponse message;
  for (const v1::Append& a : appends) *message.add_appends() = a;
  return message;
}

v1::SubscribeResponse Heartbeat(uint64_t tail, uint64_t trim = 0, uint64_t incarnation = 5) {
  v1::SubscribeResponse message;
  message.mutable_heartbeat()->set_tail_seq_id(tail);
  message.mutable_heartbeat()->set_trim_seq_id(trim);
  message.mutable_heartbeat()->set_incarnation(incarnation);
  return message;
}

// Invariant 4.
TEST(ResumeTest, ItResumesAfterTheLastRecordAccepted) {
  v1::SubscribeRequest request;
  request.set_after_seq_id(10);
  Resume resume(request);
  ASSERT_TRUE(resume.Accept(Heartbeat(100)).ok());
  ASSERT_TRUE(resume.Accept(Message({AppendOf(11, 3), AppendOf(14, 1)})).ok());
  EXPECT_EQ(resume.last(), SeqId(14));
  EXPECT_EQ(resume.Request().after_seq_id(), 14u);
  EXPECT_EQ(resume.Request().incarnation(), 5u);
}

// Invariant 4.
TEST(ResumeTest, AGapARepeatOrAnEmptyAppendIsDataLossAndMovesNothing) {
  v1::SubscribeRequest request;
  request.set_after_seq_id(10);
  for (const v1::Append& bad : {AppendOf(12, 1), AppendOf(10, 2), AppendOf(11, 0)}) {
    Resume resume(request);
    EXPECT_EQ(ReasonOf(resume.Accept(Message({bad}))), Reason::LOG_CORRUPT);
    EXPECT_EQ(resume.last(), SeqId(10));
    EXPECT_FALSE(resume.Accept(Message({AppendOf(11, 1), AppendOf(13, 1)})).ok());
    EXPECT_EQ(resume.last(), SeqId(10));
  }
}

TEST(ResumeTest, AStartAtLatestBecomesTheTailOfTheFirstHeartbeat) {
  v1::SubscribeRequest request;
  request.set_latest(true);
  Resume resume(request);
  EXPECT_TRUE(resume.Request().latest());
  ASSERT_TRUE(resume.Accept(Heartbeat(100)).ok());
  EXPECT_EQ(resume.Request().after_seq_id(), 100u);
  ASSERT_TRUE(resume.Accept(Heartbeat(120)).ok());
  EXPECT_EQ(resume.last(), SeqId(100));
  EXPECT_FALSE(resume.Accept(Message({AppendOf(102, 1)})).ok());
}

TEST(ResumeTest, AStartAtEarliestBecomesTheTrimPointOfTheFirstHeartbeat) {
  for (const bool said : {true, false}) {
    v1::SubscribeRequest request;
    if (said) request.set_earliest(true);
    Resume resume(request);
    ASSERT_TRUE(resume.Accept(Heartbeat(100, 40)).ok());
    EXPECT_EQ(resume.Request().after_seq_id(), 40u);
  }
}

TEST(ResumeTest, AStartByTimeIsAskedAgainUntilTheFirstAppendHasCome) {
  v1::SubscribeRequest request;
  request.set_since_time_us(77);
  Resume resume(request);
  ASSERT_TRUE(resume.Accept(Heartbeat(100)).ok());
  EXPECT_EQ(resume.Request().since_time_us(), 77);
  ASSERT_TRUE(resume.Accept(Message({AppendOf(42, 2)})).ok());
  EXPECT_EQ(resume.Request().after_seq_id(), 43u);
}

TEST(ResumeTest, AStartAtACursorBecomesTheSeqIdThatTheFirstMessageSays) {
  v1::SubscribeRequest request;
  request.set_cursor("c");
  request.set_end_seq_id(42);
  Resume resume(request);
  EXPECT_EQ(resume.Request().cursor(), "c");
  v1::SubscribeResponse first = Heartbeat(100, 40);
  first.set_start_seq_id(41);
  ASSERT_TRUE(resume.Accept(first).ok());
  EXPECT_EQ(resume.Request().after_seq_id(), 41u);
  EXPECT_FALSE(resume.Request().has_cursor());
  EXPECT_FALSE(resume.Accept(Message({AppendOf(41, 1)})).ok());
  ASSERT_TRUE(resume.Accept(Message({AppendOf(42, 1)})).ok());
  EXPECT_TRUE(resume.complete());
}

TEST(ResumeTest, TheRangeIsCompleteAtItsEndAndNothingBeyondItIsAccepted) {
  v1::SubscribeRequest request;
  request.set_end_seq_id(3);
  Resume resume(request);
  ASSERT_TRUE(resume.Accept(Heartbeat(10)).ok());
  ASSERT_TRUE(resume.Accept(Message({AppendOf(1, 2)})).ok());
  EXPECT_FALSE(resume.complete());
  EXPECT_FALSE(resume.Accept(Message({AppendOf(3, 2)})).ok());
  ASSERT_TRUE(resume.Accept(Message({AppendOf(3, 1)})).ok());
  EXPECT_TRUE(resume.complete());
}

TEST(ResumeTest, AnEmptyRangeIsCompleteOnlyWhenTheServerHasAnswered) {
  v1::SubscribeRequest request;
  request.set_after_seq_id(3);
  request.set_end_seq_id(3);
  Resume resume(request);
  EXPECT_FALSE(resume.complete());
  ASSERT_TRUE(resume.Accept(Heartbeat(10)).ok());
  EXPECT_TRUE(resume.complete());
}

TEST(ResumeTest, AnotherIncarnationIsNotTakenForTheSameLog) {
  Resume resume({});
  ASSERT_TRUE(resume.Accept(Heartbeat(10, 0, 5)).ok());
  EXPECT_EQ(ReasonOf(resume.Accept(Heartbeat(10, 0, 6))), Reason::INCARNATION_CHANGED);
}

v1::ReadViewResponse Header(uint64_t applied, uint64_t tail, uint64_t incarnation = 5) {
  v1::ReadViewResponse message;
  message.mutable_header()->set_applied_seq_id(applied);
  message.mutable_header()->set_tail_seq_id(tail);
  message.mutable_header()->set_incarnation(incarnation);
  return message;
}

v1::ReadViewResponse Records(const v1::Append& append) {
  v1::ReadViewResponse message;
  *message.add_appends() = append;
  return message;
}

TEST(ViewCheckTest, AViewHasARecordForEverySeqIdBetweenAppliedAndTail) {
  ViewCheck check({});
  EXPECT_FALSE(check.begun());
  ASSERT_TRUE(check.Accept(Header(10, 12)).ok());
  EXPECT_FALSE(check.Complete().ok());
  EXPECT_FALSE(check.Accept(Records(AppendOf(12, 1))).ok());
  ASSERT_TRUE(check.Accept(Records(AppendOf(11, 2))).ok());
  EXPECT_TRUE(check.Complete().ok());
}

TEST(ViewCheckTest, RecordsThatTheCallerHasAreLeftOutUnlessTheLogIsAnother) {
  v1::ReadViewRequest request;
  request.set_after_seq_id(20);
  request.set_incarnation(5);
  ViewCheck same(request);
  ASSERT_TRUE(same.Accept(Header(10, 21)).ok());
  ASSERT_TRUE(same.Accept(Records(AppendOf(21, 1))).ok());
  EXPECT_TRUE(same.Complete().ok());

  ViewCheck other(request);
  ASSERT_TRUE(other.Accept(Header(10, 11, 6)).ok());
  ASSERT_TRUE(other.Accept(Records(AppendOf(11, 1))).ok());
  EXPECT_TRUE(other.Complete().ok());
}

TEST(ViewCheckTest, AViewWithoutItsHeaderFirstIsRefused) {
  ViewCheck check({});
  EXPECT_FALSE(check.Complete().ok());
  EXPECT_FALSE(check.Accept(Records(AppendOf(1, 1))).ok());
  ASSERT_TRUE(check.Accept(Header(0, 0)).ok());
  EXPECT_FALSE(check.Accept(Header(0, 0)).ok());
}

}  // namespace
}  // namespace sluice::client

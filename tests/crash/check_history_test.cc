// The judge of histories accepts what a durable, ordered log may do, and nothing else.
#include "tests/crash/check_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Two collections. In the first: "a" of records 1 and 2, then "b" of record 3, pushed one after the
// other, read once and followed by one subscriber. Tests spoil it.
class CheckHistoryTest : public ::testing::Test {
 protected:
  CheckHistoryTest() {
    history_.logs.resize(2);
    const size_t a = Push("a", {1, 2}, 10, 20, 1);
    const size_t b = Push("b", {3}, 30, 40, 3);
    EXPECT_EQ(a, kA);
    EXPECT_EQ(b, kB);
    history_.logs[0] = {{1, {1, 2}}, {3, {3}}};
    Read(50, 60, 0, {{1, {1, 2}}, {3, {3}}}, 3);
    Subscriber(0, 5, 25, {{1, {1, 2}}}, 2);
    Subscriber(0, 5, 45, {{3, {3}}}, 3);
  }

  // An append and a call that is in at `first`, or has another outcome.
  size_t Push(const std::string& name, std::vector<RecordDigest> records, Moment called,
              Moment answered, uint64_t first, Outcome outcome = Outcome::kIn) {
    history_.appends.push_back({.name = name, .collection = 0, .records = std::move(records)});
    Call(history_.appends.size() - 1, called, answered, first, outcome);
    return history_.appends.size() - 1;
  }
  PushCall& Call(size_t append, Moment called, Moment answered, uint64_t first,
                 Outcome outcome = Outcome::kIn) {
    PushCall call{.append = append, .called = called, .answered = answered, .outcome = outcome};
    if (outcome == Outcome::kIn) {
      call.first_seq_id = first;
      call.tail_seq_id = first + history_.appends[append].records.size() - 1;
    }
    return history_.pushes.emplace_back(call);
  }
  Observation& Read(Moment called, Moment answered, uint64_t after,
                    std::vector<ShownAppend> appends, uint64_t tail) {
    return history_.observations.emplace_back(Observation{.collection = 0,
                                                          .called = called,
                                                          .answered = answered,
                                                          .tail = tail,
                                                          .after_seq_id = after,
                                                          .appends = std::move(appends),
                                                          .subscriber = std::nullopt});
  }
  Observation& Subscriber(size_t number, Moment called, Moment answered,
                          std::vector<ShownAppend> appends, uint64_t tail) {
    Observation& seen = Read(called, answered, 0, std::move(appends), tail);
    seen.subscriber = number;
    return seen;
  }
  void ExpectViolation(const std::string& text) {
    EXPECT_THAT(CheckHistory(history_), Contains(HasSubstr(text)));
  }

  static constexpr size_t kA = 0;
  static constexpr size_t kB = 1;
  History history_;
};

TEST_F(CheckHistoryTest, AcceptsAGoodHistory) { EXPECT_THAT(CheckHistory(history_), IsEmpty()); }

TEST_F(CheckHistoryTest, AcceptsAPushThatNobodyAnsweredInOrNot) {
  Push("in", {4}, 70, 80, 0, Outcome::kUnknown);
  Push("out", {5}, 70, 80, 0, Outcome::kUnknown);
  history_.logs[0].push_back({4, {4}});
  Subscriber(0, 5, 90, {{4, {4}}}, 4);
  EXPECT_THAT(CheckHistory(history_), IsEmpty());
}

TEST_F(CheckHistoryTest, AcceptsARetryOfWhatNobodyAnswered) {
  Push("c", {4}, 70, 80, 0, Outcome::kUnknown);
  Call(2, 90, 95, 0, Outcome::kNotIn);
  Call(2, 100, 110, 4).duplicate = true;
  history_.logs[0].push_back({4, {4}});
  Subscriber(0, 5, 120, {{4, {4}}}, 4);
  EXPECT_THAT(CheckHistory(history_), IsEmpty());
}

TEST_F(CheckHistoryTest, AcceptsADuplicateOfItselfOfACallThatMayHaveTriedSeveralTimes) {
  Push("c", {4}, 70, 80, 4);
  history_.pushes.back().duplicate = true;
  history_.logs[0].push_back({4, {4}});
  Subscriber(0, 5, 90, {{4, {4}}}, 4);
  ExpectViolation("a duplicate of nothing: c");
  history_.pushes.back().several_attempts = true;
  EXPECT_THAT(CheckHistory(history_), IsEmpty());
}

TEST_F(CheckHistoryTest, RejectsAPushStreamWhoseAppendsWereReordered) {
  const size_t c = Push("c", {4}, 70, 100, 5);
  Push("d", {5}, 75, 90, 4);
  history_.appends.back().conditions.predecessor = c;
  history_.logs[0].push_back({4, {5}});
  history_.logs[0].push_back({5, {4}});
  Subscriber(0, 5, 120, {{4, {5, 4}}}, 5);
  ExpectViolation("in without its predecessor before it: d");
}

TEST_F(CheckHistoryTest, AcceptsConcurrentPushesInEitherOrder) {
  Push("late", {4}, 70, 100, 5);
  Push("early", {5}, 75, 90, 4);
  history_.logs[0].push_back({4, {5}});
  history_.logs[0].push_back({5, {4}});
  Subscriber(0, 5, 120, {{4, {5, 4}}}, 5);
  EXPECT_THAT(CheckHistory(history_), IsEmpty());
}

TEST_F(CheckHistoryTest, AcceptsAReadThatOverlapsAPush) {
  Read(15, 35, 0, {{1, {1, 2}}}, 2);
  Read(15, 35, 2, {{3, {3}}}, 3);
  EXPECT_THAT(CheckHistory(history_), IsEmpty());
}

TEST_F(CheckHistoryTest, RejectsAnAnswerThatNoClientShouldGet) {
  history_.unexpected.push_back("a push was answered NOT_FOUND");
  ExpectViolation("a push was answered NOT_FOUND");
}

TEST_F(CheckHistoryTest, RejectsAnAcknowledgedAppendThatIsLost) {
  history_.logs[0].pop_back();
  ExpectViolation("acknowledged, and not in the log: b");
}

TEST_F(CheckHistoryTest, RejectsAnAppendThatIsInTwice) {
  history_.logs[0].push_back({4, {3}});
  ExpectViolation("in the log twice, at SeqIds 3 and 4: b");
}

TEST_F(CheckHistoryTest, RejectsAnAppendThatIsAcknowledgedElsewhereThanItIs) {
  history_.pushes[kB].first_seq_id = 2;
  ExpectViolation("acknowledged elsewhere than at SeqId 3: b");
}

TEST_F(CheckHistoryTest, RejectsAnAppendThatIsCutShort) {
  history_.logs[0] = {{1, {1}}, {2, {3}}};
  ExpectViolation("only a part at SeqId 1 of a");
}

TEST_F(CheckHistoryTest, RejectsAnAppendWithoutItsBeginning) {
  history_.logs[0] = {{1, {2}}, {2, {3}}};
  ExpectViolation("only a part at SeqId 1 of a");
}

TEST_F(CheckHistoryTest, RejectsAGapInTheLog) {
  history_.logs[0] = {{1, {1, 2}}, {4, {3}}};
  ExpectViolation("goes on with SeqId 4 after 2");
}

TEST_F(CheckHistoryTest, RejectsARecordThatNobodyPushed) {
  history_.logs[0].push_back({4, {99}});
  ExpectViolation("a record at SeqId 4 that nobody pushed");
}

TEST_F(CheckHistoryTest, RejectsAnAppendInAnotherCollection) {
  history_.appends[kB].collection = 1;
  ExpectViolation("holds another's append: b");
}

TEST_F(CheckHistoryTest, RejectsAnAppendThatWasSaidToBeNotIn) {
  Push("c", {4}, 70, 80, 0, Outcome::kNotIn);
  history_.logs[0].push_back({4, {4}});
  ExpectViolation("said to be NOT_IN, and in the log at SeqId 4: c");
}

TEST_F(CheckHistoryTest, RejectsAppendsThatStandAgainstRealTime) {
  history_.logs[0] = {{1, {3}}, {2, {1, 2}}};
  history_.pushes[kA].first_seq_id = 2;
  history_.pushes[kB].first_seq_id = 1;
  ExpectViolation("stands after what was tried later: a");
}

TEST_F(CheckHistoryTest, RejectsADuplicateOfNothing) {
  history_.pushes[kA].duplicate = true;
  ExpectViolation("a duplicate of nothing: a");
}

TEST_F(CheckHistoryTest, RejectsASecondAcknowledgementThatSaysNothingOfTheFirst) {
  Call(kA, 70, 80, 1).tail_seq_id = 3;
  ExpectViolation("acknowledged as new more than once: a");
}

TEST_F(CheckHistoryTest, RejectsAReadThatGoesBack) {
  Read(70, 80, 0, {{1, {1, 2}}}, 2);
  ExpectViolation("was told tail 2 when 3 was known");
}

TEST_F(CheckHistoryTest, RejectsAReadOlderThanAnAcknowledgement) {
  history_.observations.clear();
  Read(41, 42, 0, {{1, {1, 2}}}, 2);
  ExpectViolation("was told tail 2 when 3 was known");
}

TEST_F(CheckHistoryTest, RejectsAPushWhoseTailGoesBack) {
  Call(kA, 70, 80, 1).duplicate = true;
  ExpectViolation("was told tail 2 when 3 was known");
}

TEST_F(CheckHistoryTest, RejectsATailFromTheFuture) {
  Read(21, 25, 0, {{1, {1, 2}}}, 3);
  ExpectViolation("was told tail 3 before it was pushed: b");
}

TEST_F(CheckHistoryTest, RejectsATailThatWasLost) {
  Read(70, 80, 3, {}, 4).after_seq_id.reset();
  ExpectViolation("was told tail 4 of a log that ends with 3");
}

TEST_F(CheckHistoryTest, RejectsAReadThatShowsOtherRecords) {
  Read(70, 80, 2, {{3, {1}}}, 3);
  ExpectViolation("saw another record than the log holds at SeqId 3");
}

TEST_F(CheckHistoryTest, RejectsAReadThatSkips) {
  Read(70, 80, 1, {{3, {3}}}, 3);
  ExpectViolation("saw SeqId 3 after 1");
}

TEST_F(CheckHistoryTest, RejectsAReadThatShowsNothing) {
  Read(70, 80, 1, {}, 3);
  ExpectViolation("was shown nothing after 1 at tail 3");
}

TEST_F(CheckHistoryTest, RejectsASubscriptionWithAGap) {
  history_.observations.clear();
  Subscriber(0, 5, 25, {{1, {1}}}, 2);
  Subscriber(0, 5, 45, {{3, {3}}}, 3);
  ExpectViolation("saw SeqId 3 after 1");
}

TEST_F(CheckHistoryTest, RejectsASubscriptionThatRepeats) {
  Subscriber(0, 70, 80, {{3, {3}}}, 3);
  ExpectViolation("saw SeqId 3 after 3");
}

TEST_F(CheckHistoryTest, RejectsSubscribersThatDisagree) {
  Subscriber(1, 5, 25, {{1, {1, 3}}}, 2);
  Subscriber(1, 5, 45, {{3, {3}}}, 3);
  ExpectViolation("subscriber 1 of log 0");
}

TEST_F(CheckHistoryTest, RejectsASubscriptionThatSeesPastTheEnd) {
  Subscriber(0, 70, 80, {{4, {3}}}, 3);
  ExpectViolation("saw SeqId 4 of a log that ends with 3");
}

TEST_F(CheckHistoryTest, RejectsASubscriptionWhoseTailGoesBack) {
  Subscriber(0, 5, 60, {}, 2);
  ExpectViolation("was told tail 2 after 3");
}

TEST_F(CheckHistoryTest, RejectsASubscriptionThatNeverReachesTheEnd) {
  history_.observations.pop_back();
  ExpectViolation("subscriber 0 saw nothing after SeqId 2 of 3");
}

// "a" of ids x and y, "b" of id z; then "c" on a condition, tried once.
class ConditionTest : public CheckHistoryTest {
 protected:
  ConditionTest() {
    history_.appends[kA].ids = {"x", "y"};
    history_.appends[kB].ids = {"z"};
  }
  void ConditionalPush(Conditions conditions, uint64_t first) {
    const size_t c = Push("c", {4}, 70, 80, first, first ? Outcome::kIn : Outcome::kNotIn);
    history_.appends[c].conditions = std::move(conditions);
    if (first == 0) return;
    history_.logs[0].push_back({4, {4}});
    Subscriber(0, 5, 90, {{4, {4}}}, 4);
  }
  void Refuse(Refusal refusal) { history_.pushes.back().refusal = std::move(refusal); }
  static Conditions IfTail(uint64_t tail) { return {.tail = tail}; }
  static Conditions IfUnchanged(uint64_t since, std::vector<std::string> ids) {
    return {.ids = Conditions::Unchanged{since, std::move(ids)}};
  }
};

TEST_F(ConditionTest, AcceptsAnAppendWhoseConditionsHeld) {
  Conditions conditions = IfUnchanged(2, {"x"});
  conditions.tail = 3;
  conditions.predecessor = kB;
  ConditionalPush(conditions, 4);
  EXPECT_THAT(CheckHistory(history_), IsEmpty());
}

TEST_F(ConditionTest, AcceptsRefusalsThatSayWhatIs) {
  ConditionalPush(IfTail(2), 0);
  Refuse({.tail = 3});
  history_.appends.back().conditions.ids = Conditions::Unchanged{1, {"y", "z"}};
  Call(2, 90, 95, 0, Outcome::kNotIn);
  Refuse({.changed = {{"y", 2}}});
  EXPECT_THAT(CheckHistory(history_), IsEmpty());
}

TEST_F(ConditionTest, RejectsAnAppendAfterAnotherTail) {
  ConditionalPush(IfTail(2), 4);
  ExpectViolation("in at SeqId 4 though only if the tail was 2: c");
}

TEST_F(ConditionTest, RejectsAnAppendAfterAnIdChanged) {
  ConditionalPush(IfUnchanged(2, {"z"}), 4);
  ExpectViolation("in at SeqId 4 though an id had changed at 3: c");
}

TEST_F(ConditionTest, RejectsAnAppendWithoutItsPredecessor) {
  const size_t lost = Push("lost", {9}, 50, 55, 0, Outcome::kUnknown);
  ConditionalPush({.predecessor = lost}, 0);
  history_.logs[0].push_back({4, {4}});
  ExpectViolation("in without its predecessor before it: c");
}

TEST_F(ConditionTest, RejectsAnAppendThatWasRefusedOnItsCondition) {
  ConditionalPush(IfTail(3), 4);
  Call(2, 60, 65, 0, Outcome::kNotIn);
  Refuse({.tail = 3});
  ExpectViolation("refused on its condition, and in: c");
}

TEST_F(ConditionTest, RejectsARefusalForTheTailThatIsAskedFor) {
  ConditionalPush(IfTail(3), 0);
  Refuse({.tail = 3});
  ExpectViolation("refused for tail 3 as it should not be: c");
}

TEST_F(ConditionTest, RejectsARefusalForATailOfThePast) {
  ConditionalPush(IfTail(1), 0);
  Refuse({.tail = 2});
  ExpectViolation("was told tail 2 when 3 was known");
}

TEST_F(ConditionTest, RejectsARefusalForAChangeThatIsNone) {
  ConditionalPush(IfUnchanged(0, {"z"}), 0);
  Refuse({.changed = {{"z", 2}}});
  ExpectViolation("refused for a change of z at SeqId 2, which is not the first: c");
}

TEST_F(ConditionTest, RejectsARefusalForAPredecessorThatIsIn) {
  ConditionalPush({.predecessor = kB}, 0);
  Refuse({.no_predecessor = true});
  ExpectViolation("refused for a predecessor that is in: c");
}

}  // namespace
}  // namespace sluice::testing

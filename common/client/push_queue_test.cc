#include "common/client/push_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace sluice::client {
namespace {

using ::testing::ElementsAre;

class PushQueueTest : public ::testing::Test {
 protected:
  void Add(const std::string& request_id) {
    v1::PushLogsRequest request;
    request.set_request_id(request_id);
    queue_.Add(std::move(request), [](const auto&) {});
  }
  // The next one, as "id" or "id after predecessor".
  std::string Next() {
    const PushQueue::Request request = queue_.Next();
    const std::string& predecessor = request->predecessor_request_id();
    return request->request_id() + (predecessor.empty() ? "" : " after " + predecessor);
  }
  std::vector<Outcome> OutcomesOfGivingUp() {
    std::vector<Outcome> outcomes;
    for (const PushQueue::Answer& answer :
         queue_.GiveUp(absl::InternalError("no"), absl::InternalError("neither"))) {
      outcomes.push_back(OutcomeOf(answer.result.status()));
    }
    return outcomes;
  }

  PushQueue queue_;
};

TEST_F(PushQueueTest, EachNamesTheOneBeforeItWhileThatIsNotAnswered) {
  Add("a");
  Add("b");
  EXPECT_EQ(Next(), "a");
  EXPECT_EQ(Next(), "b after a");
  EXPECT_FALSE(queue_.has_next());
  queue_.Accept({});
  Add("c");
  EXPECT_EQ(Next(), "c after b");
  queue_.Accept({});
  queue_.Accept({});
  EXPECT_TRUE(queue_.empty());
  Add("d");
  EXPECT_EQ(Next(), "d") << "all before it are in";
}

TEST_F(PushQueueTest, AfterAStreamAllThatIsNotAnsweredIsSentAgainAndTheOldestNamesNone) {
  for (const char* id : {"a", "b", "c", "d"}) Add(id);
  for (int i = 0; i < 3; ++i) Next();
  queue_.Accept({});
  EXPECT_TRUE(queue_.oldest_named_one());
  queue_.Rewind(Outcome::kUnknown, Outcome::kUnknown);
  EXPECT_EQ(Next(), "b");
  EXPECT_FALSE(queue_.oldest_named_one());
  EXPECT_EQ(Next(), "c after b");
  EXPECT_EQ(Next(), "d after c");
}

TEST_F(PushQueueTest, ItCountsWhatIsNotAnswered) {
  Add("a");
  const size_t bytes = queue_.bytes();
  EXPECT_GT(bytes, 0u);
  Add("b");
  EXPECT_EQ(queue_.bytes(), 2 * bytes);
  Next();
  queue_.Accept({});
  EXPECT_EQ(queue_.bytes(), bytes);
  EXPECT_EQ(queue_.size(), 1u);
  EXPECT_EQ(queue_.sent(), 0u);
}

// Invariant 10.
TEST_F(PushQueueTest, IfTheOldestIsNotInNoneIsWhateverBecameOfTheirAttempts) {
  for (const char* id : {"a", "b", "c"}) Add(id);
  Next();
  Next();
  queue_.Rewind(Outcome::kNotIn, Outcome::kUnknown);
  EXPECT_THAT(OutcomesOfGivingUp(), ElementsAre(Outcome::kNotIn, Outcome::kNotIn, Outcome::kNotIn));
  EXPECT_TRUE(queue_.empty());
  EXPECT_EQ(queue_.bytes(), 0u);
}

// Invariant 10.
TEST_F(PushQueueTest, IfTheOldestMayBeInSoMayThoseThatWereSent) {
  for (const char* id : {"a", "b", "c"}) Add(id);
  Next();
  Next();
  queue_.Rewind(Outcome::kUnknown, Outcome::kUnknown);
  Next();
  queue_.Rewind(Outcome::kNotIn, Outcome::kNotIn);
  EXPECT_THAT(OutcomesOfGivingUp(),
              ElementsAre(Outcome::kUnknown, Outcome::kUnknown, Outcome::kNotIn));
}

}  // namespace
}  // namespace sluice::client

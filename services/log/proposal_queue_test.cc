#include "services/log/proposal_queue.h"

#include <gtest/gtest.h>

#include <string>

#include "services/log/test_support.h"

namespace sluice::log {
namespace {

constexpr uint64_t kMost = 8 << 20;

class ProposalQueueTest : public ::testing::Test {
 protected:
  // A push of about `bytes`.
  void Add(const CollectionId& collection, size_t bytes) {
    queue_.Add({PushOf(collection, RequestId(), {Record("a", std::string(bytes, 'x'))}),
                [](const Result&) {}},
               now_);
  }
  // The collections of the next group, as letters.
  std::string Next(uint64_t max_bytes = kMost) {
    std::string letters;
    for (const Proposal& p : queue_.TakeGroup(max_bytes, now_).proposals) {
      letters += p.command.collection() == a_ ? 'a' : p.command.collection() == b_ ? 'b' : '-';
    }
    return letters;
  }

  ProposalQueue queue_;
  ProposalQueue::Clock::time_point now_{std::chrono::seconds(100)};
  const CollectionId a_ = NewCollectionId();
  const CollectionId b_ = NewCollectionId();
};

TEST_F(ProposalQueueTest, AGroupTakesWhatFitsInOrder) {
  for (int i = 0; i < 3; ++i) Add(a_, 400 << 10);
  EXPECT_EQ(Next(1 << 20), "aa");
  EXPECT_EQ(Next(1 << 20), "a");
  EXPECT_TRUE(queue_.empty());
}

TEST_F(ProposalQueueTest, AGroupHasAtLeastOneCommand) {
  Add(a_, 900 << 10);
  EXPECT_EQ(Next(1), "a");
}

TEST_F(ProposalQueueTest, WhileCollectionsShareAFloodDoesNotDelayTheOthers) {
  for (int i = 0; i < 6; ++i) Add(a_, 200 << 10);
  Add(b_, 100);
  EXPECT_EQ(Next(), "aab");
  EXPECT_EQ(Next(), "aa");
  EXPECT_EQ(Next(), "aa");
}

TEST_F(ProposalQueueTest, NoCommandOvertakesAnotherOfItsCollection) {
  Add(b_, 100);
  Add(a_, 400 << 10);
  Add(a_, 400 << 10);
  // It would fit into the share that is left, but the one before it does not.
  Add(a_, 100);
  EXPECT_EQ(Next(), "ba");
  EXPECT_EQ(Next(), "aa");
}

TEST_F(ProposalQueueTest, ACollectionAloneHasTheWholeGroupAgain) {
  Add(b_, 100);
  for (int i = 0; i < 6; ++i) Add(a_, 200 << 10);
  EXPECT_EQ(Next(), "baa");
  now_ += std::chrono::milliseconds(101);
  EXPECT_EQ(Next(), "aaaa");
}

TEST_F(ProposalQueueTest, OtherCommandsAreNotSharing) {
  for (int i = 0; i < 6; ++i) {
    Add(a_, 200 << 10);
    queue_.Add({OpenLogOf(b_), [](const Result&) {}}, now_);
  }
  EXPECT_EQ(Next(), "a-a-a-a-a-a-");
}

}  // namespace
}  // namespace sluice::log

#include "services/log/admission.h"

#include <gtest/gtest.h>

#include "common/errors/errors.h"

namespace sluice::log {
namespace {

using std::chrono::milliseconds;

class AdmissionTest : public ::testing::Test {
 protected:
  absl::Status Take(const CollectionId& collection, uint64_t bytes, bool store_slow = false) {
    return admission_.Take(collection, bytes, store_slow, now_);
  }
  void GiveBack(const CollectionId& collection, uint64_t bytes) {
    admission_.GiveBack(collection, bytes, now_);
  }
  static std::string LimitOf(const absl::Status& refused) {
    EXPECT_EQ(ReasonOf(refused), Reason::OVERLOADED) << refused;
    return ErrorMetadata(refused, "limit");
  }

  Admission admission_{{.node_bytes = 1000, .collection_bytes = 400}};
  Admission::Clock::time_point now_{std::chrono::seconds(100)};
  const CollectionId a_{Uuid::Random()};
  const CollectionId b_{Uuid::Random()};
  const CollectionId c_{Uuid::Random()};
  const CollectionId none_;
};

TEST_F(AdmissionTest, ACollectionBeyondItsLimitIsRefusedAndOthersAreNot) {  // invariant 9
  ASSERT_TRUE(Take(a_, 300).ok());
  EXPECT_EQ(LimitOf(Take(a_, 101)), "collection");
  EXPECT_TRUE(Take(a_, 100).ok());
  EXPECT_TRUE(Take(b_, 400).ok());
}

TEST_F(AdmissionTest, TheNodeBeyondItsLimitRefusesEverybody) {  // invariant 9
  ASSERT_TRUE(Take(a_, 400).ok());
  ASSERT_TRUE(Take(b_, 400).ok());
  EXPECT_EQ(LimitOf(Take(c_, 201)), "node");
  EXPECT_TRUE(Take(c_, 200).ok());
  EXPECT_EQ(admission_.bytes(), 1000u);
}

TEST_F(AdmissionTest, WhatIsRefusedIsNotCounted) {
  ASSERT_TRUE(Take(a_, 400).ok());
  ASSERT_FALSE(Take(a_, 1).ok());
  EXPECT_EQ(admission_.bytes(), 400u);
  GiveBack(a_, 400);
  EXPECT_EQ(admission_.bytes(), 0u);
  EXPECT_TRUE(Take(a_, 400).ok());
}

TEST_F(AdmissionTest, OneCommandAloneIsTakenHoweverLarge) {
  EXPECT_TRUE(Take(a_, 5000).ok());
  EXPECT_EQ(LimitOf(Take(b_, 1)), "node");
}

TEST_F(AdmissionTest, CompactionsCommandsFindRoomWherePushesDoNot) {
  ASSERT_TRUE(Take(a_, 400).ok());
  ASSERT_TRUE(Take(b_, 400).ok());
  ASSERT_TRUE(Take(c_, 200).ok());
  EXPECT_EQ(LimitOf(Take(c_, 1)), "node");
  EXPECT_TRUE(Take(none_, 300).ok());
  EXPECT_EQ(LimitOf(Take(none_, 8 << 20)), "node");
}

TEST_F(AdmissionTest, ASlowStoreLeavesEachCollectionAQuarterOfItsRoom) {
  ASSERT_TRUE(Take(a_, 60).ok());
  EXPECT_EQ(LimitOf(Take(a_, 41, /*store_slow=*/true)), "store");
  EXPECT_TRUE(Take(a_, 40, /*store_slow=*/true).ok());
  EXPECT_TRUE(Take(b_, 300, /*store_slow=*/true).ok());
  EXPECT_TRUE(Take(a_, 300).ok());
}

TEST_F(AdmissionTest, TheDelayIsHowLongWhatIsInFlightTakesAtThePaceOfLate) {
  ASSERT_TRUE(Take(a_, 400).ok());
  EXPECT_EQ(RetryAfter(Take(a_, 1)), milliseconds(50));
  // 100 bytes in 100 ms.
  now_ += milliseconds(100);
  GiveBack(a_, 100);
  EXPECT_EQ(RetryAfter(Take(a_, 101)), milliseconds(300));
}

TEST_F(AdmissionTest, TheDelayHasBounds) {
  ASSERT_TRUE(Take(a_, 400).ok());
  ASSERT_TRUE(Take(b_, 400).ok());
  now_ += milliseconds(100);
  GiveBack(a_, 400);
  ASSERT_TRUE(Take(a_, 10).ok());
  EXPECT_EQ(RetryAfter(Take(a_, 391)), milliseconds(20));
  now_ += std::chrono::seconds(1000);
  GiveBack(b_, 1);
  EXPECT_EQ(RetryAfter(Take(a_, 391)), milliseconds(2000));
}

}  // namespace
}  // namespace sluice::log

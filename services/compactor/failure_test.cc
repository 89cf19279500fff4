#include "services/compactor/failure.h"

#include <gtest/gtest.h>

#include "common/errors/errors.h"

namespace sluice::compactor {
namespace {

TEST(FailureTest, AFencedJobIsLostAndNobodyIsBlamed) {
  for (const Reason reason :
       {Reason::LEASE_LOST, Reason::APPLIED_MOVED, Reason::INPUT_GONE, Reason::INCARNATION_CHANGED,
        Reason::COLLECTION_NOT_FOUND, Reason::COLLECTION_DELETED}) {
    EXPECT_EQ(ClassOf(MakeError(reason, "")), Failure::kLost) << ReasonName(reason);
  }
}

TEST(FailureTest, WhatIsDamagedOrMissingIsOfTheCollection) {
  for (const Reason reason :
       {Reason::SEGMENT_CORRUPT, Reason::LOG_CORRUPT, Reason::TRIMMED, Reason::BEYOND_TAIL}) {
    EXPECT_EQ(ClassOf(MakeError(reason, "")), Failure::kCollection) << ReasonName(reason);
  }
  EXPECT_EQ(ClassOf(absl::NotFoundError("no such object")), Failure::kCollection);
}

TEST(FailureTest, WhatPassesIsInfrastructure) {
  for (const Reason reason :
       {Reason::OVERLOADED, Reason::READ_ONLY, Reason::DRAINING, Reason::COMMIT_UNKNOWN}) {
    EXPECT_EQ(ClassOf(MakeError(reason, "")), Failure::kInfrastructure) << ReasonName(reason);
  }
  EXPECT_EQ(ClassOf(absl::UnavailableError("disk")), Failure::kInfrastructure);
  EXPECT_EQ(ClassOf(absl::DeadlineExceededError("")), Failure::kInfrastructure);
}

}  // namespace
}  // namespace sluice::compactor

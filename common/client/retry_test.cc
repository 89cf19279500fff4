#include "common/client/retry.h"

#include <gtest/gtest.h>

namespace sluice::client {
namespace {

using std::chrono::milliseconds;

TEST(RetryTest, OnlyWhatMayPassByItselfIsRetried) {
  EXPECT_TRUE(IsRetryable(absl::UnavailableError("")));
  EXPECT_TRUE(IsRetryable(absl::DeadlineExceededError("")));
  EXPECT_TRUE(IsRetryable(absl::CancelledError("")));
  EXPECT_TRUE(IsRetryable(MakeError(Reason::OVERLOADED, "")));
  EXPECT_TRUE(IsRetryable(MakeError(Reason::COMMIT_UNKNOWN, "")));

  EXPECT_FALSE(IsRetryable(MakeError(Reason::BACKLOG, "")));
  EXPECT_FALSE(IsRetryable(MakeRetryableError(Reason::BACKLOG, "", milliseconds(1))));
  EXPECT_FALSE(IsRetryable(absl::ResourceExhaustedError("a message larger than the limit")));
  EXPECT_FALSE(IsRetryable(MakeError(Reason::LEASE_LOST, "")));
  EXPECT_FALSE(IsRetryable(absl::InternalError("")));
  EXPECT_FALSE(IsRetryable(absl::InvalidArgumentError("")));
}

TEST(RetryTest, BackoffDoublesUpToItsMostAndIsJitteredDownToHalf) {
  const Options options{.first_backoff = milliseconds(20), .most_backoff = milliseconds(100)};
  const absl::Status error = absl::UnavailableError("");
  EXPECT_EQ(BackoffAfter(options, error, 1, 1.0), milliseconds(20));
  EXPECT_EQ(BackoffAfter(options, error, 2, 1.0), milliseconds(40));
  EXPECT_EQ(BackoffAfter(options, error, 3, 1.0), milliseconds(80));
  EXPECT_EQ(BackoffAfter(options, error, 4, 1.0), milliseconds(100));
  EXPECT_EQ(BackoffAfter(options, error, 1'000'000, 1.0), milliseconds(100));
  EXPECT_EQ(BackoffAfter(options, error, 3, 0.0), milliseconds(40));
}

// Invariant 9: a server that says when to come back is not asked before.
TEST(RetryTest, TheDelayThatAServerAsksForIsWaitedInFull) {
  const Options options{.first_backoff = milliseconds(20)};
  const absl::Status error = MakeRetryableError(Reason::OVERLOADED, "", milliseconds(700));
  EXPECT_EQ(BackoffAfter(options, error, 1, 0.0), milliseconds(710));
  EXPECT_EQ(BackoffAfter(options, error, 1, 1.0), milliseconds(720));
}

TEST(RetryTest, ACallGivesUpRatherThanWaitBeyondItsTotalDeadline) {
  const Options options{.first_backoff = milliseconds(20)};
  const absl::Status error = absl::UnavailableError("");
  EXPECT_EQ(WaitBeforeRetry(options, error, 1, milliseconds(21), 1.0), milliseconds(20));
  EXPECT_EQ(WaitBeforeRetry(options, error, 1, milliseconds(20), 1.0), std::nullopt);
  EXPECT_EQ(WaitBeforeRetry(options, absl::NotFoundError(""), 1, milliseconds(1000), 1.0),
            std::nullopt);
}

// Invariant 10.
TEST(RetryTest, TheOutcomeOfSeveralAttemptsIsNotInOnlyIfNoneMayBeIn) {
  EXPECT_EQ(OverBoth(Outcome::kNotIn, Outcome::kNotIn), Outcome::kNotIn);
  EXPECT_EQ(OverBoth(Outcome::kUnknown, Outcome::kNotIn), Outcome::kUnknown);
  EXPECT_EQ(OverBoth(Outcome::kNotIn, Outcome::kUnknown), Outcome::kUnknown);
  EXPECT_EQ(OverBoth(Outcome::kUnknown, Outcome::kIn), Outcome::kIn);
  EXPECT_EQ(OverBoth(Outcome::kIn, Outcome::kNotIn), Outcome::kIn);
}

}  // namespace
}  // namespace sluice::client

#include "common/errors/errors.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "sluice/v1/error.pb.h"

namespace sluice {
namespace {

using std::chrono::milliseconds;

TEST(ErrorsTest, AnErrorKeepsItsReasonMetadataAndDelayAcrossTheWire) {
  const absl::Status error =
      MakeRetryableError(Reason::TRIMMED, "gone", milliseconds(1250), {{"first_seq_id", "7"}});
  const absl::Status back = FromGrpc(ToGrpc(error, nullptr));
  EXPECT_EQ(back.code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(back.message(), "gone");
  EXPECT_EQ(ReasonOf(back), Reason::TRIMMED);
  EXPECT_EQ(ErrorMetadata(back, "first_seq_id"), "7");
  EXPECT_EQ(ErrorMetadata(back, "absent"), "");
  EXPECT_EQ(RetryAfter(back), milliseconds(1250));
}

TEST(ErrorsTest, AnErrorIsTheSameAsAMessage) {
  const absl::Status error =
      MakeRetryableError(Reason::OVERLOADED, "busy", milliseconds(20), {{"limit", "node"}});
  for (const Outcome outcome : {Outcome::kIn, Outcome::kNotIn, Outcome::kUnknown}) {
    const absl::Status back = FromMessage(ToMessage(WithOutcome(error, outcome)));
    EXPECT_EQ(back.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(back.message(), "busy");
    EXPECT_EQ(ReasonOf(back), Reason::OVERLOADED);
    EXPECT_EQ(ErrorMetadata(back, "limit"), "node");
    EXPECT_EQ(RetryAfter(back), milliseconds(20));
    EXPECT_EQ(OutcomeOf(back), outcome);
  }
  EXPECT_EQ(OutcomeOf(FromMessage(ToMessage(error))), Outcome::kUnknown);
  EXPECT_EQ(FromMessage({}).code(), absl::StatusCode::kInternal) << "never taken for OK";
}

// Invariant 10: an error that says nothing means "may be in".
TEST(ErrorsTest, AnErrorWithoutAStatedOutcomeMeansUnknown) {
  EXPECT_EQ(OutcomeOf(absl::UnavailableError("x")), Outcome::kUnknown);
  EXPECT_EQ(OutcomeOf(absl::OkStatus()), Outcome::kIn);
  EXPECT_EQ(OutcomeOf(WithOutcome(absl::UnavailableError("x"), Outcome::kNotIn)), Outcome::kNotIn);
}

TEST(ErrorsTest, AnnotateKeepsThePayloads) {
  const absl::Status error =
      Annotate(WithOutcome(MakeError(Reason::OVERLOADED, "busy"), Outcome::kNotIn), "push");
  EXPECT_EQ(error.message(), "push: busy");
  EXPECT_EQ(ReasonOf(error), Reason::OVERLOADED);
  EXPECT_EQ(OutcomeOf(error), Outcome::kNotIn);
}

TEST(ErrorsTest, TheReadmeListsEveryReasonWithItsCodeAndHelp) {
  std::ifstream file(SLUICE_SOURCE_DIR "/common/errors/README.md");
  std::stringstream readme;
  readme << file.rdbuf();
#define X(name, code, help)                                                                  \
  EXPECT_NE(readme.str().find(absl::StrCat("| `" #name "` | ",                               \
                                           absl::StatusCodeToString(absl::StatusCode::code), \
                                           " | ", help, " |")),                              \
            std::string::npos)                                                               \
      << "README.md lacks this row: | `" #name "` | "                                        \
      << absl::StatusCodeToString(absl::StatusCode::code) << " | " << help << " |";
  SLUICE_REASONS(X)
#undef X
}

}  // namespace
}  // namespace sluice

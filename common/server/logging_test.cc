#include "common/server/logging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace sluice::server {
namespace {

using ::testing::HasSubstr;
using ::testing::internal::CaptureStderr;
using ::testing::internal::GetCapturedStderr;

TEST(LoggingTest, ATextLineHasTimeLevelMessageAndFields) {
  SetUpLogging("text", "info");
  CaptureStderr();
  Log(Level::kInfo, "segment committed", {{"rows", 7}, {"name", "a b"}, {"token", "ab-12"}});
  EXPECT_THAT(
      GetCapturedStderr(),
      ::testing::MatchesRegex(
          "20..-..-..T..:..:..\\....Z info segment committed rows=7 name=\"a b\" token=ab-12\n"));
}

TEST(LoggingTest, AJsonLineIsAnObjectWhateverTheBytes) {
  SetUpLogging("json", "info");
  CaptureStderr();
  Log(Level::kWarn, "two\nlines",
      {{"bytes", std::string("\xff\"\n", 3)}, {"ms", 1.5}, {"ok", true}});
  const std::string line = GetCapturedStderr();
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  const nlohmann::json object = nlohmann::json::parse(line);
  EXPECT_EQ(object["level"], "warning");
  EXPECT_EQ(object["message"], "two\nlines");
  EXPECT_EQ(object["bytes"], "\xEF\xBF\xBD\"\n");
  EXPECT_EQ(object["ms"], 1.5);
}

TEST(LoggingTest, LinesBelowTheLevelAreNotWritten) {
  SetUpLogging("text", "warning");
  CaptureStderr();
  Log(Level::kInfo, "quiet");
  Log(Level::kWarn, "loud");
  const std::string lines = GetCapturedStderr();
  EXPECT_THAT(lines, ::testing::Not(HasSubstr("quiet")));
  EXPECT_THAT(lines, HasSubstr("loud"));
}

TEST(LoggingTest, ARateLimitedLineSaysHowManyWereLeftOut) {
  SetUpLogging("text", "info");
  RateLimitedLog rare(std::chrono::hours(1));
  CaptureStderr();
  for (int i = 0; i < 3; ++i) rare(Level::kWarn, "slow", {{"i", i}});
  EXPECT_THAT(GetCapturedStderr(), ::testing::EndsWith("warning slow i=0\n"));

  RateLimitedLog frequent(std::chrono::nanoseconds(0));
  CaptureStderr();
  for (int i = 0; i < 2; ++i) frequent(Level::kWarn, "slow", {{"i", i}});
  EXPECT_THAT(GetCapturedStderr(), HasSubstr("slow i=1\n"));
}

}  // namespace
}  // namespace sluice::server

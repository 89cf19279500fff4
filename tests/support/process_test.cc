#include "tests/support/process.h"

#include <gtest/gtest.h>
#include <signal.h>

namespace sluice::testing {
namespace {

ProcessOptions Shell(const std::string& script) {
  return {.program = "/bin/sh", .arguments = {"-c", script}};
}

TEST(ProcessTest, AProgramIsReadyWhenItSaysSoAndCanBeStoppedAndKilled) {
  auto process =
      Process::Start(Shell("trap 'exit 7' TERM; echo ready grpc=127.0.0.1:1 http=127.0.0.1:2; "
                           "while :; do read x; done"));
  ASSERT_TRUE(process.ok()) << process.status();
  EXPECT_EQ((*process)->grpc_address(), "127.0.0.1:1");
  EXPECT_EQ((*process)->http_address(), "127.0.0.1:2");
  EXPECT_EQ((*process)->Stop(), 7);

  process = Process::Start(Shell("echo ready; while :; do read x; done"));
  ASSERT_TRUE(process.ok());
  (*process)->Kill();
  EXPECT_EQ((*process)->Wait(), 128 + SIGKILL);
}

TEST(ProcessTest, AProgramThatEndsTooEarlyIsReportedWithItsWords) {
  const auto process = Process::Start(Shell("echo no such port >&2; exit 3"));
  ASSERT_FALSE(process.ok());
  EXPECT_NE(process.status().message().find("status 3"), absl::string_view::npos);
  EXPECT_NE(process.status().message().find("no such port"), absl::string_view::npos);
}

TEST(ProcessTest, RunToEndPassesInputAndReturnsOutput) {
  const auto finished = RunToEnd(Shell("cat; echo oops >&2; exit 4"), "hello");
  ASSERT_TRUE(finished.ok());
  EXPECT_EQ(finished->exit_status, 4);
  EXPECT_EQ(finished->output, "hello");
  EXPECT_EQ(finished->error_output, "oops\n");
}

}  // namespace
}  // namespace sluice::testing

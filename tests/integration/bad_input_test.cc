// The log service as a process: what it says, and how it ends, when it cannot start. Nothing is
// changed by the attempt.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>

#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace sluice::testing {
namespace {

using ::testing::HasSubstr;

// Every file of a folder with its contents.
std::map<std::string, std::string> ContentsOf(const std::filesystem::path& folder) {
  std::map<std::string, std::string> contents;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    contents[entry.path().string()] = {std::istreambuf_iterator<char>(file), {}};
  }
  return contents;
}

class LogProcessTest : public ::testing::Test {
 protected:
  ProcessOptions Options() const {
    ProcessOptions options;
    options.program = BinaryPath("sluice-log");
    options.environment = {{"SLUICE_LOG_DATA", data_.string()},
                           {"SLUICE_SERVER_GRPC_ADDRESS", "127.0.0.1:0"},
                           {"SLUICE_SERVER_HTTP_ADDRESS", "127.0.0.1:0"}};
    return options;
  }
  // Ends with this status, and says all of this on standard error.
  static void ExpectCannotStart(const ProcessOptions& options, int status,
                                const std::vector<std::string>& says) {
    const auto finished = RunToEnd(options, "", std::chrono::seconds(20));
    ASSERT_TRUE(finished.ok()) << finished.status();
    EXPECT_EQ(finished->exit_status, status) << finished->error_output;
    for (const std::string& text : says) EXPECT_THAT(finished->error_output, HasSubstr(text));
    EXPECT_THAT(finished->output, ::testing::Not(HasSubstr("ready")));
  }

  TempFolder folder_;
  const std::filesystem::path data_ = folder_.path() / "log";
};

TEST_F(LogProcessTest, APortInUseIsSaid) {
  const auto running = Process::Start(Options());
  ASSERT_TRUE(running.ok()) << running.status();
  for (const auto& [variable, address] :
       {std::pair("SLUICE_SERVER_GRPC_ADDRESS", (*running)->grpc_address()),
        std::pair("SLUICE_SERVER_HTTP_ADDRESS", (*running)->http_address())}) {
    ProcessOptions options = Options();
    options.environment["SLUICE_LOG_DATA"] = (folder_.path() / "other").string();
    options.environment[variable] = address;
    ExpectCannotStart(options, 1, {address, "in use"});
  }
  EXPECT_EQ((*running)->Stop(), 0);
}

TEST_F(LogProcessTest, ADataFolderInUseIsSaid) {
  const auto running = Process::Start(Options());
  ASSERT_TRUE(running.ok()) << running.status();
  ExpectCannotStart(Options(), 1, {data_.string(), "in use"});
  EXPECT_EQ((*running)->Stop(), 0);
}

TEST_F(LogProcessTest, ADataFolderOfANewerFormatIsSaidAndLeftAlone) {
  {
    const auto running = Process::Start(Options());
    ASSERT_TRUE(running.ok()) << running.status();
    EXPECT_EQ((*running)->Stop(), 0);
  }
  std::ofstream(data_ / "FORMAT") << "sluice-log 2\n";
  const auto before = ContentsOf(data_);
  ExpectCannotStart(Options(), 1, {data_.string(), "format 2", "newer"});
  EXPECT_EQ(ContentsOf(data_), before);
}

TEST_F(LogProcessTest, AnUnknownConfigKeyIsSaidWithItsPlace) {
  const std::filesystem::path config = folder_.path() / "log.yaml";
  std::ofstream(config) << "log:\n  data: x\n  jurnal:\n    file_bytes: 64MiB\n";
  ProcessOptions options = Options();
  options.arguments = {"--config", config.string()};
  ExpectCannotStart(options, 2, {config.string() + ":3", "log.jurnal"});
}

TEST_F(LogProcessTest, AnUnknownVariableAndAValueOutOfRangeAreSaid) {
  ProcessOptions options = Options();
  options.environment["SLUICE_LOG_NONSENSE"] = "1";
  ExpectCannotStart(options, 2, {"SLUICE_LOG_NONSENSE"});
  options = Options();
  options.environment["SLUICE_LOG_READ_THREADS"] = "0";
  ExpectCannotStart(options, 2, {"SLUICE_LOG_READ_THREADS", "256"});
  EXPECT_FALSE(std::filesystem::exists(data_));
}

}  // namespace
}  // namespace sluice::testing

// What a program of ours does from its first line to its exit status, in a child process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "common/server/server.h"

namespace sluice::server {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class Idle : public Component {
 public:
  void Register(grpc::ServerBuilder&) override {}
  absl::Status Start(const std::shared_ptr<grpc::Channel>&) override { return absl::OkStatus(); }
  absl::Status Ready() const override { return absl::OkStatus(); }
  absl::Status Alive() const override { return absl::OkStatus(); }
  void BeginDrain() override {}
  void FinishDrain(std::chrono::steady_clock::time_point) override {}
};

int Main(std::vector<std::string> arguments) {
  BlockStopSignals();
  Settings settings;
  ServerSettings server;
  server.Declare(settings, "127.0.0.1:0", "127.0.0.1:0");
  std::string data;
  settings.Add("toy.data", &data, "", "A folder");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  if (const auto status =
          ParseCommandLine(static_cast<int>(arguments.size()), argv.data(), "sluice-toy", "A toy",
                           settings, {{"--data", "toy.data"}})) {
    return *status;
  }
  Idle idle;
  return Run("sluice-toy", server, std::make_shared<prometheus::Registry>(), {&idle});
}

class Program {
 public:
  explicit Program(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "sluice-toy");
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    pid_ = fork();
    if (pid_ == 0) {
      // Its standard output and error are one.
      dup2(ends[1], STDOUT_FILENO);
      dup2(ends[1], STDERR_FILENO);
      close(ends[0]);
      close(ends[1]);
      std::exit(Main(std::move(arguments)));
    }
    close(ends[1]);
    output_ = fdopen(ends[0], "r");
  }
  ~Program() {
    if (!ended_) {
      Signal(SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    fclose(output_);
  }

  void Signal(int signal) { kill(pid_, signal); }
  std::string ReadLine() {
    char line[1000] = "";
    return fgets(line, sizeof(line), output_) == nullptr ? "" : line;
  }
  // "" if it ended without one.
  std::string ReadReadyLine() {
    std::string line;
    do {
      line = ReadLine();
    } while (!line.empty() && !line.starts_with("ready grpc="));
    return line;
  }
  std::string ReadAll() {
    std::string all;
    for (std::string line; !(line = ReadLine()).empty();) all += line;
    return all;
  }
  int ExitStatus() {
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    ended_ = true;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_;
  bool ended_ = false;
  FILE* output_;
};

TEST(ProgramTest, ItSaysWhereItServesAndEndsWellOnEitherSignal) {
  for (const int signal : {SIGTERM, SIGINT}) {
    Program program({});
    EXPECT_THAT(program.ReadReadyLine(),
                MatchesRegex("ready grpc=127.0.0.1:[1-9][0-9]* http=127.0.0.1:[1-9][0-9]*\n"));
    program.Signal(signal);
    EXPECT_THAT(program.ReadAll(), HasSubstr("stopped"));
    EXPECT_EQ(program.ExitStatus(), 0);
  }
}

TEST(ProgramTest, ItFailsWithAMessageIfItCannotListen) {
  Program first({});
  const std::string line = first.ReadReadyLine();
  const std::string address = line.substr(11, line.find(' ', 11) - 11);
  setenv("SLUICE_SERVER_GRPC_ADDRESS", address.c_str(), 1);
  Program second({});
  EXPECT_THAT(second.ReadAll(),
              HasSubstr("sluice-toy: cannot listen on " + address + ": Address already in use\n"));
  EXPECT_EQ(second.ExitStatus(), 1);
}

TEST(ProgramTest, PrintConfigShowsWhatFlagsAndVariablesSet) {
  setenv("SLUICE_SERVER_LOG_LEVEL", "error", 1);
  Program program({"--data", "/srv/toy", "--print-config"});
  const std::string printed = program.ReadAll();
  EXPECT_THAT(printed, HasSubstr("log_level: \"error\"\n"));
  EXPECT_THAT(printed, HasSubstr("toy:\n  # A folder\n  data: \"/srv/toy\"\n"));
  EXPECT_EQ(program.ExitStatus(), 0);
}

TEST(ProgramTest, AnUnknownOptionEndsItWithTwo) {
  Program program({"--nonsense"});
  EXPECT_THAT(program.ReadAll(), MatchesRegex("sluice-toy: .*--nonsense.*\n"));
  EXPECT_EQ(program.ExitStatus(), 2);
}

TEST(ProgramTest, ABadConfigurationEndsItWithTwo) {
  Program program({"--config", "/nowhere.yaml"});
  EXPECT_EQ(program.ReadAll(), "sluice-toy: /nowhere.yaml: cannot be read\n");
  EXPECT_EQ(program.ExitStatus(), 2);
}

TEST(ProgramTest, VersionAndHelpEndItWell) {
  Program version({"--version"});
  EXPECT_EQ(version.ReadAll(), "sluice-toy " + std::string(Version()) + "\n");
  EXPECT_EQ(version.ExitStatus(), 0);
  Program help({"--help"});
  EXPECT_THAT(help.ReadAll(), HasSubstr("--print-config"));
  EXPECT_EQ(help.ExitStatus(), 0);
}

}  // namespace
}  // namespace sluice::server

// A program of ours as a child process: started, waited for until it serves, stopped or killed by
// its own process id, started again on the same data. Used by one thread at a time.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace sluice::testing {

// The path of one of our programs: <build>/bin/NAME, found beside the running program.
std::filesystem::path BinaryPath(const std::string& name);

struct ProcessOptions {
  std::filesystem::path program;
  std::vector<std::string> arguments;
  // Added to this process's own environment. Variables named SLUICE_* are not inherited.
  std::map<std::string, std::string> environment;
  // Start fails if the program has not said that it is ready by then.
  std::chrono::milliseconds ready_within{30'000};
};

class Process {
 public:
  // Starts the program and waits for its line "ready grpc=ADDRESS http=ADDRESS". If it ends before,
  // the error has its exit status and what it wrote to standard error.
  static absl::StatusOr<std::unique_ptr<Process>> Start(ProcessOptions options);
  // Kills the program if it still runs.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  // As the program printed them.
  const std::string& grpc_address() const { return grpc_address_; }
  const std::string& http_address() const { return http_address_; }

  // Sends a signal: SIGTERM, SIGKILL, SIGSTOP, SIGCONT.
  void Signal(int signal);
  // Waits for the end. 0..255: exit status; 128 + n: ended by signal n; nullopt: still running
  // after `within`.
  std::optional<int> Wait(std::chrono::milliseconds within = std::chrono::milliseconds(60'000));
  // SIGKILL, and waits.
  void Kill();
  // SIGTERM, and waits.
  std::optional<int> Stop(std::chrono::milliseconds within = std::chrono::milliseconds(60'000));
  // What the program wrote to standard error so far.
  std::string ErrorOutput() const;

 private:
  Process() = default;
  absl::Status AwaitReady(std::chrono::milliseconds within);

  pid_t pid_ = -1;
  std::optional<int> exit_status_;
  int stdout_fd_ = -1;
  std::filesystem::path error_file_;
  std::string grpc_address_;
  std::string http_address_;
};

// Runs a program to its end and returns its exit status and output.
struct Finished {
  int exit_status = -1;
  std::string output;
  std::string error_output;
};
absl::StatusOr<Finished> RunToEnd(
    const ProcessOptions& options, const std::string& input = "",
    std::chrono::milliseconds within = std::chrono::milliseconds(60'000));

}  // namespace sluice::testing

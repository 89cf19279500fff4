// The services as processes of their own: a log, and any number of compactors and frontends, on
// one new data folder. Addresses stay the same when a process is started again. Different processes
// may be restarted by different threads.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace sluice::testing {

class Cluster {
 public:
  struct Size {
    size_t compactors = 1;
    size_t frontends = 1;
  };

  // `settings`: as variables; SLUICE_LOG_..., SLUICE_COMPACTOR_..., SLUICE_FRONTEND_... go to the
  // processes of that kind, SLUICE_SERVER_... to all. `configurations`: for what is no variable, by
  // kind (log, compactor, frontend) the text of a configuration file. The data folder is made in
  // `parent`.
  static absl::StatusOr<std::unique_ptr<Cluster>> Start(
      Size size, std::map<std::string, std::string> settings,
      const std::map<std::string, std::string>& configurations = {},
      const std::filesystem::path& parent = std::filesystem::temp_directory_path());

  // Processes by number: the log, then the compactors, then the frontends.
  size_t log() const { return 0; }
  size_t compactor(size_t i) const { return 1 + i; }
  size_t frontend(size_t i) const { return 1 + size_.compactors + i; }
  size_t processes() const { return processes_.size(); }
  const std::string& address(size_t process) const { return processes_[process].address; }
  // Of /metrics; another one after each start.
  const std::string& http_address(size_t process) const {
    return processes_[process].process->http_address();
  }
  std::string name(size_t process) const {
    return processes_[process].options.program.filename().string() + "@" + address(process);
  }

  // SIGSTOP or SIGCONT: a process that hangs for a while.
  void Signal(size_t process, int signal) { processes_[process].process->Signal(signal); }
  // Ends a process and starts it again. By SIGKILL, or by SIGTERM, after which it must exit with 0
  // in time.
  absl::Status Restart(size_t process, int signal);
  // Ends a process by SIGKILL; Restart starts it again.
  void Kill(size_t process) { processes_[process].process->Kill(); }
  // A setting of the process, as a variable, from its next start on.
  void Set(size_t process, const std::string& variable, const std::string& value) {
    processes_[process].options.environment[variable] = value;
  }
  // The folder of objects.
  std::filesystem::path objects() const { return data_.path() / "objects"; }
  // What the processes wrote to standard error since they were started last: the ends of it, for
  // messages.
  std::string ErrorOutput() const;
  // Ends all, by SIGTERM; each must exit with 0.
  absl::Status Stop();

 private:
  struct Member {
    ProcessOptions options;
    std::unique_ptr<Process> process;
    std::string address;
  };

  Cluster(Size size, const std::filesystem::path& parent) : size_(size), data_(parent) {}
  absl::Status Add(const std::string& program, std::map<std::string, std::string> environment,
                   std::vector<std::string> arguments);
  static absl::Status StopMember(Member& member);

  const Size size_;
  // Before the processes that use it, so that it goes after them.
  TempFolder data_;
  std::vector<Member> processes_;
};

}  // namespace sluice::testing

#include "tests/support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "common/base/ids.h"

extern char** environ;

namespace sluice::testing {
namespace {

using Clock = std::chrono::steady_clock;

int MillisLeft(Clock::time_point deadline) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return left > 0 ? static_cast<int>(left) : 0;
}

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::filesystem::path NewScratchFile(const char* kind) {
  return std::filesystem::temp_directory_path() /
         absl::StrCat("sluice-", kind, "-", Uuid::Random().ToString());
}

std::vector<std::string> EnvironmentOf(const ProcessOptions& options) {
  std::vector<std::string> variables;
  for (char** v = environ; *v; ++v) {
    if (std::strncmp(*v, "SLUICE_", 7) != 0) variables.emplace_back(*v);
  }
  for (const auto& [name, value] : options.environment)
    variables.push_back(absl::StrCat(name, "=", value));
  return variables;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Spawns with the given files as standard input, output and error.
absl::StatusOr<pid_t> Spawn(const ProcessOptions& options, int in, int out, int err) {
  std::vector<std::string> arguments = options.arguments;
  arguments.insert(arguments.begin(), options.program.string());
  std::vector<std::string> environment = EnvironmentOf(options);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, in, 0);
  posix_spawn_file_actions_adddup2(&files, out, 1);
  posix_spawn_file_actions_adddup2(&files, err, 2);
  // The program blocks the signals it waits for by itself; it must not inherit a blocked set from
  // us.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, options.program.c_str(), &files, &attributes,
                                Pointers(arguments).data(), Pointers(environment).data());
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return absl::ErrnoToStatus(error, options.program.string());
  return pid;
}

int StatusOf(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

}  // namespace

std::filesystem::path BinaryPath(const std::string& name) {
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe");
  return self.parent_path().parent_path() / "bin" / name;
}

absl::StatusOr<std::unique_ptr<Process>> Process::Start(ProcessOptions options) {
  std::unique_ptr<Process> process(new Process());
  process->error_file_ = NewScratchFile("stderr");
  int out[2];
  if (pipe2(out, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  const int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int err =
      open(process->error_file_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
  const absl::StatusOr<pid_t> pid = Spawn(options, in, out[1], err);
  close(in);
  close(err);
  close(out[1]);
  process->stdout_fd_ = out[0];
  if (!pid.ok()) return pid.status();
  process->pid_ = *pid;
  const absl::Status ready = process->AwaitReady(options.ready_within);
  if (!ready.ok()) return ready;
  return process;
}

absl::Status Process::AwaitReady(std::chrono::milliseconds within) {
  const Clock::time_point deadline = Clock::now() + within;
  std::string text;
  while (text.find('\n') == std::string::npos) {
    pollfd readable{stdout_fd_, POLLIN, 0};
    if (poll(&readable, 1, MillisLeft(deadline)) == 0) {
      return absl::DeadlineExceededError(
          absl::StrCat("not ready in time; standard error:\n", ErrorOutput()));
    }
    char buffer[512];
    const ssize_t n = read(stdout_fd_, buffer, sizeof(buffer));
    if (n <= 0) {
      const std::optional<int> status = Wait();
      return absl::UnavailableError(absl::StrCat("ended with status ", status.value_or(-1),
                                                 " before it was ready; standard error:\n",
                                                 ErrorOutput()));
    }
    text.append(buffer, static_cast<size_t>(n));
  }
  std::istringstream words(text.substr(0, text.find('\n')));
  for (std::string word; words >> word;) {
    if (word.starts_with("grpc=")) grpc_address_ = word.substr(5);
    if (word.starts_with("http=")) http_address_ = word.substr(5);
  }
  return absl::OkStatus();
}

Process::~Process() {
  if (pid_ > 0) Kill();
  if (stdout_fd_ >= 0) close(stdout_fd_);
  std::error_code ignored;
  std::filesystem::remove(error_file_, ignored);
}

void Process::Signal(int signal) {
  if (!exit_status_) kill(pid_, signal);
}

std::optional<int> Process::Wait(std::chrono::milliseconds within) {
  const Clock::time_point deadline = Clock::now() + within;
  // A pidfd becomes readable when the process ends.
  if (exit_status_) return exit_status_;
  const int fd = static_cast<int>(syscall(434 /* pidfd_open */, pid_, 0));
  pollfd ended{fd, POLLIN, 0};
  while (fd >= 0 && poll(&ended, 1, MillisLeft(deadline)) < 0 && errno == EINTR) {
  }
  if (fd >= 0) close(fd);
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) == pid_) exit_status_ = StatusOf(status);
  return exit_status_;
}

void Process::Kill() {
  Signal(SIGKILL);
  Wait();
}

std::optional<int> Process::Stop(std::chrono::milliseconds within) {
  Signal(SIGTERM);
  return Wait(within);
}

std::string Process::ErrorOutput() const { return ReadFile(error_file_); }

absl::StatusOr<Finished> RunToEnd(const ProcessOptions& options, const std::string& input,
                                  std::chrono::milliseconds within) {
  const std::filesystem::path in_path = NewScratchFile("stdin");
  const std::filesystem::path out_path = NewScratchFile("stdout");
  const std::filesystem::path err_path = NewScratchFile("stderr");
  std::ofstream(in_path) << input;
  const int in = open(in_path.c_str(), O_RDONLY | O_CLOEXEC);
  const int out = open(out_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const int err = open(err_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const absl::StatusOr<pid_t> pid = Spawn(options, in, out, err);
  for (const int fd : {in, out, err}) close(fd);
  if (!pid.ok()) return pid.status();

  const int fd = static_cast<int>(syscall(434 /* pidfd_open */, *pid, 0));
  pollfd ended{fd, POLLIN, 0};
  const bool in_time = poll(&ended, 1, static_cast<int>(within.count())) == 1;
  if (!in_time) kill(*pid, SIGKILL);
  close(fd);
  int status = 0;
  waitpid(*pid, &status, 0);
  Finished finished{StatusOf(status), ReadFile(out_path), ReadFile(err_path)};
  std::error_code ignored;
  for (const auto& path : {in_path, out_path, err_path}) std::filesystem::remove(path, ignored);
  if (!in_time) {
    return absl::DeadlineExceededError(absl::StrCat(options.program.string(),
                                                    " did not end in time; standard error:\n",
                                                    finished.error_output));
  }
  return finished;
}

}  // namespace sluice::testing

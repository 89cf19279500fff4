// Verifies a log that runs, by its AdminService; or the folder of one that does not, in a process
// apart, since RocksDB may end the process that reads what is damaged.
#include "services/log/verify.h"

#include <fcntl.h>
#include <grpcpp/client_context.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/coding.h"
#include "common/errors/errors.h"
#include "sluice/v1/admin.grpc.pb.h"
#include "tools/sluicectl/commands.h"
#include "tools/sluicectl/progress.h"
#include "tools/sluicectl/text.h"

extern char** environ;

namespace sluice::ctl {
namespace {

// Runs of the process apart, each of which ended in another step.
constexpr int kMaxRuns = 100;

std::string SeverityText(v1::VerifySeverity severity) {
  switch (severity) {
    case v1::VERIFY_SEVERITY_CONTRADICTION:
      return "contradiction";
    case v1::VERIFY_SEVERITY_NOT_VERIFIED:
      return "not verified";
    default:
      return "damage";
  }
}

Json FindingJson(const v1::VerifyFinding& finding) {
  Json json = {{"severity", SeverityText(finding.severity())}};
  if (!finding.file().empty()) json["file"] = finding.file();
  if (!finding.collection_id().empty()) json["collection_id"] = finding.collection_id();
  if (finding.first_seq_id() != 0) json["first_seq_id"] = finding.first_seq_id();
  if (finding.last_seq_id() != 0) json["last_seq_id"] = finding.last_seq_id();
  json["what"] = finding.what();
  json["advice"] = finding.advice();
  return json;
}

std::string FindingText(const v1::VerifyFinding& finding) {
  std::vector<std::string> where;
  if (!finding.collection_id().empty()) where.push_back("collection " + finding.collection_id());
  if (finding.last_seq_id() != 0) {
    where.push_back(
        absl::StrFormat("SeqIds %d to %d", finding.first_seq_id(), finding.last_seq_id()));
  }
  if (!finding.file().empty()) where.push_back("file " + finding.file());
  std::string text = SeverityText(finding.severity());
  for (const std::string& part : where) absl::StrAppend(&text, ", ", part);
  absl::StrAppend(&text, "\n  ", finding.what(), "\n  what to do: ", finding.advice(), "\n");
  return text;
}

// What one or more runs found, and how far they are. Thread-safe.
class Report {
 public:
  void Add(const v1::VerifyProgress& progress) {
    const std::lock_guard lock(mutex_);
    now_ = progress;
    now_.clear_findings();
    for (const v1::VerifyFinding& finding : progress.findings()) {
      // A run that goes on behind the one before finds some of it again.
      if (known_.insert(finding.SerializeAsString()).second) findings_.push_back(finding);
    }
  }
  void Find(const v1::VerifyFinding& finding) {
    const std::lock_guard lock(mutex_);
    findings_.push_back(finding);
  }
  std::string step() const {
    const std::lock_guard lock(mutex_);
    return now_.step();
  }
  std::string Line(double seconds, size_t width) const {
    const std::lock_guard lock(mutex_);
    const std::string what =
        findings_.empty() ? "verifying" : absl::StrCat(findings_.size(), " FOUND, verifying");
    return BytesLine(what, now_.read_bytes(), now_.total_bytes(), seconds, width);
  }
  // Prints what was found. DATA_LOSS if that is something; else `ended`.
  absl::Status Print(Session& session, const absl::Status& ended) const {
    const std::lock_guard lock(mutex_);
    const uint64_t count = std::max<uint64_t>(findings_.size(), now_.findings_count());
    Json json = Json::array();
    for (const v1::VerifyFinding& finding : findings_) json.push_back(FindingJson(finding));
    session.Print({{"findings", json},
                   {"findings_count", count},
                   {"logs", now_.logs()},
                   {"records", now_.records()},
                   {"read_bytes", now_.read_bytes()},
                   {"complete", now_.complete()}},
                  [&] {
                    std::string text;
                    for (const v1::VerifyFinding& finding : findings_) text += FindingText(finding);
                    absl::StrAppend(
                        &text, now_.complete() ? "" : "not all was read: ", Grouped(now_.logs()),
                        " logs, ", Grouped(now_.records()), " records, ", Bytes(now_.read_bytes()),
                        " read; ",
                        count == 0 ? "nothing is damaged" : absl::StrCat(count, " found"), "\n");
                    return text;
                  });
    if (!ended.ok()) return ended;
    if (count == 0) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("the verification found ", count));
  }

 private:
  mutable std::mutex mutex_;
  v1::VerifyProgress now_;
  std::vector<v1::VerifyFinding> findings_;
  std::set<std::string> known_;
};

absl::Status VerifyServer(Session& session, uint64_t rate, Report& report) {
  grpc::ClientContext context;
  session.SetDeadline(context);
  v1::VerifyRequest request;
  request.set_max_bytes_per_second(rate);
  const auto admin = v1::AdminService::NewStub(session.log_channel());
  const auto stream = admin->Verify(&context, request);
  v1::VerifyProgress message;
  while (stream->Read(&message)) report.Add(message);
  return FromGrpc(stream->Finish(), context);
}

// The process apart writes to its standard output: u32 length and bytes of each VerifyProgress; at
// its end, where it could not read at all, length 0, u32 code and the words.
absl::Status VerifyApart(const VerifyArguments& arguments) {
  const auto write = [](std::string_view bytes) {
    // Without the other process there is nobody to verify for.
    if (::write(STDOUT_FILENO, bytes.data(), bytes.size()) < 0) std::exit(1);
  };
  log::VerifyOptions options;
  options.bytes_per_second = arguments.rate;
  options.after_step = arguments.after_step;
  options.report_steps = true;
  options.report = [&](const v1::VerifyProgress& progress) {
    std::string frame;
    const std::string bytes = progress.SerializeAsString();
    PutFixed<uint32_t>(&frame, static_cast<uint32_t>(bytes.size()));
    write(frame + bytes);
  };
  log::VerifyWork work(options);
  const absl::Status verified = log::VerifyFolder(arguments.data, work);
  if (verified.ok()) {
    work.Complete();
    return absl::OkStatus();
  }
  std::string frame;
  PutFixed<uint32_t>(&frame, 0);
  PutFixed<uint32_t>(&frame, static_cast<uint32_t>(verified.code()));
  write(frame + std::string(verified.message()));
  return absl::OkStatus();
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { Close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  void Close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
};

// Up to `n` bytes; fewer at the end.
std::string ReadUpTo(int fd, size_t n) {
  std::string bytes(n, '\0');
  size_t done = 0;
  while (done < n) {
    const ssize_t got = ::read(fd, bytes.data() + done, n - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

struct Ended {
  // What the process could not do.
  absl::Status error;
  // The signal that ended it; 0: none did.
  int signal = 0;
  // What it wrote last to standard error.
  std::string words;
};

// Runs this program again, to read the folder, and reports what it says.
absl::StatusOr<Ended> RunApart(const VerifyArguments& arguments, const std::string& after_step,
                               Report& report) {
  std::vector<std::string> words = {"sluicectl",
                                    "verify",
                                    "--apart",
                                    "--data",
                                    arguments.data,
                                    "--rate",
                                    absl::StrCat(arguments.rate),
                                    "--after-step",
                                    after_step};
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::array<int, 2> out{};
  std::array<int, 2> err{};
  if (::pipe2(out.data(), O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  const Descriptor from_out(out[0]);
  Descriptor to_out(out[1]);
  if (::pipe2(err.data(), O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  const Descriptor from_err(err[0]);
  Descriptor to_err(err[1]);
  // What it says beyond what the pipe holds is of no interest, and must not hold it up.
  ::fcntl(to_err.get(), F_SETFL, O_NONBLOCK);

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, to_out.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, to_err.get(), STDERR_FILENO);
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, "/proc/self/exe", &files, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  if (error != 0) return absl::ErrnoToStatus(error, "posix_spawn");
  to_out.Close();
  to_err.Close();

  Ended ended;
  for (;;) {
    const std::string header = ReadUpTo(from_out.get(), sizeof(uint32_t));
    if (header.size() < sizeof(uint32_t)) break;
    const auto length = GetFixed<uint32_t>(header.data());
    if (length == 0) {
      const std::string code = ReadUpTo(from_out.get(), sizeof(uint32_t));
      if (code.size() < sizeof(uint32_t)) break;
      const std::string message = ReadUpTo(from_out.get(), 1 << 16);
      ended.error =
          absl::Status(static_cast<absl::StatusCode>(GetFixed<uint32_t>(code.data())), message);
      break;
    }
    v1::VerifyProgress progress;
    if (!progress.ParseFromString(ReadUpTo(from_out.get(), length))) break;
    report.Add(progress);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  std::string said = ReadUpTo(from_err.get(), 1 << 16);
  absl::StripAsciiWhitespace(&said);
  ended.words = said.substr(said.rfind('\n') + 1);
  if (WIFSIGNALED(status)) ended.signal = WTERMSIG(status);
  if (WIFEXITED(status) && WEXITSTATUS(status) != 0 && ended.error.ok()) {
    ended.error = absl::InternalError(absl::StrCat("the process that reads the folder exited with ",
                                                   WEXITSTATUS(status), ": ", ended.words));
  }
  return ended;
}

absl::Status VerifyFolder(const VerifyArguments& arguments, Report& report) {
  std::string after_step;
  for (int run = 0; run < kMaxRuns; ++run) {
    SLUICE_ASSIGN_OR_RETURN(const Ended ended, RunApart(arguments, after_step, report));
    if (ended.signal == 0) return ended.error;
    const std::string step = report.step();
    if (ended.signal == SIGINT || ended.signal == SIGTERM || ended.signal == SIGKILL) {
      return absl::CancelledError(
          absl::StrCat("the process that reads the folder was ended: ", ::strsignal(ended.signal)));
    }
    v1::VerifyFinding finding = log::DamageOf(
        absl::DataLossError(absl::StrCat("RocksDB ended the process that read it (",
                                         ::strsignal(ended.signal), "): ", ended.words)),
        log::kRestoreAdvice);
    if (Uuid::Parse(step).ok()) {
      finding.set_collection_id(step);
    } else {
      finding.set_file(step);
    }
    report.Find(finding);
    if (step == after_step) break;
    after_step = step;
  }
  report.Find(log::NotVerified(absl::StrCat("what comes after ", after_step, " was not read"),
                               log::kRestoreAdvice));
  return absl::OkStatus();
}

}  // namespace

absl::Status Verify(Session& session, const VerifyArguments& arguments) {
  if (arguments.apart) return VerifyApart(arguments);
  Report report;
  absl::Status verified;
  {
    const Progress bar([&](double seconds, size_t width) { return report.Line(seconds, width); });
    verified = arguments.data.empty() ? VerifyServer(session, arguments.rate, report)
                                      : VerifyFolder(arguments, report);
  }
  return report.Print(session, verified);
}

}  // namespace sluice::ctl

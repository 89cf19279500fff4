#include "tests/support/cluster.h"

#include <signal.h>

#include <fstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"

namespace sluice::testing {

absl::StatusOr<std::unique_ptr<Cluster>> Cluster::Start(
    Size size, std::map<std::string, std::string> settings,
    const std::map<std::string, std::string>& configurations, const std::filesystem::path& parent) {
  auto cluster = std::unique_ptr<Cluster>(new Cluster(size, parent));
  settings["SLUICE_SERVER_GRPC_ADDRESS"] = "127.0.0.1:0";
  settings["SLUICE_SERVER_HTTP_ADDRESS"] = "127.0.0.1:0";
  const auto start = [&](const std::string& kind, std::map<std::string, std::string> own) {
    const std::string prefix = absl::StrCat("SLUICE_", absl::AsciiStrToUpper(kind), "_");
    for (const auto& [name, value] : settings) {
      if (name.starts_with(prefix) || name.starts_with("SLUICE_SERVER_")) own[name] = value;
    }
    std::vector<std::string> arguments;
    if (const auto it = configurations.find(kind); it != configurations.end()) {
      const auto file = cluster->data_.path() / (kind + ".yaml");
      std::ofstream(file) << it->second;
      arguments = {"--config", file};
    }
    return cluster->Add("sluice-" + kind, std::move(own), std::move(arguments));
  };
  const std::string data = cluster->data_.path() / "log";
  const std::string objects = cluster->data_.path() / "objects";
  SLUICE_RETURN_IF_ERROR(start("log", {{"SLUICE_LOG_DATA", data}}));
  const std::string log = cluster->address(cluster->log());
  for (size_t i = 0; i < size.compactors; ++i) {
    const std::string vectors = cluster->data_.path() / absl::StrCat("vectors-", i);
    SLUICE_RETURN_IF_ERROR(start("compactor", {{"SLUICE_COMPACTOR_LOG_ADDRESS", log},
                                               {"SLUICE_COMPACTOR_OBJECTS", objects},
                                               {"SLUICE_COMPACTOR_VECTOR_CACHE", vectors}}));
  }
  for (size_t i = 0; i < size.frontends; ++i) {
    SLUICE_RETURN_IF_ERROR(start(
        "frontend", {{"SLUICE_FRONTEND_LOG_ADDRESS", log}, {"SLUICE_FRONTEND_OBJECTS", objects}}));
  }
  return cluster;
}

absl::Status Cluster::Add(const std::string& program,
                          std::map<std::string, std::string> environment,
                          std::vector<std::string> arguments) {
  Member member;
  member.options.arguments = std::move(arguments);
  member.options.program = BinaryPath(program);
  member.options.environment = std::move(environment);
  SLUICE_ASSIGN_OR_RETURN(member.process, Process::Start(member.options));
  member.address = member.process->grpc_address();
  // The next one takes the port that the kernel picked for the first.
  member.options.environment["SLUICE_SERVER_GRPC_ADDRESS"] = member.address;
  processes_.push_back(std::move(member));
  return absl::OkStatus();
}

absl::Status Cluster::Restart(size_t process, int signal) {
  Member& member = processes_[process];
  if (signal == SIGTERM) {
    SLUICE_RETURN_IF_ERROR(StopMember(member));
  } else {
    member.process->Kill();
  }
  // Ended before the next begins, whatever it returns.
  member.process.reset();
  SLUICE_ASSIGN_OR_RETURN(member.process, Process::Start(member.options));
  return absl::OkStatus();
}

std::string Cluster::ErrorOutput() const {
  constexpr size_t kMostBytes = 4096;
  std::string all;
  for (size_t i = 0; i < processes(); ++i) {
    const std::string output =
        processes_[i].process ? processes_[i].process->ErrorOutput() : "(not running)";
    const size_t skipped = output.size() > kMostBytes ? output.size() - kMostBytes : 0;
    absl::StrAppend(&all, "--- ", name(i), "\n", output.substr(skipped), "\n");
  }
  return all;
}

absl::Status Cluster::Stop() {
  // The log last: the others need it to end in order.
  for (auto member = processes_.rbegin(); member != processes_.rend(); ++member) {
    SLUICE_RETURN_IF_ERROR(StopMember(*member));
  }
  return absl::OkStatus();
}

absl::Status Cluster::StopMember(Member& member) {
  const std::optional<int> status = member.process->Stop();
  if (status == 0) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat(member.options.program.string(),
                   status ? absl::StrCat(" exited with ", *status) : " did not stop",
                   " after SIGTERM\n", member.process->ErrorOutput()));
}

}  // namespace sluice::testing

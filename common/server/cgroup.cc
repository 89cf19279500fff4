#include "common/server/cgroup.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace sluice::server {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

// The number that is a file's first word; nullopt for "max", -1 and files that are not there.
std::optional<uint64_t> FirstNumber(const std::string& path) {
  uint64_t number = 0;
  std::istringstream words(ReadFile(path));
  std::string word;
  if (!(words >> word) || !absl::SimpleAtoi(word, &number)) return std::nullopt;
  return number;
}

// Where this process stands in the hierarchy of `controller` ("" for v2), as in
// `4:cpu,cpuacct:/a/b`; "/" if unknown.
std::string GroupOf(const std::string& proc_cgroup, std::string_view controller) {
  for (const absl::string_view line : absl::StrSplit(proc_cgroup, '\n')) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    const std::vector<std::string> controllers = absl::StrSplit(parts[1], ',');
    if (std::find(controllers.begin(), controllers.end(), controller) != controllers.end())
      return parts[2];
  }
  return "/";
}

// The folders of a group and of all above it: each may set a limit. Within a container the group's
// own path may not be visible, but the mount's root, which is always the last, then is the group.
std::vector<std::string> GroupAndAncestors(const std::string& mount, std::string group) {
  std::vector<std::string> folders;
  for (; group.size() > 1; group.resize(group.rfind('/'))) folders.push_back(mount + group);
  folders.push_back(mount);
  return folders;
}

uint64_t PhysicalMemory(const std::string& root) {
  std::istringstream meminfo(ReadFile(root + "/proc/meminfo"));
  std::string key;
  uint64_t kib = 0;
  meminfo >> key >> kib;  // the first line is "MemTotal:  N kB"
  return kib > 0 ? kib * 1024 : std::numeric_limits<uint64_t>::max();
}

uint32_t Processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return static_cast<uint32_t>(CPU_COUNT(&set));
  return std::max(1U, std::thread::hardware_concurrency());
}

}  // namespace

Allowance ProcessAllowance(const std::string& root) {
  const std::string groups = ReadFile(root + "/proc/self/cgroup");
  const std::string mount = root + "/sys/fs/cgroup";
  Allowance allowance{PhysicalMemory(root), Processors()};

  const auto limit_memory = [&](const std::string& path) {
    if (const auto bytes = FirstNumber(path))
      allowance.memory_bytes = std::min(allowance.memory_bytes, *bytes);
  };
  const auto limit_cpus = [&](std::optional<uint64_t> quota, std::optional<uint64_t> period) {
    if (!quota || !period || *period == 0) return;
    const double cpus = std::ceil(static_cast<double>(*quota) / static_cast<double>(*period));
    if (cpus < allowance.cpus) allowance.cpus = std::max(1U, static_cast<uint32_t>(cpus));
  };

  for (const std::string& folder : GroupAndAncestors(mount, GroupOf(groups, ""))) {  // v2
    limit_memory(folder + "/memory.max");
    std::istringstream cpu_max(ReadFile(folder + "/cpu.max"));  // "max 100000" or "150000 100000"
    uint64_t quota = 0;
    uint64_t period = 0;
    if (cpu_max >> quota >> period) limit_cpus(quota, period);
  }
  for (const std::string& folder :
       GroupAndAncestors(mount + "/memory", GroupOf(groups, "memory"))) {
    limit_memory(folder + "/memory.limit_in_bytes");
  }
  for (const std::string& folder : GroupAndAncestors(mount + "/cpu", GroupOf(groups, "cpu"))) {
    limit_cpus(FirstNumber(folder + "/cpu.cfs_quota_us"),
               FirstNumber(folder + "/cpu.cfs_period_us"));
  }
  return allowance;
}

}  // namespace sluice::server

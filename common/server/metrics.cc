#include "common/server/metrics.h"

#include <dirent.h>
#include <prometheus/metric_family.h>
#include <re2/re2.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace sluice::server {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily Single(MetricType type, std::string name, std::string help, double value) {
  prometheus::ClientMetric metric;
  (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  return {std::move(name), std::move(help), type, {metric}};
}

double CountOpenFiles() {
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) return 0;
  int entries = 0;
  while (readdir(folder) != nullptr) ++entries;
  closedir(folder);
  return std::max(0, entries - 3);  // ".", ".." and the folder itself
}

// When the machine was started, in seconds since the Unix epoch.
double BootTime() {
  std::ifstream stat("/proc/stat");
  std::string word;
  while (stat >> word) {
    double seconds = 0;
    if (word == "btime" && stat >> seconds) return seconds;
  }
  return 0;
}

// proc(5), /proc/PID/stat: the fields after the command, which is in parentheses and may hold
// anything.
std::vector<std::string> StatFields() {
  std::ifstream file("/proc/self/stat");
  std::stringstream content;
  content << file.rdbuf();
  const std::string text = content.str();
  const size_t end = text.rfind(") ");
  if (end == std::string::npos) return {};
  return absl::StrSplit(text.substr(end + 2), ' ');
}

}  // namespace

prometheus::Histogram::BucketBoundaries LatencyBuckets() {
  return {0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05,
          0.1,     0.2,    0.5,    1,      2,     5,     10,    20,   50,   100};
}

std::vector<std::string> LintMetrics(const prometheus::Registry& registry,
                                     const std::string& service) {
  static const RE2 base_unit(".*(seconds|bytes|[a-z]s)");
  static const RE2 gauge_unit(".*(seconds|bytes|ratio|info|[a-z]s)");
  static const RE2 scaled(
      ".*_(ns|us|ms|micros|millis|minutes|hours|kib|mib|gib|kb|mb|gb|percent)(_.*)?");
  const RE2 shape("sluice_" + service + "(_[a-z0-9]+)+");

  std::vector<std::string> complaints;
  for (const MetricFamily& family : registry.Collect()) {
    const auto complain = [&](std::string_view what) {
      complaints.push_back(
          absl::StrCat(family.name, ": ", absl::string_view(what.data(), what.size())));
    };
    if (!RE2::FullMatch(family.name, shape))
      complain("is not sluice_" + service + "_<what>_<unit> in lower case");
    if (RE2::FullMatch(family.name, scaled))
      complain("is not in a base unit (seconds, bytes, ratio)");
    if (family.help.empty()) complain("has no help");
    const bool total = absl::EndsWith(family.name, "_total");
    switch (family.type) {
      case MetricType::Counter:
        if (!total) complain("is a counter and does not end in _total");
        break;
      case MetricType::Histogram:
        if (!RE2::FullMatch(family.name, base_unit)) complain("is a histogram without a unit");
        break;
      default:
        if (total) complain("ends in _total and is not a counter");
        if (!RE2::FullMatch(family.name, gauge_unit)) complain("is a gauge without a unit");
    }
  }
  return complaints;
}

std::vector<MetricFamily> ProcessMetrics::Collect() const {
  const auto ticks_per_second = static_cast<double>(sysconf(_SC_CLK_TCK));
  const std::vector<std::string> stat = StatFields();
  // Field N of proc(5) is stat[N - 3].
  const auto field = [&](size_t number) {
    return stat.size() > number - 3 ? std::stod(stat[number - 3]) : 0.0;
  };
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  return {
      Single(MetricType::Gauge, "process_resident_memory_bytes", "Resident memory",
             field(24) * static_cast<double>(sysconf(_SC_PAGESIZE))),
      Single(MetricType::Counter, "process_cpu_seconds_total",
             "Processor time spent, user and system", (field(14) + field(15)) / ticks_per_second),
      Single(MetricType::Gauge, "process_start_time_seconds",
             "Start of the process, since the Unix epoch",
             BootTime() + field(22) / ticks_per_second),
      Single(MetricType::Gauge, "process_threads", "Threads", field(20)),
      Single(MetricType::Gauge, "process_open_fds", "Open file descriptors", CountOpenFiles()),
      Single(MetricType::Gauge, "process_max_fds", "Most file descriptors that may be open",
             static_cast<double>(files.rlim_cur)),
  };
}

}  // namespace sluice::server

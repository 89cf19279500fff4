// sluice-bench: ratios of Sluice's hot paths to the machine's own ceilings, measured in the same
// run. README.md says what each group does.
#include <signal.h>
#include <sys/prctl.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "common/errors/errors.h"
#include "nlohmann/json.hpp"
#include "tools/bench/ceilings.h"
#include "tools/bench/group.h"
#include "tools/bench/query_echo.h"
#include "tools/bench/stream_ceiling.h"

namespace {

using sluice::bench::BenchOptions;
using sluice::bench::Figures;

struct Group {
  const char* name;
  absl::StatusOr<Figures> (*run)(const BenchOptions&);
};
constexpr Group kGroups[] = {
    {"push", sluice::bench::BenchPush},         {"catchup", sluice::bench::BenchCatchup},
    {"delivery", sluice::bench::BenchDelivery}, {"many", sluice::bench::BenchMany},
    {"storm", sluice::bench::BenchStorm},       {"cold", sluice::bench::BenchCold},
    {"replay", sluice::bench::BenchReplay},     {"soak", sluice::bench::BenchSoak},
    {"compact", sluice::bench::BenchCompact},
};
// They take many minutes: only where they are asked for.
constexpr std::string_view kNotInAll[] = {"soak", "compact"};

struct Goal {
  const char* key;
  const char* work;
  // What is measured is to be at least, or at most, this.
  bool at_least;
  double value;

  bool Met(double measured) const { return at_least ? measured >= value : measured <= value; }
};
constexpr bool kAtLeast = true;
constexpr bool kAtMost = false;
constexpr Goal kGoals[] = {
    {"push_batch100_over_echo", "durable push, 100 records, 16 in flight: bytes/s over echo's",
     kAtLeast, 0.5},
    {"push_batch100_over_file", "the same over a bare write + fdatasync loop", kAtLeast, 0.55},
    {"push_single_over_echo", "durable push, 1 record, 512 in flight: pushes/s over echo's",
     kAtLeast, 1},
    {"push_alone_excess_fdatasync",
     "durable push, 1 in flight: (p50 - echo's p50) / fdatasync's p50", kAtMost, 1.5},
    {"catchup_over_stream", "Subscribe from disk: bytes/s over a stream from memory", kAtLeast,
     0.7},
    {"delivery_p99_over_echo_p50",
     "2,000 pushes/s, open loop: p99 of (delivery - acknowledgement) over echo's p50", kAtMost, 3},
    {"many_collections_over_one", "100,000 collections round robin: pushes/s over one's", kAtLeast,
     0.8},
    {"storm_p99_over_quiet", "one collection flooded: the others' push p99 over quiet", kAtMost, 2},
    {"cold_start_s", "a million cold collections: start to the first push answered", kAtMost, 10},
    {"cold_bytes_per_collection", "memory for each of them", kAtMost, 400},
    {"find_dirty_ms", "claiming the one that was written", kAtMost, 5},
    {"replay_s", "kill -9 at full rate to the first push answered", kAtMost, 3},
    {"soak_longest_stall_ms", "half the top rate: the slowest push", kAtMost, 500},
    {"soak_disk_over_kept", "disk taken over what is kept, at worst", kAtMost, 2},
    {"compact_over_hnswlib", "100,000 documents, log to segments: time over a bare hnswlib build",
     kAtMost, 1.15},
    {"embedder_busy", "100,000 texts, simulated GPU: share of the time that it is busy", kAtLeast,
     0.95},
    {"many_small_over_one", "1,000 collections of 100 texts: embedded texts/s over one's", kAtLeast,
     0.9},
    {"store_write_amplification",
     "a million records, 1,000 a compaction: bytes put into the store over bytes ingested", kAtMost,
     6},
    {"freshness_p99_s", "500 records/s, 50 collections: acknowledgement to segment", kAtMost, 12},
    {"objects_put_per_1000_records", "the same: objects put into the store", kAtMost, 20},
    {"query_over_hnswlib",
     "100,000 documents, often replaced: a query's p50 over hnswlib's and an echo's", kAtMost, 2},
    {"query_backlog_over_clean", "the same over 10,000 records that are in no segment", kAtMost,
     1.5},
};

// What a record costs as a collection grows.
void PrintGrowth(const Figures& compact) {
  if (!compact.contains("growth")) return;
  std::printf("%-10s %28s %28s\n", "records", "bytes put / record",
              "vectors put into graphs / record");
  for (const Figures& size : compact["growth"]) {
    std::printf("%-10llu %28.0f %28.2f\n",
                static_cast<unsigned long long>(size["records"].get<uint64_t>()),
                size["stored_bytes_per_record"].get<double>(),
                size["graph_insertions_per_record"].get<double>());
  }
}

void PrintTable(const Figures& results) {
  std::printf("%-28s %10s  %-8s %-4s  %s\n", "key", "measured", "goal", "met", "work");
  for (const Goal& goal : kGoals) {
    if (!results.contains(goal.key)) continue;
    const double measured = results[goal.key].get<double>();
    std::printf("%-28s %10.3f  %s %-5g %-4s  %s\n", goal.key, measured,
                goal.at_least ? ">=" : "<=", goal.value, goal.Met(measured) ? "yes" : "no",
                goal.work);
  }
  if (results["raw"].contains("compact")) PrintGrowth(results["raw"]["compact"]);
  if (!results["raw"].contains("push")) return;
  const Figures& rocks = results["raw"]["push"]["rocksdb"];
  std::printf(
      "for information: a bare RocksDB WriteBatch + sync loop, %d values of %d KiB a batch, "
      "writes %.0f MB/s (%s)\n",
      rocks["batch_values"].get<int>(), rocks["value_bytes"].get<int>() >> 10,
      rocks["bytes_per_second"].get<double>() / 1e6, rocks["options"].get<std::string>().c_str());
}

// Runs the groups chosen; their keys in one object, their raw figures under "raw" by group.
absl::StatusOr<Figures> Run(const std::string& chosen, const BenchOptions& options) {
  Figures results;
  for (const Group& group : kGroups) {
    const bool is_in_all = std::ranges::count(kNotInAll, group.name) == 0;
    if (chosen != group.name && (chosen != "all" || !is_in_all)) continue;
    absl::StatusOr<Figures> figures = group.run(options);
    std::error_code ignored;
    std::filesystem::remove_all(options.folder, ignored);
    if (!figures.ok()) return figures.status();
    for (auto& [key, value] : figures->items()) {
      (key == "raw" ? results["raw"][group.name] : results[key]) = value;
    }
  }
  return results;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Prints the ratios of Sluice's hot paths to the machine's own ceilings, measured in the same "
      "run."};
  std::vector<std::string> names = {"all"};
  for (const Group& group : kGroups) names.emplace_back(group.name);
  std::string group = "all";
  std::string json_path;
  BenchOptions options;
  options.folder =
      std::filesystem::temp_directory_path() / ("sluice-bench-" + std::to_string(getpid()));
  bool serve_echo = false;
  std::vector<std::string> serve_stream;
  std::string serve_query_echo;
  app.add_option("group", group, "what to measure; all is everything but soak and compact")
      ->check(CLI::IsMember(names))
      ->capture_default_str();
  app.add_option("--json", json_path, "also write the ratios and the raw figures to this file");
  app.add_option("--folder", options.folder, "where data lies while measuring; removed at the end")
      ->capture_default_str();
  app.add_option("--rounds", options.rounds, "medians are taken over this many")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_option("--size", options.size,
                 "share of the full size of catchup, many, cold, soak and compact; goals are for 1")
      ->check(CLI::Range(0.0001, 1.0))
      ->capture_default_str();
  int soak_seconds = static_cast<int>(options.soak.count());
  app.add_option(
         "--soak-rate", options.soak_rate,
         "pushes a second of soak; 0: half of what the log takes at most, as the goals are for")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--soak-seconds", soak_seconds, "how long soak goes on")
      ->check(CLI::Range(5, 1'000'000))
      ->capture_default_str();
  app.add_option("--part", options.part, "one part of compact")
      ->check(CLI::IsMember({"build", "embed", "growth", "fresh", "query"}));
  app.add_flag("--serve-echo", serve_echo, "be the echo server (used by the bench itself)")
      ->group("");
  app.add_option("--serve-stream", serve_stream,
                 "be the server of a stream from memory (used by the bench itself)")
      ->expected(2)
      ->group("");
  app.add_option("--serve-query-echo", serve_query_echo,
                 "be the server of an answer to queries (used by the bench itself)")
      ->group("");
  CLI11_PARSE(app, argc, argv);
  if (!options.part.empty() && group != "compact") {
    std::fprintf(stderr, "sluice-bench: --part is of the group compact\n");
    return 2;
  }
  if (serve_echo || !serve_stream.empty() || !serve_query_echo.empty()) {
    // Ends with the bench, however that ends.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
  }
  if (serve_echo) return sluice::bench::ServeEcho();
  if (!serve_stream.empty()) return sluice::bench::ServeStream(serve_stream[0], serve_stream[1]);
  if (!serve_query_echo.empty()) return sluice::bench::ServeQueryEcho(serve_query_echo);
  options.soak = std::chrono::seconds(soak_seconds);

  const absl::StatusOr<Figures> results = Run(group, options);
  if (!results.ok()) {
    std::fprintf(stderr, "sluice-bench: %s\n", results.status().ToString().c_str());
    return 1;
  }
  PrintTable(*results);
  if (!json_path.empty()) {
    std::ofstream out(json_path);
    out << results->dump(2) << '\n';
    if (!out.flush()) {
      std::fprintf(stderr, "sluice-bench: cannot write %s\n", json_path.c_str());
      return 1;
    }
  }
  return 0;
}

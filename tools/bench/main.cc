// sluice-bench: ratios of Sluice's hot paths to the machine's own ceilings, measured in the same
// run.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "nlohmann/json.hpp"
#include "tools/bench/ceilings.h"
#include "tools/bench/push.h"

namespace {

struct Goal {
  const char* key;
  const char* work;
  const char* goal;
};

constexpr Goal kGoals[] = {
    {"push_batch100_over_echo", "durable push, 100 records, 16 in flight: bytes/s over echo's",
     ">= 0.50"},
    {"push_batch100_over_file", "the same over a bare write + fdatasync loop", ">= 0.55"},
    {"push_single_over_echo", "durable push, 1 record, 512 in flight: pushes/s over echo's",
     ">= 1.0"},
    {"push_alone_excess_fdatasync",
     "durable push, 1 in flight: (p50 - echo's p50) / fdatasync's p50", "<= 1.5"},
};

void PrintTable(const nlohmann::json& results) {
  std::printf("%-30s %10s  %-9s %s\n", "key", "measured", "goal", "work");
  for (const Goal& g : kGoals) {
    if (results.contains(g.key)) {
      std::printf("%-30s %10.3f  %-9s %s\n", g.key, results[g.key].get<double>(), g.goal, g.work);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Prints the ratios of Sluice's hot paths to the machine's own ceilings, measured in the same "
      "run."};
  std::string group = "push";
  std::string json_path;
  sluice::bench::PushBenchOptions push;
  push.folder =
      std::filesystem::temp_directory_path() / ("sluice-bench-" + std::to_string(getpid()));
  bool serve_echo = false;
  app.add_option("group", group, "what to measure: push")
      ->check(CLI::IsMember({"push"}))
      ->capture_default_str();
  app.add_option("--json", json_path, "also write the ratios and the raw figures to this file");
  app.add_option("--folder", push.folder, "where data lies while measuring; removed at the end")
      ->capture_default_str();
  app.add_option("--rounds", push.rounds, "medians are taken over this many")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_flag("--serve-echo", serve_echo, "be the echo server (used by the bench itself)")
      ->group("");
  CLI11_PARSE(app, argc, argv);
  if (serve_echo) return sluice::bench::ServeEcho();

  const absl::StatusOr<nlohmann::json> results = sluice::bench::BenchPush(push);
  std::error_code ignored;
  std::filesystem::remove_all(push.folder, ignored);
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

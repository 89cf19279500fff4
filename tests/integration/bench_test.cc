// sluice-bench's group `compact`, at a hundredth of its size or less: that it comes to an end, and
// has all its keys.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace sluice::testing {
namespace {

TEST(BenchTest, CompactMeasuresEachOfItsKeys) {
  const TempFolder folder;
  const std::filesystem::path json = folder.path() / "figures.json";
  ProcessOptions options;
  options.program = BinaryPath("sluice-bench");
  options.arguments = {"compact", "--size", "0.003", "--folder", folder.path() / "data",
                       "--json",  json};
  const auto finished = RunToEnd(options, "", std::chrono::minutes(5));
  ASSERT_TRUE(finished.ok()) << finished.status();
  ASSERT_EQ(finished->exit_status, 0) << finished->error_output;
  std::ifstream in(json);
  const nlohmann::json figures = nlohmann::json::parse(in);
  for (const char* key :
       {"compact_over_hnswlib", "embedder_busy", "many_small_over_one", "store_write_amplification",
        "freshness_p99_s", "objects_put_per_1000_records", "query_over_hnswlib",
        "query_backlog_over_clean"}) {
    ASSERT_TRUE(figures.contains(key)) << key;
    EXPECT_TRUE(std::isfinite(figures[key].get<double>())) << key;
    EXPECT_GT(figures[key].get<double>(), 0) << key;
    EXPECT_THAT(finished->output, ::testing::HasSubstr(key));
  }
  for (const char* part : {"build", "embed", "growth", "fresh", "query"}) {
    EXPECT_TRUE(figures["raw"]["compact"].contains(part)) << part;
  }
  // What was written was found again.
  EXPECT_GT(figures["raw"]["compact"]["query"]["recall"].get<double>(), 0.9);
}

}  // namespace
}  // namespace sluice::testing

#include "common/server/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/metric_family.h>

#include <chrono>

namespace sluice::server {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

TEST(MetricsTest, GoodNamesPassTheLint) {
  prometheus::Registry registry;
  prometheus::BuildCounter()
      .Name("sluice_log_push_records_total")
      .Help("Records")
      .Register(registry)
      .Add({});
  prometheus::BuildCounter()
      .Name("sluice_log_push_bytes_total")
      .Help("Bytes")
      .Register(registry)
      .Add({});
  prometheus::BuildGauge().Name("sluice_log_lag_seconds").Help("Lag").Register(registry).Add({});
  prometheus::BuildGauge()
      .Name("sluice_log_collections")
      .Help("How many")
      .Register(registry)
      .Add({});
  prometheus::BuildGauge()
      .Name("sluice_log_cache_used_ratio")
      .Help("0 to 1")
      .Register(registry)
      .Add({});
  prometheus::BuildHistogram()
      .Name("sluice_log_sync_seconds")
      .Help("Sync")
      .Register(registry)
      .Add({}, LatencyBuckets());
  prometheus::BuildHistogram()
      .Name("sluice_log_group_records")
      .Help("Size")
      .Register(registry)
      .Add({}, LatencyBuckets());
  EXPECT_THAT(LintMetrics(registry, "log"), ElementsAre());
}

TEST(MetricsTest, EachKindOfBadNameIsComplainedOf) {
  prometheus::Registry registry;
  prometheus::BuildCounter().Name("sluice_log_pushes").Help("x").Register(registry).Add({});
  prometheus::BuildGauge().Name("sluice_log_lag_ms").Help("x").Register(registry).Add({});
  prometheus::BuildGauge().Name("sluice_log_open_total").Help("x").Register(registry).Add({});
  prometheus::BuildGauge().Name("sluice_log_depth").Help("x").Register(registry).Add({});
  prometheus::BuildGauge().Name("sluice_frontend_reads").Help("x").Register(registry).Add({});
  prometheus::BuildGauge().Name("sluice_log_rows").Help("").Register(registry).Add({});
  prometheus::BuildHistogram()
      .Name("sluice_log_sync")
      .Help("x")
      .Register(registry)
      .Add({}, LatencyBuckets());
  EXPECT_THAT(
      LintMetrics(registry, "log"),
      UnorderedElementsAre("sluice_log_pushes: is a counter and does not end in _total",
                           "sluice_log_lag_ms: is not in a base unit (seconds, bytes, ratio)",
                           "sluice_log_open_total: ends in _total and is not a counter",
                           "sluice_log_open_total: is a gauge without a unit",
                           "sluice_log_depth: is a gauge without a unit",
                           "sluice_frontend_reads: is not sluice_log_<what>_<unit> in lower case",
                           "sluice_log_rows: has no help",
                           "sluice_log_sync: is a histogram without a unit"));
}

TEST(MetricsTest, LatencyBucketsRise) {
  const auto buckets = LatencyBuckets();
  EXPECT_TRUE(std::is_sorted(buckets.begin(), buckets.end()));
}

TEST(MetricsTest, TheProcessReportsItself) {
  std::map<std::string, double> values;
  for (const auto& family : ProcessMetrics().Collect()) {
    values[family.name] = family.metric.at(0).gauge.value + family.metric.at(0).counter.value;
  }
  const double now =
      static_cast<double>(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now()));
  EXPECT_NEAR(values["process_start_time_seconds"], now, 60);
  EXPECT_GT(values["process_resident_memory_bytes"], 1 << 20);
  EXPECT_GE(values["process_cpu_seconds_total"], 0);
  EXPECT_GE(values["process_open_fds"], 3);
  EXPECT_GT(values["process_max_fds"], values["process_open_fds"]);
  EXPECT_GE(values["process_threads"], 1);
}

}  // namespace
}  // namespace sluice::server

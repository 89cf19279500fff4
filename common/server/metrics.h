// What the services' metrics share: bucket bounds, the process's own figures, and the naming rules
// as a check for tests. Metrics are made with prometheus-cpp's builders on the process's registry,
// each declared once with its help.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <string>
#include <vector>

namespace sluice::server {

// Bounds for every latency histogram, in seconds: 1-2-5 steps from 50 µs to 100 s.
prometheus::Histogram::BucketBoundaries LatencyBuckets();

// What is wrong with the names and helps of a registry's families; empty if all is well. Families
// without a metric are not seen.
//   sluice_<service>_<what>_<unit>, lower case; counters end in _total; histograms in _seconds,
//   _bytes or a plural (what is counted: _records); gauges in _seconds, _bytes, _ratio, _info or a
//   plural. Base units only: no _ms, no _mib. Every family has a help.
std::vector<std::string> LintMetrics(const prometheus::Registry& registry,
                                     const std::string& service);

// process_resident_memory_bytes, process_cpu_seconds_total, process_start_time_seconds,
// process_open_fds, process_max_fds, process_threads: the names that every Prometheus client uses.
// Read from /proc at each scrape. Thread-safe.
class ProcessMetrics : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override;
};

}  // namespace sluice::server

// Indexed collections under measurement: log, compactor and frontend as processes of their own,
// what is pushed, and what becomes of it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "common/client/client.h"
#include "sluice/v1/catalog.pb.h"
#include "sluice/v1/log.pb.h"
#include "tests/support/cluster.h"
#include "tools/bench/group.h"

namespace sluice::bench {

// `settings`: as variables (SLUICE_COMPACTOR_...), beside the defaults; `configurations`: as
// configuration files, by kind. Objects stay when nothing
// refers to them any more, so that all that was put is there to be counted.
absl::StatusOr<std::unique_ptr<testing::Cluster>> StartIndexed(
    const BenchOptions& options, testing::Cluster::Size size,
    std::map<std::string, std::string> settings = {},
    const std::map<std::string, std::string>& configurations = {});

// Nothing but the compactors' own speed limits what is applied, and they are due at once.
v1::CollectionSettings DueAtOnce();

// A collection with METRIC_L2; with a document's vectors made by `embedder`, if it is not empty.
absl::StatusOr<CollectionId> NewIndexed(testing::Cluster& cluster, uint32_t dimension,
                                        const v1::CollectionSettings& settings,
                                        const std::string& embedder = "");

// Pushes record(first) .. record(first + count - 1), up to `at_once` in one append, many under way,
// in order. How many bytes they have, as encoded.
absl::StatusOr<uint64_t> PushRecords(client::Log& log, const CollectionId& collection,
                                     uint64_t first, uint64_t count, size_t at_once,
                                     absl::FunctionRef<v1::OperationRecord(uint64_t)> record);

// Waits until everything that was pushed is applied; and until there is nothing left to merge
// either. An error if the collection fails, or nothing comes of it for ten minutes.
absl::Status AwaitApplied(client::Log& log, const CollectionId& collection);
absl::StatusOr<v1::DescribeLogResponse> AwaitSettled(client::Log& log,
                                                     const CollectionId& collection);

// All objects that were put.
struct Stored {
  uint64_t objects = 0;
  uint64_t bytes = 0;
};
Stored StoredIn(const std::filesystem::path& folder);

// For figures: what the segments are.
Figures Summary(const v1::DescribeLogResponse& log);

// The value of a sample on /metrics, named as there, labels included; 0 if it is not there.
absl::StatusOr<double> ReadMetric(const std::string& http_address, std::string_view sample);

}  // namespace sluice::bench

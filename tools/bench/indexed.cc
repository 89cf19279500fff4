#include "tools/bench/indexed.h"

#include <civetweb.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/errors/errors.h"
#include "common/segment/merge.h"
#include "common/server/address.h"
#include "tools/bench/log_process.h"

namespace sluice::bench {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// Often enough for works of seconds, and seldom enough not to take the time that is measured.
constexpr auto kLookEvery = 10ms;
constexpr auto kStuck = 10min;

bool IsSettled(const v1::DescribeLogResponse& log) {
  const std::vector<v1::SegmentInfo> segments(log.segments().begin(), log.segments().end());
  return log.applied_seq_id() == log.tail_seq_id() && !PickMerge(segments, log.dimension());
}

absl::StatusOr<v1::DescribeLogResponse> Await(
    client::Log& log, const CollectionId& collection,
    absl::FunctionRef<bool(const v1::DescribeLogResponse&)> holds) {
  Clock::time_point moved = Clock::now();
  uint64_t version = 0;
  for (;;) {
    SLUICE_ASSIGN_OR_RETURN(v1::DescribeLogResponse described, log.Describe(collection));
    if (holds(described)) return described;
    if (described.failures() != 0) {
      return absl::InternalError(absl::StrCat("the collection fails: ", described.last_failure()));
    }
    if (std::exchange(version, described.segments_version()) != described.segments_version()) {
      moved = Clock::now();
    }
    if (Clock::now() - moved > kStuck) {
      return absl::DeadlineExceededError("nothing comes of what was pushed");
    }
    std::this_thread::sleep_for(kLookEvery);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<testing::Cluster>> StartIndexed(
    const BenchOptions& options, testing::Cluster::Size size,
    std::map<std::string, std::string> settings,
    const std::map<std::string, std::string>& configurations) {
  settings.emplace("SLUICE_COMPACTOR_GARBAGE_INTERVAL_MS", "3600000");
  std::filesystem::create_directories(options.folder);
  return testing::Cluster::Start(size, std::move(settings), configurations, options.folder);
}

v1::CollectionSettings DueAtOnce() {
  v1::CollectionSettings settings = WithoutBacklogLimit();
  settings.mutable_compaction()->set_max_bytes(1024);
  settings.mutable_compaction()->set_max_age_ms(10);
  return settings;
}

absl::StatusOr<CollectionId> NewIndexed(testing::Cluster& cluster, uint32_t dimension,
                                        const v1::CollectionSettings& settings,
                                        const std::string& embedder) {
  v1::CreateCollectionRequest request;
  request.set_name(absl::StrCat("bench-", Uuid::Random().ToString()));
  request.mutable_schema()->set_dimension(dimension);
  request.mutable_schema()->set_metric(v1::METRIC_L2);
  request.mutable_schema()->mutable_embedder()->set_kind(embedder);
  *request.mutable_settings() = settings;
  const auto channel = client::Connect(cluster.address(cluster.log()));
  SLUICE_ASSIGN_OR_RETURN(const v1::CreateCollectionResponse created,
                          client::Catalog(channel).Create(request));
  return ParseCollectionId(created.collection().id());
}

absl::StatusOr<uint64_t> PushRecords(client::Log& log, const CollectionId& collection,
                                     uint64_t first, uint64_t count, size_t at_once,
                                     absl::FunctionRef<v1::OperationRecord(uint64_t)> record) {
  const auto stream = log.OpenPushStream(collection);
  uint64_t bytes = 0;
  for (uint64_t next = first; next < first + count;) {
    v1::PushLogsRequest push;
    const uint64_t end = std::min<uint64_t>(first + count, next + at_once);
    for (; next < end; ++next) *push.add_records() = record(next);
    for (const v1::OperationRecord& pushed : push.records()) bytes += pushed.ByteSizeLong();
    SLUICE_RETURN_IF_ERROR(stream->Push(std::move(push), [](const auto&) {}));
  }
  SLUICE_RETURN_IF_ERROR(stream->Flush());
  return bytes;
}

absl::Status AwaitApplied(client::Log& log, const CollectionId& collection) {
  return Await(log, collection,
               [](const v1::DescribeLogResponse& described) {
                 return described.applied_seq_id() == described.tail_seq_id();
               })
      .status();
}

absl::StatusOr<v1::DescribeLogResponse> AwaitSettled(client::Log& log,
                                                     const CollectionId& collection) {
  return Await(log, collection, IsSettled);
}

Stored StoredIn(const std::filesystem::path& folder) {
  Stored stored;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    ++stored.objects;
    stored.bytes += entry.file_size();
  }
  return stored;
}

Figures Summary(const v1::DescribeLogResponse& log) {
  Figures segments = Figures::array();
  for (const v1::SegmentInfo& segment : log.segments()) {
    segments.push_back({{"vectors", segment.vectors()},
                        {"dead_rows", segment.dead_rows()},
                        {"bytes", segment.bytes()},
                        {"graph_considered", segment.graph_considered()}});
  }
  return segments;
}

absl::StatusOr<double> ReadMetric(const std::string& http_address, std::string_view sample) {
  SLUICE_ASSIGN_OR_RETURN(const server::Address address, server::ParseAddress(http_address));
  char error[200] = "";
  mg_connection* const connection =
      mg_download(address.host.c_str(), address.port, 0, error, sizeof(error), "%s",
                  "GET /metrics HTTP/1.0\r\nHost: bench\r\n\r\n");
  if (connection == nullptr) return absl::UnavailableError(error);
  std::string body;
  char buffer[4096];
  for (int n; (n = mg_read(connection, buffer, sizeof(buffer))) > 0;) body.append(buffer, n);
  mg_close_connection(connection);
  const absl::string_view name(sample.data(), sample.size());
  for (const absl::string_view line : absl::StrSplit(body, '\n')) {
    if (!absl::StartsWith(line, name) || line.substr(name.size(), 1) != " ") continue;
    double value = 0;
    if (absl::SimpleAtod(line.substr(name.size() + 1), &value)) return value;
  }
  return 0;
}

}  // namespace sluice::bench

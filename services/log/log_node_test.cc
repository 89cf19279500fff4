// The log node as a component: starting, readiness, draining; and that what is written about its
// settings and metrics is so.
#include <gmock/gmock.h>
#include <rocksdb/env.h>

#include <fstream>
#include <sstream>

#include "common/server/metrics.h"
#include "services/log/full_disk.h"
#include "services/log/service_core.h"
#include "services/log/service_harness.h"
#include "services/log/test_support.h"

namespace sluice::log {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class LogNodeTest : public ServiceTest {};

TEST_F(LogNodeTest, ADataFolderInUseIsRefused) {
  LogNode second(settings_, *std::make_shared<prometheus::Registry>());
  const absl::Status refused = second.Start(nullptr);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.message(), HasSubstr("in use"));
}

TEST_F(LogNodeTest, ItIsReadyOnceItHasStartedAndNotWhileItDrains) {
  EXPECT_TRUE(node_->Ready().ok());
  EXPECT_TRUE(node_->Alive().ok());
  LogNode unstarted(settings_, *std::make_shared<prometheus::Registry>());
  EXPECT_EQ(ReasonOf(unstarted.Ready()), Reason::STARTING);
  node_->BeginDrain();
  EXPECT_EQ(ReasonOf(node_->Ready()), Reason::DRAINING);
}

TEST_F(LogNodeTest, WhileItDrainsWritesAreRefusedAndReadsGoOn) {  // invariant 10
  const std::string id = NewCollection();
  ASSERT_TRUE(Push(id, {UpsertOf("a")}).ok());
  node_->BeginDrain();
  const auto refused = Push(id, {UpsertOf("b")});
  ExpectRefused(refused.status(), Reason::DRAINING);
  EXPECT_EQ(OutcomeOf(refused.status()), Outcome::kNotIn);
  EXPECT_EQ(Describe(id)->tail_seq_id(), 1u);
}

TEST_F(LogNodeTest, ItsMetricsAreNamedByTheRulesAndCount) {
  const std::string id = NewCollection();
  ASSERT_TRUE(Push(id, {UpsertOf("a"), UpsertOf("b")}).ok());
  ASSERT_FALSE(Push(id, {UpsertOf("")}).ok());
  EXPECT_THAT(server::LintMetrics(*registry_, "log"), IsEmpty());
  std::map<std::string, double> counters;
  for (const auto& family : registry_->Collect()) {
    for (const auto& metric : family.metric) counters[family.name] += metric.counter.value;
  }
  EXPECT_EQ(counters["sluice_log_push_records_total"], 2);
  EXPECT_EQ(counters["sluice_log_pushes_total"], 2);
}

TEST_F(LogNodeTest, ItsMetricsShowWhatCompactorsHaveToDo) {
  ASSERT_TRUE(Push(NewCollection(SoonDue), {UpsertOf("a"), UpsertOf("b")}).ok());
  EXPECT_TRUE(Eventually([&] {
    return Gauge("sluice_log_lag_records") == 2 && Gauge("sluice_log_worst_lag_records") == 2;
  }));
}

// A group that is durable and cannot be applied keeps its proposer waiting until the shard stops.
TEST_F(LogNodeTest, ItStopsWhileASequenceOfCommandsWaitsForAStoreThatCannotWrite) {
  const auto disk = std::make_shared<FullDisk>();
  const TemporaryFolder folder;
  ShardOptions options;
  options.folder = folder.path();
  options.store.files = disk;
  options.store.memtable_bytes = 128 << 10;
  LogMetrics metrics(*registry_);
  ServiceCore core(settings_, metrics);
  auto shard = Shard::Open(std::move(options));
  ASSERT_TRUE(shard.ok()) << shard.status();
  core.shard = *std::move(shard);
  const CollectionId collection = NewCollectionId();
  ASSERT_TRUE(core.shard->ProposeAndWait(OpenLogOf(collection)).ok());
  disk->full = true;
  ASSERT_TRUE(core.commands.Run([&] {
    const std::string text(3000, 'x');
    while (core.shard->ProposeAndWait(PushOf(collection, {}, {Record("a", text)})).ok()) {
    }
  }));
  while (core.shard->Writable().ok()) std::this_thread::yield();
  core.Stop(std::chrono::steady_clock::now());
}

TEST(LogSettingsTest, TheReadmeHasTheTableOfSettings) {
  server::Settings declared;
  LogSettings settings;
  settings.Declare(declared);
  std::ifstream file(std::string(SLUICE_SOURCE_DIR) + "/services/log/README.md");
  std::stringstream readme;
  readme << file.rdbuf();
  EXPECT_THAT(readme.str(), HasSubstr(declared.Reference()));
}

}  // namespace
}  // namespace sluice::log

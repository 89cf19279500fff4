// Consumers that share a cursor, while the log is killed, paused and stopped, and trims what they
// have passed: each record is dealt with once, no acknowledged commit is lost, and the cursor never
// goes back.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/mutex.h"
#include "common/client/client.h"
#include "common/errors/errors.h"
#include "tests/support/cluster.h"
#include "tests/support/seed.h"

namespace sluice::testing {
namespace {

constexpr uint64_t kRecords = 4'000;
constexpr int kConsumers = 4;
constexpr const char* kCursor = "shared";
// Of calls with their retries: longer than any disturbance.
constexpr client::Options kPatient{.attempt_deadline = std::chrono::milliseconds(500),
                                   .total_deadline = std::chrono::milliseconds(60'000),
                                   .first_backoff = std::chrono::milliseconds(5),
                                   .most_backoff = std::chrono::milliseconds(50)};

class CursorHistoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto cluster = Cluster::Start(
        {.compactors = 0, .frontends = 0},
        {{"SLUICE_LOG_JOURNAL_FILE_BYTES", "1MiB"}, {"SLUICE_LOG_STORE_MEMTABLE_BYTES", "1MiB"}});
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
    channel_ = client::Connect(cluster_->address(cluster_->log()));
    v1::CreateCollectionRequest request;
    request.set_name("log");
    request.mutable_schema()->set_log_only(true);
    // So little that the log is trimmed up to the cursor all the time.
    request.mutable_settings()->mutable_retention()->set_max_bytes(16 << 10);
    const auto created = client::Catalog(channel_).Create(request);
    ASSERT_TRUE(created.ok()) << created.status();
    collection_ = *ParseCollectionId(created->collection().id());
    // Before anything comes, so that nothing is trimmed that was not dealt with.
    client::Log log(channel_, kPatient);
    const auto made = log.CommitCursor(CommitOf(0, 0));
    ASSERT_TRUE(made.ok()) << made.status();
  }

  v1::CommitCursorRequest CommitOf(uint64_t expected, uint64_t seq_id) const {
    v1::CommitCursorRequest request;
    request.set_collection_id(collection_.ToString());
    request.set_name(kCursor);
    request.set_expected_seq_id(expected);
    request.set_seq_id(seq_id);
    return request;
  }

  void Produce() {
    client::Log log(channel_, kPatient);
    for (uint64_t pushed = 0; pushed < kRecords && !failed_;) {
      v1::PushLogsRequest request;
      request.set_collection_id(collection_.ToString());
      const uint64_t count = std::min<uint64_t>(1 + pushed % 7, kRecords - pushed);
      for (uint64_t i = 0; i < count; ++i) {
        v1::OperationRecord* record = request.add_records();
        record->set_id(absl::StrCat(pushed + i + 1));
        record->set_operation(v1::OPERATION_UPSERT);
        record->set_document(std::string(100, 'x'));
      }
      const auto response = log.Push(request);
      if (!response.ok()) return Fail("push", response.status());
      pushed += count;
    }
  }

  // Reads on from where the cursor is believed to stand, and commits what it read.
  void Consume(uint64_t seed) {
    client::Log log(channel_, kPatient);
    std::mt19937_64 random(seed);
    uint64_t at = 0;
    while (at < kRecords && !failed_) {
      v1::PullLogsRequest pull;
      pull.set_collection_id(collection_.ToString());
      pull.set_start_seq_id(at);
      pull.set_max_records(static_cast<uint32_t>(1 + random() % 20));
      const auto pulled = log.Pull(pull);
      uint64_t read = at;
      if (pulled.ok()) {
        for (const v1::Append& append : pulled->appends()) {
          for (const auto& record : append.records()) {
            if (record.id() != absl::StrCat(++read)) {
              return Fail("pull", absl::DataLossError("another record"));
            }
          }
        }
      } else if (ReasonOf(pulled.status()) != Reason::TRIMMED) {
        return Fail("pull", pulled.status());
      }
      // Trimmed: another consumer has dealt with it, and where the cursor is says so.
      if (read > at) {
        const auto committed = log.CommitCursor(CommitOf(at, read));
        if (committed.ok()) {
          Note(&done_, at, read);
          at = read;
          continue;
        }
        if (ReasonOf(committed.status()) != Reason::CURSOR_MOVED) {
          return Fail("commit", committed.status());
        }
        ++refused_;
        // After an attempt that nobody answered, the refusal may be of the repetition.
        if (OutcomeOf(committed.status()) != Outcome::kNotIn) Note(&unknown_, at, read);
      }
      const auto got = log.GetCursor(collection_, kCursor);
      if (!got.ok()) return Fail("get", got.status());
      at = got->cursor().seq_id();
    }
  }

  // The cursor never goes back, is nowhere before what was acknowledged, and trimming nowhere
  // beyond it.
  void Watch(const std::stop_token& stop) {
    client::Log log(channel_, kPatient);
    uint64_t last = 0;
    while (!stop.stop_requested() && !failed_) {
      const uint64_t acknowledged = acknowledged_;
      const auto got = log.GetCursor(collection_, kCursor);
      if (!got.ok()) return Fail("watch", got.status());
      const uint64_t at = got->cursor().seq_id();
      if (at < last || at < acknowledged || at < got->trim_seq_id()) {
        return Fail("watch", absl::DataLossError(absl::StrCat("the cursor is at ", at, " after ",
                                                              last, ", acknowledged ", acknowledged,
                                                              ", trimmed ", got->trim_seq_id())));
      }
      last = at;
    }
  }

  using Ranges = std::multimap<uint64_t, uint64_t>;  // (first, second]

  void Note(Ranges* ranges, uint64_t from, uint64_t to) {
    const MutexLock lock(mutex_);
    ranges->emplace(from, to);
    if (ranges != &done_) return;
    uint64_t before = acknowledged_;
    while (before < to && !acknowledged_.compare_exchange_weak(before, to)) {
    }
  }

  // Whether commits that may be in lead from one position to another.
  bool UnknownLead(uint64_t from, uint64_t to) const REQUIRES(mutex_) {
    if (from == to) return true;
    const auto [begin, end] = unknown_.equal_range(from);
    return std::any_of(begin, end, [&](const auto& range) REQUIRES(mutex_) {
      return range.second <= to && UnknownLead(range.second, to);
    });
  }

  void Fail(const char* what, const absl::Status& status) {
    failed_ = true;
    ADD_FAILURE() << what << ": " << status;
  }

  std::unique_ptr<Cluster> cluster_;
  std::shared_ptr<grpc::Channel> channel_;
  CollectionId collection_;
  std::atomic<bool> failed_ = false;
  std::atomic<uint64_t> acknowledged_ = 0;
  std::atomic<int> refused_ = 0;
  Mutex mutex_;
  Ranges done_ GUARDED_BY(mutex_);
  Ranges unknown_ GUARDED_BY(mutex_);
};

// Invariants 1, 3, 4 and 10.
TEST_F(CursorHistoryTest, EachRecordIsDealtWithOnceAndTheCursorNeverGoesBack) {
  const uint64_t seed = TestSeed();
  std::mt19937_64 random(seed);
  std::jthread watcher([this](const std::stop_token& stop) { Watch(stop); });
  std::vector<std::jthread> workers;
  workers.emplace_back([this] { Produce(); });
  for (int i = 0; i < kConsumers; ++i) {
    workers.emplace_back([this, i, seed] { Consume(seed + static_cast<uint64_t>(i)); });
  }
  int disturbances = 0;
  for (uint64_t next = 500; next < kRecords; next += 500 + random() % 500) {
    while (acknowledged_ < next && !failed_) std::this_thread::yield();
    if (failed_) break;
    const absl::Status restarted =
        cluster_->Restart(cluster_->log(), disturbances++ % 4 == 3 ? SIGTERM : SIGKILL);
    if (!restarted.ok()) Fail("restart", restarted);
  }
  workers.clear();  // joins
  watcher.request_stop();
  watcher.join();
  ASSERT_FALSE(failed_);

  const MutexLock lock(mutex_);
  std::printf("%d disturbances, %zu commits, %d refused, %zu unknown\n", disturbances, done_.size(),
              refused_.load(), unknown_.size());
  EXPECT_GT(disturbances, 3);
  EXPECT_GT(refused_, 0) << "the consumers never met";
  // Between two acknowledged commits lie at most some whose answers were lost.
  uint64_t at = 0;
  for (const auto& [from, to] : done_) {
    ASSERT_GE(from, at) << "dealt with twice";
    ASSERT_TRUE(UnknownLead(at, from)) << "nobody dealt with what is after " << at;
    at = to;
  }
  EXPECT_TRUE(UnknownLead(at, kRecords));
  EXPECT_EQ(client::Log(channel_, kPatient).GetCursor(collection_, kCursor)->cursor().seq_id(),
            kRecords);
}

}  // namespace
}  // namespace sluice::testing

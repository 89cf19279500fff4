// The log service killed with SIGKILL at random moments under concurrent writers, and restarted;
// stopped with SIGTERM under load.
//
// Replay a failure with SLUICE_TEST_SEED=<the printed seed>; SLUICE_TEST_ROUNDS sets the number of
// kills (default 8).
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <random>
#include <thread>

#include "common/base/clock.h"
#include "common/client/client.h"
#include "common/errors/errors.h"
#include "tests/crash/history.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace sluice::testing {
namespace {

uint64_t NumberFromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

// A log service on a folder of its own, its address known to the writers across restarts.
class LogUnderTest {
 public:
  void Start() {
    auto process = Process::Start({.program = BinaryPath("sluice-log"),
                                   .environment = {{"SLUICE_LOG_DATA", data_.path() / "log"},
                                                   {"SLUICE_SERVER_GRPC_ADDRESS", "127.0.0.1:0"},
                                                   {"SLUICE_SERVER_HTTP_ADDRESS", "127.0.0.1:0"}}});
    ASSERT_TRUE(process.ok()) << process.status();
    MutexLock lock(mutex_);
    process_ = *std::move(process);
    channel_ = client::Connect(process_->grpc_address());
  }
  Process& process() { return *process_; }
  std::shared_ptr<grpc::Channel> channel() const {
    MutexLock lock(mutex_);
    return channel_;
  }

 private:
  TempFolder data_;
  mutable Mutex mutex_;
  std::unique_ptr<Process> process_;
  std::shared_ptr<grpc::Channel> channel_ GUARDED_BY(mutex_);
};

std::string CreateCollection(const std::shared_ptr<grpc::Channel>& channel,
                             const std::string& name) {
  v1::CreateCollectionRequest request;
  request.set_name(name);
  const auto created = client::Catalog(channel).Create(request);
  EXPECT_TRUE(created.ok()) << created.status();
  return created.ok() ? created->collection().id() : "";
}

std::vector<v1::Append> ReadWholeLog(const std::shared_ptr<grpc::Channel>& channel,
                                     const std::string& collection_id) {
  std::vector<v1::Append> log;
  client::Log client(channel);
  const auto state = client.Describe(*ParseCollectionId(collection_id));
  EXPECT_TRUE(state.ok()) << state.status();
  if (!state.ok() || state->tail_seq_id() == 0) return log;
  v1::SubscribeRequest request;
  request.set_collection_id(collection_id);
  request.set_after_seq_id(0);
  request.set_end_seq_id(state->tail_seq_id());
  const auto subscription = client.Subscribe(request);
  v1::SubscribeResponse message;
  for (;;) {
    const auto more = subscription->Next(&message);
    EXPECT_TRUE(more.ok()) << more.status();
    if (!more.ok() || !*more) return log;
    for (v1::Append& append : *message.mutable_appends()) log.push_back(std::move(append));
  }
}

v1::PushLogsRequest RandomPush(std::mt19937_64& random, const std::string& collection_id,
                               const std::string& name) {
  v1::PushLogsRequest request;
  request.set_collection_id(collection_id);
  request.set_request_id(Uuid::TimeOrdered(NowMicros() / 1000).ToString());
  const int count = random() % 4 ? 1 + static_cast<int>(random() % 20) : 1;
  for (int i = 0; i < count; ++i) {
    v1::OperationRecord* record = request.add_records();
    record->set_id(name + "-" + std::to_string(i));
    record->set_operation(v1::OPERATION_UPSERT);
    record->set_document(std::string(random() % 4000, static_cast<char>('a' + random() % 26)));
  }
  return request;
}

// Writes appends one after the other, each until it is acknowledged, over any number of restarts.
// Every third acknowledged one is pushed once more, as a client does whose answer was lost.
void Write(const LogUnderTest& log, const std::vector<std::string>& collections, int writer,
           uint64_t seed, History& history, const std::atomic<bool>& stop) {
  std::mt19937_64 random(seed + static_cast<uint64_t>(writer));
  for (int n = 0; !stop; ++n) {
    const v1::PushLogsRequest request = RandomPush(
        random, collections[random() % collections.size()], absl::StrCat("w", writer, "-", n));
    history.Tried(request);
    std::optional<uint64_t> first_seq_id;
    for (bool once_more = n % 3 == 0; !first_seq_id || once_more;) {
      client::Log client(log.channel(), {.total_deadline = std::chrono::milliseconds(300)});
      const auto pushed = client.Push(request);
      if (!pushed.ok()) {
        ASSERT_TRUE(absl::IsUnavailable(pushed.status()) ||
                    absl::IsDeadlineExceeded(pushed.status()))
            << pushed.status();
        continue;
      }
      if (first_seq_id) {
        EXPECT_EQ(pushed->first_seq_id(), *first_seq_id) << "a retry got other SeqIds";
        EXPECT_TRUE(pushed->duplicate());
        once_more = false;
      } else {
        first_seq_id = pushed->first_seq_id();
        history.Acknowledged(request, *pushed);
      }
    }
  }
}

class KillLogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    seed_ = NumberFromEnvironment("SLUICE_TEST_SEED", std::random_device()());
    RecordProperty("seed", std::to_string(seed_));
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed_));
    random_.seed(seed_);
    ASSERT_NO_FATAL_FAILURE(log_.Start());
    for (int i = 0; i < 3; ++i)
      collections_.push_back(CreateCollection(log_.channel(), absl::StrCat("crash-", i)));
  }

  void StartWriters(int count) {
    for (int w = 0; w < count; ++w) {
      writers_.emplace_back([this, w] { Write(log_, collections_, w, seed_, history_, stop_); });
    }
  }
  void StopWriters() {
    stop_ = true;
    writers_.clear();  // joins
  }
  void AwaitAcknowledged(size_t more) {
    ASSERT_TRUE(history_.AwaitAcknowledged(more, std::chrono::seconds(30)))
        << "writers do not get on";
  }
  void CheckAll() {
    for (const std::string& collection : collections_) {
      const absl::Status checked =
          history_.Check(collection, ReadWholeLog(log_.channel(), collection));
      EXPECT_TRUE(checked.ok()) << checked << "; seed " << seed_;
    }
  }

  uint64_t seed_ = 0;
  std::mt19937_64 random_;
  LogUnderTest log_;
  std::vector<std::string> collections_;
  History history_;
  std::atomic<bool> stop_ = false;
  std::vector<std::jthread> writers_;
};

// Invariants 1, 2, 3, 4: acknowledged appends survive kill -9, once each, dense, in order; and no
// others appear.
TEST_F(KillLogTest, EveryAcknowledgedAppendIsThereOnceAfterManyKills) {
  StartWriters(4);
  const uint64_t rounds = NumberFromEnvironment("SLUICE_TEST_ROUNDS", 8);
  for (uint64_t round = 0; round < rounds; ++round) {
    ASSERT_NO_FATAL_FAILURE(AwaitAcknowledged(1 + random_() % 400));
    log_.process().Kill();
    ASSERT_NO_FATAL_FAILURE(log_.Start());
  }
  ASSERT_NO_FATAL_FAILURE(AwaitAcknowledged(20));
  StopWriters();
  CheckAll();
  // Once more from cold: what was read is what is stored.
  log_.process().Kill();
  ASSERT_NO_FATAL_FAILURE(log_.Start());
  CheckAll();
}

// SIGTERM under load: exit 0 in the grace time; nothing acknowledged is lost; clients see
// UNAVAILABLE and succeed on retry.
TEST_F(KillLogTest, AStopUnderLoadIsOrderlyAndLosesNothing) {
  StartWriters(4);
  for (int round = 0; round < 3; ++round) {
    ASSERT_NO_FATAL_FAILURE(AwaitAcknowledged(100));
    EXPECT_EQ(log_.process().Stop(std::chrono::seconds(30)), 0) << log_.process().ErrorOutput();
    ASSERT_NO_FATAL_FAILURE(log_.Start());
  }
  StopWriters();
  CheckAll();
}

}  // namespace
}  // namespace sluice::testing

// Many clients of one log service that is killed, paused and stopped: what they were told, judged
// as a whole (check_history.h).
//
// SLUICE_TEST_SEED: the seed that a failing run printed; SLUICE_TEST_OPERATIONS: how many, 10,000
// if it is not set. `tools/dev soak` runs it with a million.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <map>
#include <random>
#include <thread>

#include "common/client/client.h"
#include "tests/crash/check_history.h"
#include "tests/crash/clients.h"
#include "tests/support/cluster.h"
#include "tests/support/seed.h"

namespace sluice::testing {
namespace {

using ::testing::IsEmpty;

constexpr size_t kCollections = 3;
constexpr size_t kClients = 12;
constexpr size_t kSubscribers = 6;
constexpr std::chrono::seconds kPatience(60);

uint64_t Operations() {
  const char* const given = std::getenv("SLUICE_TEST_OPERATIONS");
  return given ? std::stoull(given) : 10'000;
}

std::vector<std::string> CreateCollections(const std::shared_ptr<grpc::Channel>& channel) {
  std::vector<std::string> ids;
  for (size_t i = 0; i < kCollections; ++i) {
    v1::CreateCollectionRequest request;
    request.set_name("history-" + std::to_string(i));
    // Nobody compacts.
    request.mutable_settings()->set_max_backlog_bytes(uint64_t{1} << 40);
    const auto created = client::Catalog(channel).Create(request);
    EXPECT_TRUE(created.ok()) << created.status();
    ids.push_back(created.ok() ? created->collection().id() : "");
  }
  return ids;
}

class HistoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // Small files, so that a run sees many of them begin, end, and be flushed.
    auto cluster = Cluster::Start(
        {.compactors = 0, .frontends = 0},
        {{"SLUICE_LOG_JOURNAL_FILE_BYTES", "1MiB"}, {"SLUICE_LOG_STORE_MEMTABLE_BYTES", "1MiB"}});
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
    const auto channel = client::Connect(cluster_->address(cluster_->log()));
    scene_.emplace(channel, TestSeed(), CreateCollections(channel));
    random_.seed(scene_->seed);
    scene_->operations = Operations();
  }

  // Waits until there are so many more operations; ends early when the clients are through.
  void AwaitOperations(uint64_t more) {
    const uint64_t all = scene_->operations;
    const uint64_t left = all - std::min(all, operations());
    ASSERT_TRUE(scene_->recorder.AwaitOperations(std::min(more, left), kPatience))
        << "the clients do not get on";
  }
  uint64_t operations() const { return scene_->recorder.operations(); }

  // A kill, an orderly stop, or a pause in which some calls are given up.
  void Disturb() {
    // Each of them at least once.
    const uint64_t before = static_cast<uint64_t>(pauses_ + stops_ + kills_);
    switch (before < 3 ? before : random_() % 4) {
      case 0: {
        cluster_->Signal(cluster_->log(), SIGSTOP);
        const bool given_up = scene_->recorder.AwaitUnknown(1 + random_() % kClients, kPatience);
        cluster_->Signal(cluster_->log(), SIGCONT);
        ASSERT_TRUE(given_up || operations() >= scene_->operations);
        ++pauses_;
        break;
      }
      case 1:
        Restart(SIGTERM);
        ++stops_;
        break;
      default:
        Restart(SIGKILL);
        ++kills_;
    }
  }
  void Restart(int signal) {
    const absl::Status restarted = cluster_->Restart(cluster_->log(), signal);
    ASSERT_TRUE(restarted.ok()) << restarted << "\n" << cluster_->ErrorOutput();
  }

  void Report() const {
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - began_);
    std::printf("%llu of %llu operations, %d kills, %d stops, %d pauses, %llds\n",
                static_cast<unsigned long long>(operations()),
                static_cast<unsigned long long>(scene_->operations.load()), kills_, stops_, pauses_,
                static_cast<long long>(seconds.count()));
    std::fflush(stdout);
  }

  // That conditions were met and were not, and predecessors missed.
  static void ExpectVariety(const History& history) {
    std::map<std::string, int> seen;
    for (const PushCall& call : history.pushes) {
      const Conditions& conditions = history.appends[call.append].conditions;
      if (call.several_attempts && call.outcome == Outcome::kIn) ++seen["through a push stream"];
      if (call.duplicate) ++seen[call.several_attempts ? "again through it" : "duplicates"];
      if (call.outcome == Outcome::kUnknown) ++seen["unknown"];
      if (call.outcome == Outcome::kIn) {
        if (conditions.tail) ++seen["tail as named"];
        if (conditions.ids) ++seen["ids unchanged"];
        if (conditions.predecessor) ++seen["after predecessor"];
      } else if (call.refusal) {
        if (call.refusal->tail) ++seen["tail moved"];
        if (call.refusal->changed) ++seen["ids changed"];
        if (call.refusal->no_predecessor) ++seen["predecessor missing"];
      }
    }
    std::printf("again through a push stream: %d\n", seen["again through it"]);
    for (const char* what :
         {"through a push stream", "duplicates", "unknown", "tail as named", "ids unchanged",
          "after predecessor", "tail moved", "ids changed", "predecessor missing"}) {
      std::printf("%s: %d\n", what, seen[what]);
      EXPECT_GT(seen[what], 0) << what;
    }
  }

  // All logs as they are read at last; subscribers are told where they end.
  void ReadLogs(std::vector<std::vector<ShownAppend>>* logs) {
    for (size_t i = 0; i < kCollections; ++i) {
      const absl::Status read = ReadWholeLog(*scene_, i, &logs->emplace_back());
      ASSERT_TRUE(read.ok()) << read;
      const ShownAppend last = logs->back().empty() ? ShownAppend() : logs->back().back();
      scene_->ends[i].seq_id = last.first_seq_id + last.records.size() - 1;
    }
  }

  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::unique_ptr<Cluster> cluster_;
  std::optional<Scene> scene_;
  std::mt19937_64 random_;
  int kills_ = 0;
  int stops_ = 0;
  int pauses_ = 0;
};

// Invariants 1, 2, 3, 4 and 10.
TEST_F(HistoryTest, WhatClientsWereToldHoldsOverKillsPausesAndStops) {
  std::vector<std::jthread> subscribers;
  for (size_t i = 0; i < kSubscribers; ++i)
    subscribers.emplace_back([this, i] { RunSubscriber(*scene_, i); });
  std::vector<std::jthread> clients;
  for (size_t i = 0; i < kClients; ++i) clients.emplace_back([this, i] { RunClient(*scene_, i); });
  clients.emplace_back([this] { RunPushStreamClient(*scene_, kClients); });

  const uint64_t most_between = std::min<uint64_t>(1 + scene_->operations / 10, 20'000);
  for (uint64_t reports = 0; operations() < scene_->operations;) {
    AwaitOperations(1 + random_() % most_between);
    if (!HasFatalFailure() && operations() < scene_->operations) Disturb();
    if (HasFatalFailure()) break;
    if (operations() / 50'000 > reports) {
      reports = operations() / 50'000;
      Report();
    }
  }
  if (HasFatalFailure()) scene_->operations = 0;  // ends the clients
  clients.clear();                                // joins
  Report();

  // From cold: what is read is what is stored.
  Restart(SIGKILL);
  std::vector<std::vector<ShownAppend>> logs;
  ReadLogs(&logs);
  if (HasFatalFailure())
    for (Scene::End& end : scene_->ends) end.seq_id = 0;
  subscribers.clear();  // joins

  History history = scene_->recorder.Take();
  history.logs = std::move(logs);
  EXPECT_THAT(CheckHistory(history), IsEmpty())
      << "replay with tools/dev soak --seed " << scene_->seed << " --operations "
      << scene_->operations.load();
  EXPECT_GE(history.pushes.size(), scene_->operations / 2);
  if (scene_->operations >= 10'000) ExpectVariety(history);
  Report();
}

}  // namespace
}  // namespace sluice::testing

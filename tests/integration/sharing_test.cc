// Many collections, several compactors with five workers each: the work is shared, goes on when
// compactors are killed, applies everything exactly once (invariant 5), and a flood in one tenant
// leaves another's collection its turn.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <future>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/objects/folder_store.h"
#include "common/server/fetch_for_test.h"
#include "tests/model/index.h"
#include "tests/support/cluster.h"
#include "tests/support/seed.h"

#ifndef SLUICE_SHARING_SCALE
#define SLUICE_SHARING_SCALE 1
#endif

namespace sluice {
namespace {

using testing::Cluster;

constexpr size_t kCompactors = 4;
constexpr int64_t kLeaseMs = 2'000;
constexpr int kScale = SLUICE_SHARING_SCALE;
constexpr int kSmall = 300 * kScale;
constexpr int kLarge = 3;

std::map<std::string, std::string> Settings() {
  return {{"SLUICE_COMPACTOR_WORKERS", "5"},
          {"SLUICE_COMPACTOR_LEASE_MS", absl::StrCat(kLeaseMs)},
          {"SLUICE_COMPACTOR_CLAIM_WAIT_MS", "200"},
          {"SLUICE_COMPACTOR_TURN_MS", "200"},
          {"SLUICE_COMPACTOR_BATCH_RECORDS", "1000"}};
}

class SharingTest : public ::testing::Test {
 protected:
  void Start(std::map<std::string, std::string> settings) {
    auto cluster = Cluster::Start({.compactors = kCompactors, .frontends = 0}, std::move(settings));
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
    channel_ = client::Connect(cluster_->address(cluster_->log()));
    client::Options patient;
    patient.attempt_deadline = patient.total_deadline = std::chrono::seconds(100 * kScale);
    log_.emplace(channel_, patient);
    objects_.emplace(*FolderStore::Open(cluster_->objects()));
  }

  // What was written to one collection, and what must have become of it.
  struct Written {
    CollectionId id;
    uint64_t ids = 0;
    uint64_t records = 0;
    uint64_t repeated = 0;
  };
  Written Create(const std::string& name, const std::string& tenant = "") {
    v1::CreateCollectionRequest request;
    request.set_name(name);
    request.set_tenant(tenant);
    request.mutable_settings()->mutable_compaction()->set_max_age_ms(10);
    const auto created = client::Catalog(channel_).Create(request);
    EXPECT_TRUE(created.ok()) << created.status();
    return {.id = *ParseCollectionId(created->collection().id())};
  }
  // ADDs of new ids, and of some that are there, which must not have an effect.
  void Push(Written& to, int records, std::mt19937_64& random) {
    v1::PushLogsRequest request;
    request.set_collection_id(to.id.ToString());
    for (int i = 0; i < records; ++i) {
      const bool repeat = to.ids > 0 && random() % 4 == 0;
      v1::OperationRecord& record = *request.add_records();
      record.set_operation(v1::OPERATION_ADD);
      record.set_id(absl::StrCat(repeat ? random() % to.ids : to.ids));
      record.set_document(std::string(100, 'x'));
      ++(repeat ? to.repeated : to.ids);
    }
    const auto pushed = log_->Push(std::move(request));
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    to.records += static_cast<uint64_t>(records);
  }
  // To all, in several threads, in random order: each small one gets a few records, each large one
  // many, and so `rounds` times. `pushed` counts the pushes.
  void PushToAll(std::vector<Written>& all, uint64_t seed, int rounds, std::atomic<int>* pushed) {
    constexpr size_t kWriters = 4;
    std::vector<std::jthread> writers;
    for (size_t w = 0; w < kWriters; ++w) {
      writers.emplace_back([&, w] {
        std::mt19937_64 random(seed + w);
        for (int round = 0; round < rounds; ++round) {
          for (size_t i = w; i < all.size(); i += kWriters) {
            const bool large = i < kLarge;
            Push(all[i], large ? 1000 : 1 + static_cast<int>(random() % 8), random);
            ++*pushed;
          }
        }
      });
    }
  }

  void ExpectAllAppliedExactlyOnce(const std::vector<Written>& all) {
    for (const Written& written : all) {
      const auto index = model::OpenIndex(*log_, *objects_, written.id, SeqId(written.records));
      ASSERT_TRUE(index.ok()) << index.status() << cluster_->ErrorOutput();
      EXPECT_EQ(index->header.live_count(), written.ids);
      const auto described = log_->Describe(written.id);
      ASSERT_TRUE(described.ok()) << described.status();
      EXPECT_EQ(described->no_effect().adds(), written.repeated);
      EXPECT_EQ(described->failures(), 0u) << described->last_failure();
      // Each id is in one row, and the rows are those of the first ADDs.
      uint64_t rows = 0;
      uint64_t sum = 0;
      index->view->VisitLive(std::nullopt, [&](const IdHash&, SegmentSet::Place place) {
        const auto row = index->view->ReadRow(place);
        if (!row.ok()) return false;
        ++rows;
        sum += std::stoull(row->id);
        return true;
      });
      EXPECT_EQ(rows, written.ids);
      EXPECT_EQ(sum, written.ids * (written.ids - 1) / 2);
    }
  }
  v1::DescribeLogResponse Describe(const Written& written) {
    const auto described = log_->Describe(written.id);
    EXPECT_TRUE(described.ok()) << described.status();
    return described.value_or(v1::DescribeLogResponse());
  }
  // Kills all compactors, one of them while it holds the collection, and has not applied all of it.
  bool DiesHolding(Written& collection) {
    for (size_t i = 0; i < kCompactors; ++i) cluster_->Kill(cluster_->compactor(i));
    std::mt19937_64 random(seed_);
    for (int tries = 0; tries < 10 && !HasFailure(); ++tries) {
      for (int push = 0; push < 20; ++push) Push(collection, 1000, random);
      const uint64_t before = Describe(collection).applied_seq_id();
      EXPECT_TRUE(cluster_->Restart(cluster_->compactor(0), SIGKILL).ok());
      while (Describe(collection).applied_seq_id() == before && !HasFailure()) {
        std::this_thread::yield();
      }
      cluster_->Kill(cluster_->compactor(0));
      const v1::DescribeLogResponse left = Describe(collection);
      if (left.compaction_lease().token() != 0 && left.applied_seq_id() < collection.records) {
        return true;
      }
    }
    return false;
  }
  double Commits(size_t compactor) {
    return server::FetchMetric(
        cluster_->http_address(cluster_->compactor(compactor)),
        "sluice_compactor_commits_total{kind=\"compaction\",outcome=\"committed\"}");
  }
  double LogMetric(const std::string& name) {
    return server::FetchMetric(cluster_->http_address(cluster_->log()), name);
  }

  const uint64_t seed_ = testing::TestSeed();
  std::unique_ptr<Cluster> cluster_;
  std::shared_ptr<grpc::Channel> channel_;
  std::optional<client::Log> log_;
  std::optional<FolderStore> objects_;
};

TEST_F(SharingTest, ManyCollectionsAreSharedAndSurviveKilledCompactors) {  // invariants 5, 6
  Start(Settings());
  std::vector<Written> all;
  for (int i = 0; i < kLarge + kSmall; ++i) all.push_back(Create(absl::StrCat("c", i)));

  // Everybody works, and mostly where it did before.
  std::atomic<int> pushed = 0;
  PushToAll(all, seed_, /*rounds=*/2, &pushed);
  ExpectAllAppliedExactlyOnce(all);
  for (size_t i = 0; i < kCompactors; ++i) EXPECT_GT(Commits(i), 0) << "compactor " << i;
  const double claims = LogMetric("sluice_log_claims_total{kind=\"compaction\"}");
  const double warm = LogMetric("sluice_log_warm_claims_total{kind=\"compaction\"}");
  EXPECT_GT(warm, 0);
  std::printf("%.0f claims, %.0f of them where the collection was before\n", claims, warm);

  // Compactors are killed while pushes come, one after every so many of them.
  constexpr int kKills = 8;
  constexpr int kRounds = 2;
  pushed = 0;
  std::jthread killer([&] {
    std::mt19937_64 random(seed_);
    for (int kill = 0; kill < kKills; ++kill) {
      const int until = kill * kRounds * static_cast<int>(all.size()) / kKills;
      while (pushed < until && !HasFatalFailure()) std::this_thread::yield();
      const size_t victim = cluster_->compactor(random() % kCompactors);
      cluster_->Kill(victim);
      const absl::Status restarted = cluster_->Restart(victim, SIGKILL);
      EXPECT_TRUE(restarted.ok()) << restarted;
    }
    // Some stay away for good, with what they hold.
    cluster_->Kill(cluster_->compactor(0));
    cluster_->Kill(cluster_->compactor(1));
  });
  PushToAll(all, seed_ + 100, kRounds, &pushed);
  killer.join();
  ExpectAllAppliedExactlyOnce(all);

  // What a worker held when it died goes to another one, which applies the rest.
  ASSERT_TRUE(DiesHolding(all[0]));
  ASSERT_TRUE(cluster_->Restart(cluster_->compactor(1), SIGKILL).ok());
  ExpectAllAppliedExactlyOnce(all);
}

TEST_F(SharingTest, AFloodInOneTenantLeavesAnothersCollectionItsTurn) {
  constexpr int kFlooded = 100 * kScale;
  auto settings = Settings();
  settings["SLUICE_COMPACTOR_BATCH_RECORDS"] = "10";
  Start(settings);
  for (size_t i = 0; i < kCompactors; ++i) cluster_->Kill(cluster_->compactor(i));
  std::mt19937_64 random(seed_);
  std::vector<Written> flooded;
  for (int i = 0; i < kFlooded; ++i) {
    flooded.push_back(Create(absl::StrCat("c", i), "flooded"));
    for (int push = 0; push < 2; ++push) Push(flooded.back(), 1000, random);
  }
  std::vector<Written> small{Create("c", "small")};
  Push(small[0], 1, random);
  // The youngest of all that is due, and more than there are workers for. By its age alone, each of
  // the others would have a turn before it.
  auto claims_before = std::async(std::launch::async, [&] {
    while (!HasFailure()) {
      const v1::DescribeLogResponse described = Describe(small[0]);
      const bool granted = described.compaction_lease().token() != 0;
      if (granted || described.applied_seq_id() > 0) break;
    }
    return LogMetric("sluice_log_claims_total{kind=\"compaction\"}");
  });
  for (size_t i = 0; i < kCompactors; ++i) {
    ASSERT_TRUE(cluster_->Restart(cluster_->compactor(i), SIGKILL).ok());
  }
  const double claims = claims_before.get();
  std::printf("%.0f claims until the small collection had its turn\n", claims);
  EXPECT_LT(claims, kFlooded / 2);
  for (int i = 0; i < 5; ++i) {
    ExpectAllAppliedExactlyOnce(small);
    Push(small[0], 1, random);
  }
  ExpectAllAppliedExactlyOnce(small);
  // All of it was there before the first of those records.
  uint64_t backlog = 0;
  int begun = 0;
  for (const Written& written : flooded) {
    const auto described = log_->Describe(written.id);
    ASSERT_TRUE(described.ok()) << described.status();
    backlog += written.records - described->applied_seq_id();
    begun += described->applied_seq_id() > 0 ? 1 : 0;
  }
  EXPECT_GT(backlog, 0u);
  EXPECT_GT(begun, 0) << "the flood is worked off, too";
  std::printf("the flood: %d collections begun, %llu records left\n", begun,
              static_cast<unsigned long long>(backlog));
}

}  // namespace
}  // namespace sluice

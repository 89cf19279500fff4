#include "services/log/claim_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "services/log/due_look.h"

namespace sluice::log {
namespace {

constexpr int64_t kMilli = 1000;
constexpr int64_t kSecond = 1'000'000;
constexpr int64_t kNow = 1'000'000 * kSecond;

CollectionId IdOf(int number) {
  Uuid id;
  id.bytes[14] = static_cast<uint8_t>(number / 256);
  id.bytes[15] = static_cast<uint8_t>(number % 256);
  return CollectionId(id);
}

class ClaimOrderTest : public ::testing::Test {
 protected:
  // Something that has been due for so long.
  static DueWork Work(int collection, int64_t waited_us, const std::string& tenant = "",
                      DueKind kind = DueKind::kCompaction) {
    return {kind, IdOf(collection), kNow - waited_us, HashOfName(tenant)};
  }
  void Due(std::vector<DueWork> due) {
    due_ = std::move(due);
    std::stable_sort(due_.begin(), due_.end(),
                     [](const DueWork& a, const DueWork& b) { return a.due_us < b.due_us; });
  }
  // The number of the collection that the worker gets, which is not due any more; -1: none.
  int Claim(const std::string& worker, int64_t now_us = kNow) {
    const Claimant claimant{.worker = HashOfName(worker)};
    order_.Saw(claimant, now_us);
    return Take(claimant, now_us);
  }
  // After a look.
  int Take(const Claimant& claimant, int64_t now_us) {
    Look();
    return TakeKnown(claimant, now_us);
  }
  void Look() {
    for (const DueKind kind : {DueKind::kCompaction, DueKind::kMerge}) {
      std::vector<DueWork> due;
      std::copy_if(due_.begin(), due_.end(), std::back_inserter(due),
                   [&](const DueWork& work) { return work.kind == kind; });
      order_.SetDue(kind, std::move(due));
    }
  }
  int TakeKnown(const Claimant& claimant, int64_t now_us) {
    const auto choice = order_.Choose(claimant, now_us);
    if (!choice) return -1;
    const DueWork& work = choice->work;
    std::erase_if(due_, [&](const DueWork& other) {
      return other.kind == work.kind && other.collection == work.collection;
    });
    order_.Granted(work.kind, work.collection, claimant.worker);
    warm_ = choice->warm;
    return work.collection.bytes[14] * 256 + work.collection.bytes[15];
  }

  struct Fresh;

  ClaimOrder order_;
  std::vector<DueWork> due_;
  bool warm_ = false;
};
// Another one, with an order of its own.
struct ClaimOrderTest::Fresh : ClaimOrderTest {
  using ClaimOrderTest::Claim;
  using ClaimOrderTest::Due;
  using ClaimOrderTest::Look;
  using ClaimOrderTest::order_;
  using ClaimOrderTest::TakeKnown;
  void TestBody() override {}
};

TEST_F(ClaimOrderTest, WhatIsDueForLongestGoesFirst) {
  Due({Work(1, 1 * kSecond), Work(2, 3 * kSecond), Work(3, 2 * kSecond)});
  EXPECT_EQ(Claim("w"), 2);
  EXPECT_EQ(Claim("w"), 3);
  EXPECT_EQ(Claim("w"), 1);
  EXPECT_EQ(Claim("w"), -1);
}

TEST_F(ClaimOrderTest, AClaimGetsTheKindsThatItWants) {
  Due({Work(1, 3 * kSecond), Work(2, 2 * kSecond, "", DueKind::kMerge)});
  const Claimant merger{.worker = 7, .wants_compactions = false};
  EXPECT_EQ(Take(merger, kNow), 2);
  EXPECT_EQ(Take(merger, kNow), -1);
  EXPECT_EQ(Claim("w"), 1);
}

// What one look found serves many claims as a look before each of them would.
TEST_F(ClaimOrderTest, OneLookServesManyClaims) {
  const auto all = [](bool looks_each_time) {
    ClaimOrderTest::Fresh test;
    std::vector<DueWork> due;
    for (int i = 0; i < 300; ++i) {
      const DueKind kind = i % 5 == 0 ? DueKind::kMerge : DueKind::kCompaction;
      due.push_back(Work(i, (600 - i) * kMilli, "t" + std::to_string(i * i % 7), kind));
    }
    // Each was held, by workers of which one is about.
    test.Due(due);
    for (int i = 0; i < 300; ++i) test.Claim("w" + std::to_string(i % 3), kNow - 4 * kSecond);
    test.Due(due);
    test.Look();
    std::vector<int> got;
    for (int i = 0; i < 310; ++i) {
      const Claimant claimant{.worker = HashOfName("w" + std::to_string(i % 2)),
                              .wants_compactions = i % 3 != 0};
      test.order_.Saw(claimant, kNow + i * kMilli);
      if (looks_each_time) test.Look();
      got.push_back(test.TakeKnown(claimant, kNow + i * kMilli));
    }
    return got;
  };
  const std::vector<int> got = all(false);
  EXPECT_EQ(got, all(true));
  EXPECT_GT(std::set<int>(got.begin(), got.end()).size(), 200u);
}

TEST_F(ClaimOrderTest, AClaimOfBothKindsGetsTheOneWhereTheOtherIsLeftForAnotherWorker) {
  Due({Work(1, 0)});
  EXPECT_EQ(Claim("a"), 1);
  Due({Work(1, 0), Work(2, -1, "", DueKind::kMerge)});
  EXPECT_EQ(Claim("b", kNow + 1), 2);
}

TEST_F(ClaimOrderTest, WhoMergedACollectionIsNotTheOneThatCompactsIt) {
  const Claimant merger{.worker = HashOfName("m"), .wants_compactions = false};
  order_.Saw(merger, kNow);
  Due({Work(1, 0, "", DueKind::kMerge)});
  EXPECT_EQ(Take(merger, kNow), 1);
  Due({Work(1, 0)});
  EXPECT_EQ(Claim("b"), 1) << "nothing is left for one that only merges";
}

TEST_F(ClaimOrderTest, AWorkerIsAboutForTheKindsThatItClaims) {
  Due({Work(1, 0)});
  EXPECT_EQ(Claim("a"), 1);
  // It is busy compacting; its claims of merges go on.
  const int64_t later = kNow + 10 * kSecond;
  order_.Saw({.worker = HashOfName("a"), .wants_compactions = false}, later);
  Due({Work(1, -10 * kSecond)});
  EXPECT_EQ(Claim("b", later), 1);
}

TEST_F(ClaimOrderTest, WhatIsLeftForAWorkerSaysUntilWhen) {
  Due({Work(1, kSecond), Work(2, 200 * kMilli), Work(3, 100 * kMilli)});
  Look();
  EXPECT_EQ(order_.NextNotLeft(DueKind::kCompaction, kNow), kNow + 300 * kMilli);
  EXPECT_EQ(order_.NextNotLeft(DueKind::kCompaction, kNow + 300 * kMilli), kNow + 400 * kMilli);
  EXPECT_EQ(order_.NextNotLeft(DueKind::kCompaction, kNow + 400 * kMilli), std::nullopt);
  EXPECT_EQ(order_.NextNotLeft(DueKind::kMerge, kNow), std::nullopt);
}

TEST_F(ClaimOrderTest, ATenantWithAThousandFloodedCollectionsLeavesAnotherItsTurn) {
  std::vector<DueWork> due;
  for (int i = 1; i <= 1000; ++i) due.push_back(Work(i, 60 * kSecond - i, "flooded"));
  due.push_back(Work(2000, 0, "small"));
  Due(due);
  // Flooded collections are due again as soon as they had their turn.
  int turns = 0;
  for (int got = 0; got != 2000; ++turns) {
    ASSERT_LT(turns, 2);
    got = Claim("w");
    due_.push_back(Work(got, 0, got == 2000 ? "small" : "flooded"));
  }
  // And the flooded ones go on in their order, whatever the other tenant writes.
  std::map<int, int> had;
  for (int i = 0; i < 2000; ++i) {
    const int got = Claim("w");
    ++had[got];
    due_.push_back(Work(got, 0, got == 2000 ? "small" : "flooded"));
  }
  EXPECT_EQ(had.size(), 1001u);
  for (const auto& [collection, turns_had] : had) {
    EXPECT_TRUE(collection == 2000 || turns_had == 1) << collection << ": " << turns_had;
  }
}

TEST_F(ClaimOrderTest, ManyTenantsDoNotKeepAnOldCollectionWaiting) {
  std::vector<DueWork> due{Work(1, 60 * kSecond, "old")};
  Due(due);
  EXPECT_EQ(Claim("w"), 1);
  for (int i = 0; i < 100; ++i) due.push_back(Work(10 + i, kSecond, "t" + std::to_string(i)));
  Due(due);
  // Each of the others' tenants had its last turn longer ago; but of two, one is by age.
  EXPECT_TRUE(Claim("w") == 1 || Claim("w") == 1);
}

TEST_F(ClaimOrderTest, AWorkerRatherGetsWhatItHeldLast) {
  Due({Work(1, 3 * kSecond), Work(2, 2 * kSecond)});
  EXPECT_EQ(Claim("a"), 1);
  EXPECT_FALSE(warm_);
  EXPECT_EQ(Claim("b"), 2);
  const int64_t later = kNow + 2 * kSecond;
  Due({Work(1, 0), Work(2, -1 * kMilli)});
  EXPECT_EQ(Claim("b", later), 2);
  EXPECT_TRUE(warm_);
  EXPECT_EQ(Claim("a", later), 1);
  EXPECT_TRUE(warm_);
}

TEST_F(ClaimOrderTest, WorkIsLeftForTheWorkerThatHeldItLastForHalfASecond) {
  Due({Work(1, 0)});
  EXPECT_EQ(Claim("a"), 1);
  EXPECT_EQ(Claim("b"), -1) << "nothing is due, but it is about";
  Due({Work(1, -1 * kSecond)});
  const int64_t due = kNow + kSecond;
  EXPECT_EQ(Claim("b", due), -1);
  EXPECT_EQ(Claim("b", due + ClaimOrder::kLeftUs - 1), -1);
  EXPECT_EQ(Claim("b", due + ClaimOrder::kLeftUs), 1);
}

TEST_F(ClaimOrderTest, WorkIsNotLeftForAWorkerThatIsNotAbout) {
  Due({Work(1, 0)});
  EXPECT_EQ(Claim("a"), 1);
  Due({Work(1, -10 * kSecond)});
  EXPECT_EQ(Claim("b", kNow + 10 * kSecond), 1);
}

TEST_F(ClaimOrderTest, WhatComesBehindWhatIsLeftIsGivenMeanwhile) {
  Due({Work(1, 0)});
  EXPECT_EQ(Claim("a"), 1);
  Due({Work(1, 0), Work(2, -1)});
  EXPECT_EQ(Claim("b", kNow + 1), 2);
}

// However much is due, the first in line is overtaken only by what came due soon after it.
TEST_F(ClaimOrderTest, AWorkersOwnGoesFirstByAQuarterOfTheTimeThatTheFirstHasWaitedAtMost) {
  Due({Work(1, 0), Work(2, 0), Work(3, 0)});
  EXPECT_EQ(Claim("a"), 1);
  EXPECT_EQ(Claim("b"), 2);
  EXPECT_EQ(Claim("b"), 3);
  const int64_t now = kNow + kSecond;
  order_.Saw({.worker = HashOfName("a")}, now);
  Due({Work(1, 100 * kSecond), Work(2, 76 * kSecond), Work(3, 74 * kSecond)});
  EXPECT_EQ(Claim("b", kNow), 2);
  EXPECT_EQ(Claim("b", kNow), 1) << "the other came too late for it";
}

TEST_F(ClaimOrderTest, UnderABacklogOfManyCollectionsMostGoWhereTheyWereBefore) {
  constexpr int kCollections = 200;
  constexpr int kWorkers = 4;
  std::vector<DueWork> due;
  due.reserve(kCollections);
  for (int i = 0; i < kCollections; ++i) due.push_back(Work(i, 0));
  Due(due);
  int warm = 0;
  int64_t now = kNow;
  std::map<int, int64_t> last;
  int64_t longest = 0;
  // Each turn takes a tenth of a second: a round of all takes five.
  for (int turn = 0; turn < 10 * kCollections; ++turn) {
    now += 100 * kMilli / kWorkers;
    const int got = Claim(std::to_string(turn % kWorkers), now);
    ASSERT_NE(got, -1);
    if (turn >= kCollections) {
      warm += warm_ ? 1 : 0;
      longest = std::max(longest, now - last[got]);
    }
    last[got] = now;
    due_.push_back(Work(got, kNow - now));
  }
  EXPECT_GT(warm, 9 * kCollections * 9 / 10);
  EXPECT_LT(longest, 8 * kSecond) << "little more than a round";
}

// Claims wait that what is due does not help: each time that comes is one look, and no more.
TEST(DueLookTest, WhereMuchIsDueThatNobodyWhoWaitsMayHaveEachWakeIsALook) {
  constexpr size_t kDue = 1000;
  const DueLook::Time begin{std::chrono::hours(1)};
  DueLook look;
  int rounds = 0;
  int looks = 0;
  for (DueLook::Time now = begin; now < begin + std::chrono::seconds(1); ++rounds) {
    ASSERT_LE(rounds, 1000);
    if (!look.Serves(now, /*has_due=*/true)) {
      ++looks;
      look = DueLook::At(now, kDue, now + std::chrono::milliseconds(1));
    }
    const auto again = look.Again(now, /*has_due=*/true);
    ASSERT_TRUE(again.has_value());
    now = *again;
  }
  EXPECT_EQ(rounds, looks);
  EXPECT_EQ(looks, 40) << "25 ms after each";
}

TEST(DueLookTest, WhereLittleIsDueOrAllOfItIsTakenTheNextThatComesDueIsLookedFor) {
  const DueLook::Time now{std::chrono::hours(1)};
  const auto next = now + std::chrono::milliseconds(1);
  EXPECT_FALSE(DueLook::At(now, 63, next).Serves(now, true));
  EXPECT_EQ(DueLook::At(now, 63, next).Again(now, true), next);
  EXPECT_EQ(DueLook::At(now, 64, next).Again(now, true), now + 64 * DueLook::kFreshForEach);
  EXPECT_EQ(DueLook::At(now, 64, next).Again(now, false), next);
  // Something may come due that was not known of: though the next is far away.
  const auto far = now + std::chrono::hours(1);
  EXPECT_EQ(DueLook::At(now, 64, far).Again(now, true), now + 64 * DueLook::kFreshForEach);
}

TEST(RecentTest, ItKeepsWhatWasPutLastAndForgetsTheRest) {
  Recent<int, int> recent(10);
  for (int i = 0; i < 100; ++i) recent.Put(i, 2 * i);
  for (int i = 90; i < 100; ++i) {
    ASSERT_NE(recent.Find(i), nullptr);
    EXPECT_EQ(*recent.Find(i), 2 * i);
  }
  EXPECT_EQ(recent.Find(79), nullptr);
  recent.Put(99, 1);
  EXPECT_EQ(*recent.Find(99), 1);
}

}  // namespace
}  // namespace sluice::log

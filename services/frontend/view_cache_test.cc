// Invariant 8 (read your writes) where reads meet: which ReadView a read may share, and what
// happens when the log or the object store has moved on.
#include "services/frontend/view_cache.h"

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <latch>
#include <optional>
#include <random>
#include <thread>

#include "common/errors/errors.h"
#include "common/objects/folder_store.h"
#include "services/frontend/fake_log.h"
#include "services/frontend/reads.h"
#include "tests/support/temp_folder.h"

namespace sluice::frontend {
namespace {

using Result = absl::StatusOr<ViewCache::ViewPtr>;

template <class T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) ADD_FAILURE() << value.status();
  return *std::move(value);
}

class ViewCacheTest : public ::testing::Test {
 protected:
  ViewCacheTest() {
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    StartCache(64 << 20);
  }
  ~ViewCacheTest() override {
    cache_.reset();
    server_->Shutdown();
  }

  static v1::ReadLevel LevelOf(v1::ReadLevel::Kind kind, uint64_t seq_id) {
    v1::ReadLevel level;
    level.set_kind(kind);
    level.set_seq_id(seq_id);
    return level;
  }
  ViewCache::ViewPtr Guess(v1::ReadLevel::Kind kind = v1::ReadLevel::KIND_TAIL,
                           uint64_t seq_id = 0) {
    return cache_->Guess({.collection = collection_.id(), .level = LevelOf(kind, seq_id)});
  }

  void StartCache(uint64_t max_bytes) {
    cache_.reset();
    cache_ = std::make_unique<ViewCache>(
        server_->InProcessChannel({}), segments_,
        ViewCache::Options{.max_bytes = max_bytes, .shared_timeout = std::chrono::seconds(30)},
        executor_, metrics_);
  }

  std::future<Result> Begin(v1::ReadLevel::Kind kind = v1::ReadLevel::KIND_TAIL,
                            uint64_t seq_id = 0, std::stop_token given_up = {},
                            std::optional<CollectionId> collection = std::nullopt) {
    const ViewCache::Wanted wanted{
        .collection = collection.value_or(collection_.id()),
        .level = LevelOf(kind, seq_id),
        .deadline = std::chrono::system_clock::now() + std::chrono::seconds(30),
        .given_up = std::move(given_up)};
    auto promise = std::make_shared<std::promise<Result>>();
    cache_->Take(wanted, [promise](Result view) { promise->set_value(std::move(view)); });
    return promise->get_future();
  }
  Result Take(const CollectionId& collection) {
    return Begin(v1::ReadLevel::KIND_TAIL, 0, {}, collection).get();
  }
  Result Take(v1::ReadLevel::Kind kind = v1::ReadLevel::KIND_TAIL, uint64_t seq_id = 0) {
    return Begin(kind, seq_id).get();
  }
  static uint64_t CountIn(const Result& view) {
    return Must(Answer(*Must(view), v1::CountRequest())).count();
  }

  void Add(const std::string& id, size_t document_bytes = 0) {
    service_.Change([&](FakeCollection& collection) {
      v1::OperationRecord record;
      record.set_id(id);
      record.set_operation(v1::OPERATION_ADD);
      if (document_bytes > 0) record.set_document(std::string(document_bytes, 'x'));
      collection.Push(record);
    });
  }
  void Compact() {
    service_.Change([](FakeCollection& collection) { collection.Compact(collection.tail()); });
  }

  testing::TempFolder folder_;
  FolderStore objects_ = Must(FolderStore::Open(folder_.path()));
  FakeCollection collection_{&objects_, 3, "hashing"};
  FakeLogService service_{&collection_};
  std::unique_ptr<grpc::Server> server_;
  prometheus::Registry registry_;
  Metrics metrics_{registry_};
  Executor executor_{4};
  SegmentLoader segments_{objects_, metrics_};
  std::unique_ptr<ViewCache> cache_;
};

TEST_F(ViewCacheTest, AReadSeesWhatWasWrittenBeforeItBegan) {
  for (int i = 0; i < 20; ++i) {
    Add(std::to_string(i));
    EXPECT_EQ(CountIn(Take()), i + 1u);
    if (i % 5 == 4) Compact();
  }
  EXPECT_EQ(metrics_.views_new.Value(), 1);
}

TEST_F(ViewCacheTest, GuessesAViewOnlyWhereItWouldBeTakenAndNothingChangedLately) {
  EXPECT_EQ(Guess(), nullptr);
  Add("a");
  Compact();
  ASSERT_TRUE(Take().ok());
  EXPECT_EQ(Guess(), nullptr);
  const ViewCache::ViewPtr view = Must(Take());
  EXPECT_EQ(Guess(), view);
  EXPECT_EQ(Guess(v1::ReadLevel::KIND_AT_LEAST, 1), view);
  EXPECT_EQ(Guess(v1::ReadLevel::KIND_AT_LEAST, 2), nullptr);
  EXPECT_EQ(Guess(v1::ReadLevel::KIND_APPLIED), nullptr);
  Add("b");
  ASSERT_TRUE(Take().ok());
  EXPECT_EQ(Guess(), nullptr);
}

TEST_F(ViewCacheTest, AReadDoesNotShareAReadViewThatBeganBeforeIt) {
  Add("a");
  std::latch taken(1), go_on(1);
  service_.OnSnapshot([&] {
    taken.count_down();
    go_on.wait();
  });
  std::future<Result> first = Begin();
  taken.wait();
  service_.OnSnapshot(nullptr);
  // Acknowledged after the first read's snapshot, before the reads below.
  Add("b");
  std::vector<std::future<Result>> later;
  later.reserve(10);
  for (int i = 0; i < 10; ++i) later.push_back(Begin());
  go_on.count_down();
  EXPECT_EQ(CountIn(first.get()), 1u);
  for (auto& read : later) EXPECT_EQ(CountIn(read.get()), 2u);
  // All of which shared one.
  EXPECT_EQ(service_.snapshots(), 2);
}

TEST_F(ViewCacheTest, ReadsAmidWritesCompactionsAndMergesNeverMissAnAcknowledgedWrite) {
  std::atomic<uint64_t> acknowledged = 0;
  std::atomic<bool> done = false;
  std::vector<std::jthread> readers;
  readers.reserve(3);
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&, i] {
      while (!done) {
        const uint64_t before = acknowledged;
        const Result view = Take(i == 0 ? v1::ReadLevel::KIND_AT_LEAST : v1::ReadLevel::KIND_TAIL,
                                 before > 100 ? before - 100 : 0);
        ASSERT_TRUE(view.ok()) << view.status();
        ASSERT_GE((*view)->as_of().value, before);
        // Every record adds an id.
        ASSERT_EQ(CountIn(view), (*view)->as_of().value);
      }
    });
  }
  std::mt19937 random(1);
  for (int i = 1; i <= 600; ++i) {
    Add(std::to_string(i));
    acknowledged = i;
    if (i % 20 == 0) Compact();
    // The objects of what was merged are gone at once: views are taken again.
    service_.Change([&](FakeCollection& collection) {
      if (collection.segments().size() > 4) collection.Merge(random() % 2, 4);
    });
  }
  Compact();
  done = true;
}

TEST_F(ViewCacheTest, AViewIsTakenAgainWhenASegmentOfItsListIsGone) {
  Add("a");
  Compact();
  Add("b");
  Compact();
  // Between the snapshot and the opening of its segments, they are merged and deleted.
  std::atomic<int> merges = 0;
  service_.OnSnapshot([&] {
    if (merges++ == 0) service_.Change([](FakeCollection& c) { c.Merge(0, 2); });
  });
  EXPECT_EQ(CountIn(Take()), 2u);
  EXPECT_EQ(service_.snapshots(), 2);
}

TEST_F(ViewCacheTest, ASegmentThatStaysAwayIsAnErrorThatNamesIt) {
  Add("a");
  Compact();
  for (const std::string& name : Must(objects_.List(""))) ASSERT_TRUE(objects_.Delete(name).ok());
  const Result view = Take();
  EXPECT_EQ(ReasonOf(view.status()), Reason::SEGMENT_MISSING) << view.status();
  EXPECT_NE(ErrorMetadata(view.status(), "object"), "");
}

TEST_F(ViewCacheTest, ALogThatWasRestoredIsReadAnew) {
  for (const char* id : {"a", "b", "c"}) Add(id);
  Compact();
  Add("d");
  EXPECT_EQ(CountIn(Take()), 4u);
  service_.Change([](FakeCollection& collection) { collection.Restore(SeqId(2)); });
  EXPECT_EQ(CountIn(Take()), 2u);
  EXPECT_EQ(Must(Take())->incarnation(), Incarnation(2));
}

TEST_F(ViewCacheTest, WhatTheLogRefusesToContinueIsReadAnew) {
  Add("a");
  EXPECT_EQ(CountIn(Take()), 1u);
  service_.OnReadView([](const v1::ReadViewRequest& request) {
    return request.after_seq_id() > 0
               ? grpc::Status(grpc::StatusCode::OUT_OF_RANGE, "beyond the tail")
               : grpc::Status::OK;
  });
  EXPECT_EQ(CountIn(Take()), 1u);
}

TEST_F(ViewCacheTest, AtLeastWaitsUntilTheSeqIdIsApplied) {
  Add("a");
  std::future<Result> read = Begin(v1::ReadLevel::KIND_AT_LEAST, 2);
  // Reads at the tail are not held up by it.
  EXPECT_EQ(CountIn(Take()), 1u);
  Add("b");
  EXPECT_EQ(CountIn(Take()), 2u);
  EXPECT_EQ(read.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  Compact();
  Add("c");
  const ViewCache::ViewPtr view = Must(read.get());
  EXPECT_GE(view->applied(), SeqId(2));
  EXPECT_GE(view->as_of(), SeqId(2));
  // What is known to be applied is not waited for.
  EXPECT_EQ(CountIn(Take(v1::ReadLevel::KIND_AT_LEAST, 2)), 3u);
}

TEST_F(ViewCacheTest, AReadThatWasGivenUpEndsThoughWhatItWaitsForNeverComes) {
  Add("a");
  std::stop_source caller;
  std::future<Result> read = Begin(v1::ReadLevel::KIND_AT_LEAST, 99, caller.get_token());
  caller.request_stop();
  EXPECT_TRUE(absl::IsCancelled(read.get().status()));
}

TEST_F(ViewCacheTest, AppliedReadsWithoutTheTailAndLeavesItForOthers) {
  Add("a");
  Compact();
  Add("b");
  EXPECT_EQ(CountIn(Take(v1::ReadLevel::KIND_APPLIED)), 1u);
  EXPECT_EQ(CountIn(Take()), 2u);
  EXPECT_EQ(CountIn(Take(v1::ReadLevel::KIND_APPLIED)), 1u);
  Add("c");
  Compact();
  EXPECT_EQ(Must(Take(v1::ReadLevel::KIND_APPLIED))->as_of(), SeqId(3));
  Add("d");
  EXPECT_EQ(CountIn(Take()), 4u);
  EXPECT_EQ(metrics_.views_new.Value(), 1);
}

// Invariant 9 (bounded).
TEST_F(ViewCacheTest, ATailBeyondTheBudgetIsRefusedAsABacklogButWhatIsAppliedCanBeRead) {
  StartCache(1 << 20);
  Add("a");
  Compact();
  for (int i = 0; i < 30; ++i) Add(std::to_string(i), 100'000);
  const Result view = Take();
  EXPECT_EQ(ReasonOf(view.status()), Reason::BACKLOG) << view.status();
  EXPECT_TRUE(RetryAfter(view.status()));
  EXPECT_EQ(CountIn(Take(v1::ReadLevel::KIND_APPLIED)), 1u);
  Compact();
  EXPECT_EQ(CountIn(Take()), 31u);
}

// Invariant 9 (bounded): in memory, a small record takes many times its bytes.
TEST_F(ViewCacheTest, ATailOfManySmallRecordsIsCountedByWhatItTakesInMemory) {
  StartCache(1 << 20);
  for (int i = 0; i < 5'000; ++i) Add(std::to_string(i));
  EXPECT_EQ(ReasonOf(Take().status()), Reason::BACKLOG);
}

// Invariant 9 (bounded): each open segment is a mapping and a reader, however few rows it has.
TEST_F(ViewCacheTest, SmallSegmentsCountForMoreThanTheirRows) {
  Add("a");
  Compact();
  EXPECT_GE(Must(Take())->bytes(), uint64_t{16} << 10);
}

// Invariant 9 (bounded).
TEST_F(ViewCacheTest, AViewBeyondTheBudgetIsServedButNotKept) {
  StartCache(1 << 20);
  for (int i = 0; i < 5; ++i) Add(std::to_string(i), 116'480);
  EXPECT_EQ(CountIn(Take()), 5u);
  EXPECT_EQ(metrics_.cached_views.Value(), 1);
  for (int i = 5; i < 10; ++i) Add(std::to_string(i), 116'480);
  EXPECT_EQ(CountIn(Take()), 10u);
  EXPECT_EQ(metrics_.cached_views.Value(), 0);
  EXPECT_EQ(metrics_.views_evicted.Value(), 1);
  Compact();
  EXPECT_EQ(CountIn(Take()), 10u);
  EXPECT_EQ(metrics_.cached_views.Value(), 1);
  EXPECT_EQ(metrics_.tail_records.Value(), 0);
}

// Invariant 9 (bounded).
TEST_F(ViewCacheTest, TheViewsUsedLeastRecentlyGoWhenTheBudgetIsExceeded) {
  StartCache(1 << 20);
  FakeCollection others[] = {{&objects_, 3, ""}, {&objects_, 3, ""}};
  for (FakeCollection& other : others) {
    v1::OperationRecord record;
    record.set_id("a");
    record.set_operation(v1::OPERATION_ADD);
    record.set_document(std::string(400'000, 'x'));
    other.Push(record);
    service_.Serve(&other);
  }
  Add("a", 400'000);
  EXPECT_EQ(CountIn(Take(collection_.id())), 1u);
  EXPECT_EQ(CountIn(Take(others[0].id())), 1u);
  EXPECT_EQ(CountIn(Take(collection_.id())), 1u);
  EXPECT_EQ(CountIn(Take(others[1].id())), 1u);
  EXPECT_EQ(metrics_.cached_views.Value(), 2);
  EXPECT_EQ(metrics_.views_evicted.Value(), 1);
  EXPECT_EQ(metrics_.views_new.Value(), 3);
  // The first was used after the second: it is still there.
  EXPECT_EQ(CountIn(Take(collection_.id())), 1u);
  EXPECT_EQ(metrics_.views_new.Value(), 3);
  EXPECT_EQ(CountIn(Take(others[0].id())), 1u);
  EXPECT_EQ(metrics_.views_new.Value(), 4);
  EXPECT_EQ(metrics_.tail_records.Value(), 2);
}

TEST_F(ViewCacheTest, ACollectionThatIsGoneIsForgotten) {
  Add("a");
  EXPECT_EQ(CountIn(Take()), 1u);
  EXPECT_EQ(metrics_.cached_views.Value(), 1);
  service_.OnReadView([](const v1::ReadViewRequest&) {
    return ToGrpc(MakeError(Reason::COLLECTION_DELETED, "deleted"), nullptr);
  });
  EXPECT_EQ(ReasonOf(Take().status()), Reason::COLLECTION_DELETED);
  EXPECT_EQ(metrics_.cached_views.Value(), 0);
}

TEST_F(ViewCacheTest, AnErrorOfTheWayLeavesTheViewForLater) {
  Add("a");
  EXPECT_EQ(CountIn(Take()), 1u);
  service_.OnReadView([](const v1::ReadViewRequest&) {
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "restarting");
  });
  EXPECT_TRUE(absl::IsUnavailable(Take().status()));
  service_.OnReadView(nullptr);
  EXPECT_EQ(CountIn(Take()), 1u);
  EXPECT_EQ(metrics_.views_new.Value(), 1);
}

TEST_F(ViewCacheTest, EndsWhatIsUnderWayWhenItGoes) {
  Add("a");
  std::future<Result> read = Begin(v1::ReadLevel::KIND_AT_LEAST, 99);
  cache_.reset();
  EXPECT_TRUE(absl::IsCancelled(read.get().status()));
}

}  // namespace
}  // namespace sluice::frontend

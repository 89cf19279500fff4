// CompactionService and ReadView through a real server: who gets a lease, what is fenced, and what
// a reader sees.
#include <future>
#include <set>
#include <thread>

#include "services/log/service_harness.h"

namespace sluice::log {
namespace {

using std::chrono::milliseconds;
using Stub = v1::CompactionService::Stub;

class CompactionTest : public ServiceTest {
 protected:
  CompactionTest() { settings_.grace_seconds = 0; }

  absl::StatusOr<v1::ClaimResponse> Claim(uint32_t wait_ms, uint32_t lease_ms = 0,
                                          v1::LeaseKind kind = v1::LEASE_KIND_COMPACTION,
                                          const std::string& worker = "w") {
    v1::ClaimRequest request;
    request.set_worker(worker);
    request.add_kinds(kind);
    request.set_wait_ms(wait_ms);
    request.set_lease_ms(lease_ms);
    return Call(*compaction_, &Stub::Claim, request);
  }
  static v1::CommitRequest CommitOf(const v1::ClaimResponse& claimed, uint64_t number,
                                    uint64_t from, uint64_t to) {
    v1::CommitRequest request;
    *request.mutable_lease() = claimed.lease();
    request.set_number(number);
    v1::CompactionWork& work = *request.mutable_compaction();
    work.set_from_seq_id(from);
    work.set_to_seq_id(to);
    work.set_live_delta(static_cast<int64_t>(to - from));
    v1::SegmentInfo& segment = *work.mutable_segment();
    segment.set_token(claimed.lease().token());
    segment.set_number(number);
    segment.set_after_seq_id(from);
    segment.set_up_to_seq_id(to);
    segment.set_rows(to - from);
    segment.set_entries(to - from);
    segment.set_bytes(100);
    return request;
  }
  absl::StatusOr<v1::CommitResponse> Commit(const v1::CommitRequest& request) {
    return Call(*compaction_, &Stub::Commit, request);
  }
  absl::StatusOr<v1::RenewResponse> Renew(const v1::Lease& lease) {
    v1::RenewRequest request;
    *request.mutable_lease() = lease;
    return Call(*compaction_, &Stub::Renew, request);
  }
  absl::StatusOr<v1::ReleaseResponse> Release(const v1::Lease& lease, v1::ReleaseReason reason,
                                              uint32_t retry_after_ms = 0,
                                              const std::string& message = "") {
    v1::ReleaseRequest request;
    *request.mutable_lease() = lease;
    request.set_reason(reason);
    request.set_retry_after_ms(retry_after_ms);
    request.set_message(message);
    return Call(*compaction_, &Stub::Release, request);
  }
  // A collection with `records` records that comes due at once.
  std::string DueCollection(int records = 3, const std::string& tenant = "") {
    std::string id = NewCollection([&](v1::CreateCollectionRequest& request) {
      SoonDue(request);
      request.set_tenant(tenant);
    });
    std::vector<v1::OperationRecord> all;
    for (int i = 1; i <= records; ++i) all.push_back(UpsertOf(std::to_string(i)));
    EXPECT_TRUE(Push(id, all).ok());
    return id;
  }
};

TEST_F(CompactionTest, AClaimSaysWhereTheLogStands) {
  const std::string id = DueCollection();
  const auto claimed = Claim(10'000);
  ASSERT_TRUE(claimed.ok()) << claimed.status();
  EXPECT_EQ(claimed->lease().collection_id(), id);
  EXPECT_EQ(claimed->lease().kind(), v1::LEASE_KIND_COMPACTION);
  EXPECT_EQ(claimed->lease().incarnation(), Describe(id)->incarnation());
  EXPECT_NE(claimed->lease().token(), 0u);
  EXPECT_EQ(claimed->applied_seq_id(), 0u);
  EXPECT_EQ(claimed->tail_seq_id(), 3u);
  EXPECT_EQ(claimed->id_hash_key().size(), 16u);
  EXPECT_EQ(Describe(id)->compaction_lease().worker(), "w");
}

// Invariant 7.
TEST_F(CompactionTest, RowsWithoutTheirVectorsAreListedRetriedAndDropped) {
  const std::string id = DueCollection();
  const auto claimed = Claim(10'000);
  v1::CommitRequest commit = CommitOf(*claimed, 1, 0, 3);
  for (const char* row : {"1", "2"}) {
    v1::MissingVector& missing = *commit.mutable_compaction()->add_missing();
    missing.set_id(row);
    missing.set_reason(v1::MISSING_REASON_REFUSED);
    missing.set_words("too long");
  }
  ASSERT_TRUE(Commit(commit).ok());
  ASSERT_TRUE(Release(claimed->lease(), v1::RELEASE_REASON_DONE).ok());
  EXPECT_EQ(Describe(id)->missing_vectors(), 2u);

  const auto list = [&](v1::MissingReason reason) {
    v1::ListMissingVectorsRequest request;
    request.set_collection_id(id);
    request.set_reason(reason);
    return Call(*compaction_, &Stub::ListMissingVectors, request);
  };
  auto listed = list(v1::MISSING_REASON_REFUSED);
  ASSERT_TRUE(listed.ok()) << listed.status();
  ASSERT_EQ(listed->missing_size(), 2);
  EXPECT_EQ(listed->missing(0).words(), "too long");
  EXPECT_TRUE(listed->next().empty());
  EXPECT_EQ(list(v1::MISSING_REASON_OWED)->missing_size(), 0);

  v1::RetryMissingVectorsRequest retry;
  retry.set_collection_id(id);
  EXPECT_EQ(ReasonOf(Call(*compaction_, &Stub::RetryMissingVectors, retry).status()),
            Reason::INVALID_REQUEST);
  retry.add_ids("1");
  ASSERT_TRUE(Call(*compaction_, &Stub::RetryMissingVectors, retry).ok());
  const auto again = Claim(10'000);
  ASSERT_TRUE(again.ok()) << again.status();
  ASSERT_TRUE(again->has_lease());
  EXPECT_EQ(again->missing_vectors(), 2u);
  EXPECT_EQ(again->owed_vectors(), 1u);
  EXPECT_EQ(again->embed_window().refused(), 2u);

  v1::DropMissingVectorsRequest drop;
  drop.set_collection_id(id);
  drop.add_ids("1");
  drop.add_ids("2");
  ASSERT_TRUE(Call(*compaction_, &Stub::DropMissingVectors, drop).ok());
  EXPECT_EQ(list(v1::MISSING_REASON_UNSPECIFIED)->missing_size(), 0);
  EXPECT_EQ(Describe(id)->missing_vectors(), 0u);
}

TEST_F(CompactionTest, AClaimEndsWithoutALeaseIfNothingIsDue) {
  const auto at_once = Claim(0);
  ASSERT_TRUE(at_once.ok()) << at_once.status();
  EXPECT_FALSE(at_once->has_lease());
  const auto later = Claim(50);
  ASSERT_TRUE(later.ok()) << later.status();
  EXPECT_FALSE(later->has_lease());
}

TEST_F(CompactionTest, AClaimWaitsForWhatComesDue) {
  auto waiting = std::async(std::launch::async, [this] { return Claim(10'000); });
  const std::string id = DueCollection();
  const auto claimed = waiting.get();
  ASSERT_TRUE(claimed.ok()) << claimed.status();
  EXPECT_EQ(claimed->lease().collection_id(), id);
}

TEST_F(CompactionTest, ManyClaimersEachGetAnotherCollection) {  // invariant 6
  constexpr int kCollections = 12;
  std::vector<std::future<absl::StatusOr<v1::ClaimResponse>>> claimers;
  claimers.reserve(kCollections + 4);
  for (int i = 0; i < kCollections + 4; ++i) {
    claimers.push_back(std::async(std::launch::async, [this] { return Claim(2000); }));
  }
  for (int i = 0; i < kCollections; ++i) DueCollection();
  std::set<std::string> got;
  int without = 0;
  for (auto& claimer : claimers) {
    const auto claimed = claimer.get();
    ASSERT_TRUE(claimed.ok()) << claimed.status();
    if (!claimed->has_lease()) {
      ++without;
    } else {
      EXPECT_TRUE(got.insert(claimed->lease().collection_id()).second) << "granted twice";
    }
  }
  EXPECT_EQ(got.size(), static_cast<size_t>(kCollections));
  EXPECT_EQ(without, 4);
}

TEST_F(CompactionTest, TheOldestDueComesFirst) {
  const std::string first = DueCollection();
  const std::string second = DueCollection();
  EXPECT_EQ(Claim(10'000)->lease().collection_id(), first);
  EXPECT_EQ(Claim(10'000)->lease().collection_id(), second);
}

// Whatever of its tenant is flooded, and for how long: of what is due, others have their turn.
TEST_F(CompactionTest, ATenantsFloodLeavesOthersTheirTurn) {
  for (int i = 0; i < 30; ++i) DueCollection(1, "flooded");
  const std::string small = DueCollection(1, "small");
  const auto due = std::chrono::steady_clock::now() + milliseconds(20);
  while (std::chrono::steady_clock::now() < due) std::this_thread::yield();
  std::vector<std::string> granted;
  granted.reserve(2);
  for (int i = 0; i < 2; ++i) granted.push_back(Claim(10'000)->lease().collection_id());
  EXPECT_NE(granted[0], small) << "it is the youngest";
  EXPECT_EQ(granted[1], small);
}

// Claims of merges take nothing of that, however many wait.
TEST_F(CompactionTest, ATenantsFloodLeavesOthersTheirTurnAlsoWhereManyMergesAreClaimed) {
  constexpr int kMerges = 40;
  std::vector<std::future<absl::StatusOr<v1::ClaimResponse>>> merges;
  merges.reserve(kMerges);
  for (int i = 0; i < kMerges; ++i) {
    merges.push_back(std::async(
        std::launch::async, [this] { return Claim(60'000, 0, v1::LEASE_KIND_MERGE, "merger"); }));
  }
  EXPECT_TRUE(Eventually([&] { return Gauge("sluice_log_waiting_claims") == kMerges; }));
  for (int i = 0; i < 30; ++i) DueCollection(1, "flooded");
  const std::string small = DueCollection(1, "small");
  const auto due = std::chrono::steady_clock::now() + milliseconds(20);
  while (std::chrono::steady_clock::now() < due) std::this_thread::yield();
  EXPECT_NE(Claim(10'000)->lease().collection_id(), small) << "it is the youngest";
  EXPECT_EQ(Claim(10'000)->lease().collection_id(), small);
  server_->Drain();
  for (auto& merge : merges) ExpectRefused(merge.get().status(), Reason::DRAINING);
}

TEST_F(CompactionTest, ACollectionRatherGoesToTheWorkerThatHadItLast) {
  const auto claim = [&](const std::string& worker) {
    return Claim(10'000, 0, v1::LEASE_KIND_COMPACTION, worker);
  };
  const std::string first = DueCollection();
  const auto by_a = claim("a");
  const std::string second = DueCollection();
  const auto by_b = claim("b");
  ASSERT_EQ(by_a->lease().collection_id(), first);
  ASSERT_EQ(by_b->lease().collection_id(), second);
  ASSERT_TRUE(Release(by_a->lease(), v1::RELEASE_REASON_STOPPING).ok());
  ASSERT_TRUE(Release(by_b->lease(), v1::RELEASE_REASON_STOPPING).ok());
  EXPECT_EQ(claim("b")->lease().collection_id(), second) << "though the other was due before";
  // Nobody waits for a worker that does not come.
  const auto again = claim("b");
  ASSERT_TRUE(again.ok() && again->has_lease());
  EXPECT_EQ(again->lease().collection_id(), first);
}

TEST_F(CompactionTest, ACommitMovesAppliedAndTheListTogether) {  // invariant 5
  const std::string id = DueCollection();
  const auto claimed = Claim(10'000);
  const auto committed = Commit(CommitOf(*claimed, 1, 0, 3));
  ASSERT_TRUE(committed.ok()) << committed.status();
  EXPECT_EQ(committed->applied_seq_id(), 3u);
  EXPECT_EQ(committed->live_count(), 3u);
  const auto log = Describe(id);
  EXPECT_EQ(log->applied_seq_id(), 3u);
  EXPECT_EQ(log->segments_size(), 1);
  EXPECT_EQ(log->unapplied_bytes(), 0u);
}

TEST_F(CompactionTest, ARepeatedCommitGetsItsFirstAnswer) {  // invariant 6
  const std::string id = DueCollection();
  const auto claimed = Claim(10'000);
  const v1::CommitRequest commit = CommitOf(*claimed, 1, 0, 3);
  const auto first = Commit(commit);
  ASSERT_TRUE(Push(id, {UpsertOf("x")}).ok());
  ASSERT_TRUE(Commit(CommitOf(*claimed, 2, 3, 4)).ok());
  const std::string before = Text(*Describe(id));
  Restart();
  const auto again = Commit(CommitOf(*claimed, 2, 3, 4));
  ASSERT_TRUE(first.ok() && again.ok()) << again.status();
  EXPECT_EQ(again->applied_seq_id(), 4u);
  EXPECT_EQ(Text(*Describe(id)), before);
  ExpectRefused(Commit(CommitOf(*claimed, 4, 4, 4)).status(), Reason::COMMIT_OUT_OF_ORDER);
}

TEST_F(CompactionTest, ALeaseTakenOverIsFencedOff) {  // invariant 6
  const std::string id = DueCollection();
  const auto old = Claim(10'000, 1'000);
  // It runs out, and somebody else takes it.
  const auto taken = Claim(10'000);
  ASSERT_TRUE(taken.ok() && taken->has_lease()) << taken.status();
  EXPECT_EQ(taken->lease().collection_id(), id);
  const std::string before = Text(*Describe(id));
  ExpectRefused(Commit(CommitOf(*old, 1, 0, 3)).status(), Reason::LEASE_LOST);
  ExpectRefused(Renew(old->lease()).status(), Reason::LEASE_LOST);
  EXPECT_TRUE(Release(old->lease(), v1::RELEASE_REASON_DONE).ok());
  EXPECT_EQ(Text(*Describe(id)), before);
  EXPECT_TRUE(Commit(CommitOf(*taken, 1, 0, 3)).ok());
}

TEST_F(CompactionTest, ALeaseThatRanOutButNobodyTookStillCommits) {  // invariant 6
  const std::string id = DueCollection();
  const auto claimed = Claim(10'000, 1'000);
  while (NowMicros() < Describe(id)->compaction_lease().expires_time_us()) {
    std::this_thread::yield();
  }
  EXPECT_TRUE(Renew(claimed->lease()).ok());
  EXPECT_TRUE(Commit(CommitOf(*claimed, 1, 0, 3)).ok());
}

TEST_F(CompactionTest, ACommitThatBeganElsewhereIsRefused) {  // invariant 6
  const std::string id = DueCollection();
  const auto claimed = Claim(10'000);
  const std::string before = Text(*Describe(id));
  const auto refused = Commit(CommitOf(*claimed, 1, 1, 3));
  ExpectRefused(refused.status(), Reason::APPLIED_MOVED);
  EXPECT_EQ(ErrorMetadata(refused.status(), "applied_seq_id"), "0");
  EXPECT_EQ(Text(*Describe(id)), before);
}

TEST_F(CompactionTest, AReleasedCollectionIsDueAgainAtOnceOrLater) {
  const std::string id = DueCollection();
  const auto first = Claim(10'000);
  ASSERT_TRUE(Release(first->lease(), v1::RELEASE_REASON_STOPPING).ok());
  const auto second = Claim(10'000);
  EXPECT_EQ(second->lease().collection_id(), id);
  ASSERT_TRUE(Release(second->lease(), v1::RELEASE_REASON_COLLECTION, 60'000, "no good").ok());
  EXPECT_FALSE(Claim(100)->has_lease());
  EXPECT_EQ(Describe(id)->failures(), 1u);
  EXPECT_EQ(Describe(id)->last_failure(), "no good");
}

TEST_F(CompactionTest, ReleasingWakesAClaimThatWaits) {
  DueCollection();
  const auto first = Claim(10'000);
  auto waiting = std::async(std::launch::async, [this] { return Claim(10'000); });
  while (!waiting.valid() || node_->Ready() != absl::OkStatus()) std::this_thread::yield();
  ASSERT_TRUE(Release(first->lease(), v1::RELEASE_REASON_STOPPING).ok());
  EXPECT_TRUE(waiting.get()->has_lease());
}

TEST_F(CompactionTest, ACancelledClaimTakesNothing) {
  {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + milliseconds(50));
    v1::ClaimRequest request;
    request.set_worker("w");
    request.set_wait_ms(60'000);
    v1::ClaimResponse response;
    EXPECT_EQ(compaction_->Claim(&context, request, &response).error_code(),
              grpc::StatusCode::DEADLINE_EXCEEDED);
  }
  const std::string id = DueCollection();
  EXPECT_EQ(Claim(10'000)->lease().collection_id(), id);
}

TEST_F(CompactionTest, ADrainEndsClaimsThatWait) {
  auto waiting = std::async(std::launch::async, [this] { return Claim(60'000); });
  auto idle = std::async(std::launch::async, [this] { server_->Drain(); });
  ExpectRefused(waiting.get().status(), Reason::DRAINING);
}

TEST_F(CompactionTest, BadRequestsAreRefused) {
  ExpectRefused(Claim(60'001).status(), Reason::INVALID_REQUEST);
  ExpectRefused(Claim(0, 999).status(), Reason::INVALID_REQUEST);
  ExpectRefused(Claim(0, 0, static_cast<v1::LeaseKind>(7)).status(), Reason::INVALID_REQUEST);
  v1::ClaimRequest nobody;
  ExpectRefused(Call(*compaction_, &Stub::Claim, nobody).status(), Reason::INVALID_REQUEST);
  const std::string id = DueCollection();
  v1::Lease lease = Claim(10'000)->lease();
  ExpectRefused(Release(lease, v1::RELEASE_REASON_UNSPECIFIED).status(), Reason::INVALID_REQUEST);
  lease.set_token(0);
  ExpectRefused(Renew(lease).status(), Reason::INVALID_REQUEST);
  lease.set_token(99);
  ExpectRefused(Renew(lease).status(), Reason::LEASE_LOST);
  lease.set_incarnation(1);
  ExpectRefused(Renew(lease).status(), Reason::INCARNATION_CHANGED);
  lease.set_collection_id(Uuid::Random().ToString());
  ExpectRefused(Renew(lease).status(), Reason::COLLECTION_NOT_FOUND);
}

TEST_F(CompactionTest, GarbageIsListedAfterTheGraceTimeAndCollectedOnce) {  // invariant 11
  const std::string id = DueCollection();
  const auto claimed = Claim(10'000);
  ASSERT_TRUE(Commit(CommitOf(*claimed, 1, 0, 3)).ok());
  ASSERT_TRUE(Release(claimed->lease(), v1::RELEASE_REASON_DONE).ok());
  const auto list = [this] {
    return Call(*compaction_, &Stub::ListGarbage, v1::ListGarbageRequest());
  };
  const auto garbage = list();
  ASSERT_TRUE(garbage.ok()) << garbage.status();
  ASSERT_EQ(garbage->entries_size(), 1);
  EXPECT_EQ(garbage->entries(0).collection_id(), id);
  EXPECT_EQ(garbage->entries(0).ended_token().token(), claimed->lease().token());
  EXPECT_EQ(garbage->entries(0).ended_token().committed_objects(0), 1u);
  v1::CollectGarbageRequest collect;
  collect.add_keys(garbage->entries(0).key());
  collect.add_keys("unknown");
  EXPECT_TRUE(Call(*compaction_, &Stub::CollectGarbage, collect).ok());
  EXPECT_EQ(list()->entries_size(), 0);
  EXPECT_TRUE(Call(*compaction_, &Stub::CollectGarbage, collect).ok());
}

TEST_F(CompactionTest, OnlyWhatIsAppliedCanBeTrimmed) {
  const std::string id = DueCollection();
  const auto early = Trim(id, 1);
  ExpectRefused(early.status(), Reason::NOT_APPLIED);
  EXPECT_EQ(ErrorMetadata(early.status(), "applied_seq_id"), "0");
  ApplyAll(id);
  EXPECT_EQ(Trim(id, 2)->trim_seq_id(), 2u);
  EXPECT_EQ(Trim(id, 1)->trim_seq_id(), 2u);
  v1::PullLogsRequest pull;
  pull.set_collection_id(id);
  const auto below = Pull(pull);
  ExpectRefused(below.status(), Reason::TRIMMED);
  EXPECT_EQ(ErrorMetadata(below.status(), "first_seq_id"), "3");
}

class TrimSoonTest : public CompactionTest {
 protected:
  TrimSoonTest() {
    settings_.trim_delay_seconds = 0;
    settings_.trim_bytes = 0;
  }
};

TEST_F(TrimSoonTest, WhatIsAppliedIsTrimmedByItself) {
  const std::string id = DueCollection();
  ApplyAll(id);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (Describe(id)->trim_seq_id() < 3) ASSERT_LT(std::chrono::steady_clock::now(), until);
}

class ReadViewTest : public CompactionTest {
 protected:
  struct View {
    absl::Status status;
    v1::ReadViewHeader header;
    std::vector<uint64_t> seq_ids;
    size_t messages = 0;
  };
  View Read(const v1::ReadViewRequest& request, milliseconds within = milliseconds(10'000)) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + within);
    const auto reader = log_->ReadView(&context, request);
    View view;
    v1::ReadViewResponse message;
    while (reader->Read(&message)) {
      EXPECT_EQ(message.has_header(), view.messages == 0);
      if (message.has_header()) view.header = message.header();
      EXPECT_LE(message.ByteSizeLong(), 1u << 20);
      for (const auto& append : message.appends()) {
        for (int i = 0; i < append.records_size(); ++i) {
          view.seq_ids.push_back(append.first_seq_id() + static_cast<uint64_t>(i));
        }
      }
      ++view.messages;
    }
    view.status = FromGrpc(reader->Finish(), context);
    return view;
  }
  static v1::ReadViewRequest Of(const std::string& id) {
    v1::ReadViewRequest request;
    request.set_collection_id(id);
    return request;
  }
  // Commits the records up to `to`, as one segment.
  void Apply(uint64_t to) {
    const auto claimed = Claim(10'000);
    ASSERT_TRUE(claimed.ok() && claimed->has_lease());
    const auto committed = Commit(CommitOf(*claimed, 1, claimed->applied_seq_id(), to));
    ASSERT_TRUE(committed.ok()) << committed.status();
    ASSERT_TRUE(Release(claimed->lease(), v1::RELEASE_REASON_DONE).ok());
  }
};

TEST_F(ReadViewTest, AViewIsTheSegmentsAndWhatTheyDoNotReflect) {  // invariant 8
  const std::string id = DueCollection(5);
  Apply(2);
  const View view = Read(Of(id));
  ASSERT_TRUE(view.status.ok()) << view.status;
  EXPECT_EQ(view.header.tail_seq_id(), 5u);
  EXPECT_EQ(view.header.applied_seq_id(), 2u);
  EXPECT_EQ(view.header.live_count(), 2u);
  EXPECT_TRUE(view.header.segments_included());
  EXPECT_EQ(view.header.segments_size(), 1);
  EXPECT_EQ(view.header.id_hash_key().size(), 16u);
  EXPECT_EQ(view.header.schema().metric(), v1::METRIC_COSINE);
  EXPECT_EQ(view.seq_ids, (std::vector<uint64_t>{3, 4, 5}));
}

TEST_F(ReadViewTest, WhatTheCallerHoldsIsLeftOut) {
  const std::string id = DueCollection(5);
  Apply(2);
  const v1::ReadViewHeader held = Read(Of(id)).header;
  v1::ReadViewRequest request = Of(id);
  request.set_incarnation(held.incarnation());
  request.set_segments_version(held.segments_version());
  request.set_after_seq_id(4);
  View view = Read(request);
  EXPECT_FALSE(view.header.segments_included());
  EXPECT_EQ(view.header.segments_size(), 0);
  EXPECT_EQ(view.seq_ids, (std::vector<uint64_t>{5}));
  // What belongs to another incarnation counts for nothing.
  request.set_incarnation(held.incarnation() + 1);
  view = Read(request);
  EXPECT_TRUE(view.header.segments_included());
  EXPECT_EQ(view.seq_ids, (std::vector<uint64_t>{3, 4, 5}));
}

TEST_F(ReadViewTest, ALongTailComesInMessagesBelowAMebibyte) {
  const std::string id = NewCollection();
  const std::vector<v1::OperationRecord> records(30, UpsertOf("a", std::string(100'000, 'x')));
  ASSERT_TRUE(Push(id, records).ok());
  const View view = Read(Of(id));
  ASSERT_TRUE(view.status.ok()) << view.status;
  EXPECT_EQ(view.seq_ids.size(), 30u);
  EXPECT_GT(view.messages, 2u);
}

TEST_F(ReadViewTest, ItWaitsUntilARecordIsApplied) {  // invariant 8
  const std::string id = DueCollection(3);
  v1::ReadViewRequest request = Of(id);
  request.set_wait_applied_seq_id(3);
  auto waiting = std::async(std::launch::async, [&] { return Read(request); });
  Apply(3);
  const View view = waiting.get();
  ASSERT_TRUE(view.status.ok()) << view.status;
  EXPECT_EQ(view.header.applied_seq_id(), 3u);
  EXPECT_TRUE(view.seq_ids.empty());
}

TEST_F(ReadViewTest, AWaitEndsWithTheCallersDeadline) {
  v1::ReadViewRequest request = Of(DueCollection(3));
  request.set_wait_applied_seq_id(3);
  EXPECT_EQ(Read(request, milliseconds(50)).status.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ReadViewTest, BadRequestsAreRefused) {
  ExpectRefused(Read(Of("x")).status, Reason::INVALID_REQUEST);
  ExpectRefused(Read(Of(Uuid::Random().ToString())).status, Reason::COLLECTION_NOT_FOUND);
  const std::string id = DueCollection(3);
  v1::ReadViewRequest request = Of(id);
  request.set_incarnation(Read(request).header.incarnation());
  request.set_after_seq_id(4);
  ExpectRefused(Read(request).status, Reason::BEYOND_TAIL);
}

}  // namespace
}  // namespace sluice::log

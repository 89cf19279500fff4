// Cursors, log_only collections and retention through a real server.
#include <gmock/gmock.h>
#include <prometheus/text_serializer.h>

#include <optional>

#include "services/log/service_harness.h"

namespace sluice::log {
namespace {

using ::testing::ElementsAre;

class CursorsTest : public ServiceTest {
 protected:
  absl::StatusOr<v1::Cursor> Commit(const v1::CommitCursorRequest& request) {
    const auto response = Call(*log_, &v1::LogService::Stub::CommitCursor, request);
    if (!response.ok()) return response.status();
    return response->cursor();
  }
  absl::StatusOr<v1::Cursor> Commit(const std::string& collection, const std::string& name,
                                    uint64_t seq_id) {
    v1::CommitCursorRequest request;
    request.set_collection_id(collection);
    request.set_name(name);
    request.set_seq_id(seq_id);
    return Commit(request);
  }
  absl::StatusOr<v1::GetCursorResponse> GetCursor(const std::string& collection,
                                                  const std::string& name) {
    v1::GetCursorRequest request;
    request.set_collection_id(collection);
    request.set_name(name);
    return Call(*log_, &v1::LogService::Stub::GetCursor, request);
  }
  absl::StatusOr<v1::Cursor> Rollback(const std::string& collection, const std::string& name,
                                      uint64_t seq_id) {
    v1::RollbackCursorRequest request;
    request.set_collection_id(collection);
    request.set_name(name);
    request.set_seq_id(seq_id);
    const auto response = Call(*log_, &v1::LogService::Stub::RollbackCursor, request);
    if (!response.ok()) return response.status();
    return response->cursor();
  }
  absl::Status Delete(const std::string& collection, const std::string& name) {
    v1::DeleteCursorRequest request;
    request.set_collection_id(collection);
    request.set_name(name);
    return Call(*log_, &v1::LogService::Stub::DeleteCursor, request).status();
  }
  // "name@seq_id", in the order listed.
  std::vector<std::string> List(const std::string& collection) {
    v1::ListCursorsRequest request;
    request.set_collection_id(collection);
    const auto response = Call(*log_, &v1::LogService::Stub::ListCursors, request);
    EXPECT_TRUE(response.ok()) << response.status();
    std::vector<std::string> cursors;
    for (const v1::Cursor& c : response->cursors()) {
      cursors.push_back(c.name() + "@" + std::to_string(c.seq_id()));
    }
    return cursors;
  }
  void PushMany(const std::string& collection, int count, size_t bytes = 10) {
    for (int i = 0; i < count; ++i) {
      const auto pushed = Push(collection, {UpsertOf("id", std::string(bytes, 'x'))});
      ASSERT_TRUE(pushed.ok()) << pushed.status();
    }
  }
  // The SeqIds that a subscription gives, and the start that its first message says.
  struct Read {
    std::vector<uint64_t> seq_ids;
    std::optional<uint64_t> start;
    absl::Status end;
  };
  Read SubscribeFrom(const std::string& collection, const std::string& cursor, uint64_t end) {
    v1::SubscribeRequest request;
    request.set_collection_id(collection);
    request.set_cursor(cursor);
    request.set_end_seq_id(end);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    const auto reader = log_->Subscribe(&context, request);
    Read read;
    bool first = true;
    for (v1::SubscribeResponse message; reader->Read(&message); first = false) {
      EXPECT_EQ(message.has_start_seq_id(), first);
      if (first) read.start = message.start_seq_id();
      for (const v1::Append& append : message.appends()) {
        for (int i = 0; i < append.records_size(); ++i) {
          read.seq_ids.push_back(append.first_seq_id() + static_cast<uint64_t>(i));
        }
      }
    }
    read.end = FromGrpc(reader->Finish(), context);
    return read;
  }
  std::string Metrics() const {
    return prometheus::TextSerializer().Serialize(registry_->Collect());
  }
  void AwaitMetric(const std::string& line) const {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (Metrics().find("\n" + line + "\n") == std::string::npos) {
      ASSERT_LT(std::chrono::steady_clock::now(), until) << line << " is not in:\n" << Metrics();
    }
  }
};

TEST_F(CursorsTest, CursorsAreCommittedListedRolledBackAndDeleted) {
  const std::string c = NewCollection(LogOnly);
  PushMany(c, 5);
  ASSERT_EQ(Commit(c, "b", 3)->seq_id(), 3u);
  ASSERT_TRUE(Commit(c, "a", 5).ok());
  EXPECT_THAT(List(c), ElementsAre("a@5", "b@3"));
  const auto got = GetCursor(c, "b");
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->cursor().state(), v1::CURSOR_STATE_ACTIVE);
  EXPECT_EQ(got->tail_seq_id(), 5u);
  EXPECT_EQ(got->incarnation(), got->cursor().incarnation());
  EXPECT_EQ(Rollback(c, "b", 1)->seq_id(), 1u);
  EXPECT_THAT(List(c), ElementsAre("a@5", "b@1"));
  EXPECT_EQ(Delete(c, "b"), absl::OkStatus());
  EXPECT_EQ(Delete(c, "b"), absl::OkStatus());
  EXPECT_THAT(List(c), ElementsAre("a@5"));
  ExpectRefused(GetCursor(c, "b").status(), Reason::CURSOR_NOT_FOUND);
}

TEST_F(CursorsTest, OfAnIndexedCollectionAppliedIsTheCursorIndexWhichNobodyElseMoves) {
  const std::string c = NewCollection(SoonDue);
  PushMany(c, 3);
  EXPECT_THAT(List(c), ElementsAre("index@0"));
  ApplyAll(c);
  ASSERT_TRUE(Commit(c, "a", 2).ok());
  EXPECT_THAT(List(c), ElementsAre("index@3", "a@2"));
  EXPECT_EQ(GetCursor(c, "index")->cursor().seq_id(), 3u);
  ExpectRefused(Commit(c, "index", 3).status(), Reason::INVALID_REQUEST);
  ExpectRefused(Rollback(c, "index", 1).status(), Reason::INVALID_REQUEST);
  ExpectRefused(Delete(c, "index"), Reason::INVALID_REQUEST);
  ExpectRefused(Trim(c, 3).status(), Reason::CURSOR_BEHIND);
  ASSERT_TRUE(Commit(c, "a", 3).ok());
  EXPECT_EQ(Trim(c, 3)->trim_seq_id(), 3u);
  const std::string log_only = NewCollection(LogOnly);
  ExpectRefused(GetCursor(log_only, "index").status(), Reason::CURSOR_NOT_FOUND);
}

TEST_F(CursorsTest, NamesAndIdsAreChecked) {
  const std::string c = NewCollection(LogOnly);
  PushMany(c, 1);
  for (const std::string& name : {std::string(), std::string("a b"), std::string("a\0b", 3),
                                  std::string("\xc3\xa9"), std::string(129, 'x')}) {
    v1::CommitCursorRequest request;
    request.set_collection_id(c);
    request.set_seq_id(1);
    request.set_name(name);
    const auto refused = Commit(request);
    ExpectRefused(refused.status(), Reason::INVALID_REQUEST);
    EXPECT_EQ(ErrorMetadata(refused.status(), "field"), "name") << name;
    EXPECT_EQ(OutcomeOf(refused.status()), Outcome::kNotIn);
    ExpectRefused(GetCursor(c, name).status(), Reason::INVALID_REQUEST);
  }
  EXPECT_TRUE(Commit(c, std::string(128, 'x'), 1).ok());
  v1::CommitCursorRequest request;
  request.set_collection_id(c);
  request.set_name("a");
  request.set_request_id("no");
  ExpectRefused(Commit(request).status(), Reason::INVALID_REQUEST);
  request.clear_request_id();
  request.set_incarnation(99);
  ExpectRefused(Commit(request).status(), Reason::INCARNATION_CHANGED);
  request.set_collection_id("no");
  ExpectRefused(Commit(request).status(), Reason::INVALID_REQUEST);
}

TEST_F(CursorsTest, ASubscriptionBeginsAfterACursor) {  // invariant 4
  const std::string c = NewCollection(SoonDue);
  PushMany(c, 5);
  ASSERT_TRUE(Commit(c, "a", 3).ok());
  const Read read = SubscribeFrom(c, "a", 5);
  EXPECT_EQ(read.end, absl::OkStatus());
  EXPECT_EQ(read.start, 3u);
  EXPECT_THAT(read.seq_ids, ElementsAre(4, 5));
  EXPECT_EQ(GetCursor(c, "a")->cursor().seq_id(), 3u) << "reading does not move it";
  EXPECT_EQ(SubscribeFrom(c, "a", 3).start, 3u) << "also where there is nothing to read";
  ExpectRefused(SubscribeFrom(c, "absent", 5).end, Reason::CURSOR_NOT_FOUND);
  ExpectRefused(SubscribeFrom(c, "", 5).end, Reason::INVALID_REQUEST);
  ApplyAll(c);
  EXPECT_EQ(SubscribeFrom(c, "index", 5).start, 5u);
}

TEST_F(CursorsTest, ACommitThatWasAnsweredIsThereAfterARestart) {  // invariant 1
  const std::string c = NewCollection(LogOnly);
  PushMany(c, 5);
  ASSERT_TRUE(Commit(c, "a", 4).ok());
  Restart();
  EXPECT_THAT(List(c), ElementsAre("a@4"));
}

TEST_F(CursorsTest, ALogOnlyCollectionIsReadAsALogAndHasNothingToQuery) {
  const std::string c = NewCollection(LogOnly);
  PushMany(c, 3);
  const auto described = Describe(c);
  ASSERT_TRUE(described.ok()) << described.status();
  EXPECT_EQ(described->tail_seq_id(), 3u);
  EXPECT_EQ(described->applied_seq_id(), 0u);
  EXPECT_EQ(described->unapplied_bytes(), 0u);
  EXPECT_EQ(described->oldest_unapplied_time_us(), 0);
  v1::ReadViewRequest request;
  request.set_collection_id(c);
  request.set_wait_applied_seq_id(1);
  grpc::ClientContext context;
  const auto reader = log_->ReadView(&context, request);
  v1::ReadViewResponse message;
  EXPECT_FALSE(reader->Read(&message));
  ExpectRefused(FromGrpc(reader->Finish(), context), Reason::LOG_ONLY);
  v1::ClaimRequest claim;
  claim.set_worker("test");
  EXPECT_FALSE(Call(*compaction_, &v1::CompactionService::Stub::Claim, claim)->has_lease());
}

TEST_F(CursorsTest, RetentionTrimsByItselfAndMetricsShowIt) {
  const std::string c = NewCollection([](v1::CreateCollectionRequest& request) {
    LogOnly(request);
    request.mutable_settings()->mutable_retention()->set_max_bytes(20'000);
  });
  PushMany(c, 5, 2'000);
  ASSERT_TRUE(Commit(c, "a", 5).ok());
  PushMany(c, 15, 2'000);
  AwaitMetric("sluice_log_trimmed_records_total 5");
  const auto described = Describe(c);
  EXPECT_EQ(described->trim_seq_id(), 5u);
  EXPECT_GT(described->kept_bytes(), 30'000u);
  EXPECT_GT(described->pinned_bytes(), 10'000u);
  EXPECT_LT(described->pinned_bytes(), 20'000u);
  AwaitMetric("sluice_log_cursors{state=\"ACTIVE\"} 1");
  AwaitMetric("sluice_log_pinned_bytes " + std::to_string(described->pinned_bytes()));
  ASSERT_TRUE(Commit(c, "a", 20).ok());
  AwaitMetric("sluice_log_pinned_bytes 0");
  EXPECT_LE(Describe(c)->kept_bytes(), 20'000u);
}

TEST_F(CursorsTest, ALostCursorIsSeenEverywhereAndUsingItSaysWhy) {  // invariant 4
  Stop();
  settings_.max_pinned_bytes = 10'000;
  Start();
  const std::string c = NewCollection([](v1::CreateCollectionRequest& request) {
    LogOnly(request);
    request.mutable_settings()->mutable_retention()->set_max_bytes(20'000);
  });
  PushMany(c, 5, 2'000);
  ASSERT_TRUE(Commit(c, "a", 2).ok());
  PushMany(c, 20, 2'000);
  AwaitMetric("sluice_log_cursors_lost_total{loss=\"BYTES\"} 1");
  AwaitMetric("sluice_log_cursors{state=\"LOST\"} 1");
  const auto described = Describe(c);
  ASSERT_EQ(described->cursors_size(), 1);
  EXPECT_EQ(described->cursors(0).state(), v1::CURSOR_STATE_LOST);
  EXPECT_EQ(described->cursors(0).loss(), v1::CURSOR_LOSS_BYTES);
  EXPECT_GT(described->cursors(0).lost_time_us(), 0);
  EXPECT_EQ(GetCursor(c, "a")->cursor().state(), v1::CURSOR_STATE_LOST);
  const absl::Status lost = SubscribeFrom(c, "a", 25).end;
  ExpectRefused(lost, Reason::CURSOR_LOST);
  EXPECT_EQ(ErrorMetadata(lost, "loss"), "BYTES");
  EXPECT_EQ(ErrorMetadata(lost, "first_seq_id"), std::to_string(described->trim_seq_id() + 1));
  ExpectRefused(Commit(c, "a", 25).status(), Reason::CURSOR_LOST);
  Restart();
  ExpectRefused(Commit(c, "a", 25).status(), Reason::CURSOR_LOST);
  ASSERT_TRUE(Rollback(c, "a", described->trim_seq_id()).ok());
  EXPECT_EQ(SubscribeFrom(c, "a", 25).seq_ids.front(), described->trim_seq_id() + 1);
}

}  // namespace
}  // namespace sluice::log

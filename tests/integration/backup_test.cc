// The drill: a backup of the whole system while writes go on, more writes, merges and garbage
// collection, then a new log from the backup on the same objects, which answers as before.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <filesystem>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/client/client.h"
#include "common/errors/errors.h"
#include "common/segment/segment.h"
#include "tests/support/cluster.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using testing::Cluster;

constexpr auto kWithin = 120s;

template <class T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) ADD_FAILURE() << value.status();
  return value.ok() ? *std::move(value) : T();
}

// What queries say of a collection.
struct Answers {
  uint64_t count = 0;
  uint64_t as_of = 0;
  std::map<std::string, std::string> rows;
  std::vector<std::string> hits;
  friend bool operator==(const Answers&, const Answers&) = default;
};
void PrintTo(const Answers& answers, std::ostream* out) {
  *out << answers.count << " rows as of " << answers.as_of << ", hits "
       << ::testing::PrintToString(answers.hits);
}

class BackupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster_ = Must(Cluster::Start({.compactors = 1, .frontends = 1},
                                   {{"SLUICE_LOG_BACKUP_FOLDER", Backups()},
                                    {"SLUICE_LOG_GRACE_SECONDS", "1"},
                                    {"SLUICE_COMPACTOR_GARBAGE_INTERVAL_MS", "50"}}));
    ASSERT_TRUE(cluster_);
    log_ = std::make_unique<client::Log>(Channel(cluster_->log()));
    frontend_ = std::make_unique<client::Frontend>(Channel(cluster_->frontend(0)));
    collection_ = Create("notes");
    busy_ = Create("busy");
  }

  std::string Backups() const { return folder_.path() / "backups"; }
  std::shared_ptr<grpc::Channel> Channel(size_t process) {
    return client::Connect(cluster_->address(process));
  }
  CollectionId Create(const std::string& name) {
    v1::CreateCollectionRequest request;
    request.set_name(name);
    request.mutable_schema()->mutable_embedder()->set_kind("hashing");
    request.mutable_settings()->mutable_compaction()->set_max_age_ms(10);
    const auto created = Must(client::Catalog(Channel(cluster_->log())).Create(request));
    return Must(ParseCollectionId(created.collection().id()));
  }

  v1::WriteResponse Upsert(const CollectionId& collection, const std::vector<int>& ids,
                           const std::string& document) {
    v1::WriteRequest request;
    request.mutable_collection()->set_id(collection.ToString());
    for (const int id : ids) {
      v1::OperationRecord& record = *request.add_records();
      record.set_id(absl::StrCat("id-", id));
      record.set_document(absl::StrCat(document, " number ", id));
    }
    return Must(frontend_->Upsert(request));
  }
  void AwaitApplied(const CollectionId& collection, uint64_t seq_id) {
    v1::CountRequest request;
    request.mutable_collection()->set_id(collection.ToString());
    request.mutable_level()->set_kind(v1::ReadLevel::KIND_AT_LEAST);
    request.mutable_level()->set_seq_id(seq_id);
    Must(frontend_->Count(request));
  }
  // Until the object store and the log say so; compactions go on meanwhile.
  void UpsertUntil(const std::string& what, const std::function<bool()>& reached) {
    const auto until = std::chrono::steady_clock::now() + kWithin;
    for (int i = 0; !reached(); ++i) {
      ASSERT_LT(std::chrono::steady_clock::now(), until) << what;
      const uint64_t seq_id = Upsert(collection_, {i % 50}, "later").first_seq_id();
      AwaitApplied(collection_, seq_id);
    }
  }

  Answers Ask() {
    Answers answers;
    v1::CountRequest count;
    count.mutable_collection()->set_id(collection_.ToString());
    const v1::CountResponse counted = Must(frontend_->Count(count));
    answers.count = counted.count();
    answers.as_of = counted.as_of_seq_id();
    v1::GetRequest get;
    get.mutable_collection()->set_id(collection_.ToString());
    get.mutable_include()->set_document(true);
    for (;;) {
      const v1::GetResponse page = Must(frontend_->Get(get));
      for (const v1::Row& row : page.rows()) {
        answers.rows[row.id()] = absl::StrCat(row.document(), " @", row.seq_id());
      }
      if (page.next_page_token().empty()) break;
      get.set_page_token(page.next_page_token());
    }
    v1::QueryRequest query;
    query.mutable_collection()->set_id(collection_.ToString());
    query.set_text("before number 17");
    const v1::QueryResponse found = Must(frontend_->Query(query));
    for (const v1::QueryHit& hit : found.hits()) {
      answers.hits.push_back(absl::StrCat(hit.row().id(), " ", hit.distance()));
    }
    return answers;
  }

  v1::DescribeLogResponse Describe() { return Must(log_->Describe(collection_)); }
  // Of the segments that the log lists, in the object store.
  std::set<std::filesystem::path> Listed() {
    const v1::DescribeLogResponse log = Describe();
    std::set<std::filesystem::path> objects;
    for (const v1::SegmentInfo& info : log.segments()) {
      objects.insert(cluster_->objects() /
                     SegmentObjectName(collection_, Incarnation(log.incarnation()), info));
    }
    return objects;
  }
  static bool AllThere(const std::set<std::filesystem::path>& objects) {
    return std::all_of(objects.begin(), objects.end(),
                       [](const auto& object) { return std::filesystem::exists(object); });
  }
  // Writes until none of `pinned` is listed, and an object that came later was collected.
  void MergeAndCollect(const std::set<std::filesystem::path>& pinned) {
    std::set<std::filesystem::path> seen;
    UpsertUntil("merges and garbage collection", [&] {
      const std::set<std::filesystem::path> listed = Listed();
      for (const auto& object : listed) {
        if (!pinned.contains(object)) seen.insert(object);
      }
      const bool merged = std::none_of(pinned.begin(), pinned.end(),
                                       [&](const auto& object) { return listed.contains(object); });
      return merged && !AllThere(seen);
    });
  }

  std::string Ctl(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--json", "--server", cluster_->address(cluster_->log())});
    const auto ended = testing::RunToEnd(
        {.program = testing::BinaryPath("sluicectl"), .arguments = std::move(arguments)}, "",
        std::chrono::milliseconds(kWithin));
    EXPECT_TRUE(ended.ok()) << ended.status();
    if (!ended.ok()) return "";
    EXPECT_EQ(ended->exit_status, 0) << ended->output << ended->error_output;
    return ended->output;
  }

  const testing::TempFolder folder_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<client::Log> log_;
  std::unique_ptr<client::Frontend> frontend_;
  CollectionId collection_;
  CollectionId busy_;
};

TEST_F(BackupTest, ALogFromABackupAnswersAsTheOldOneDidThen) {  // invariants 1, 8, 11
  std::vector<int> ids(50);
  for (int i = 0; i < 50; ++i) ids[static_cast<size_t>(i)] = i;
  Upsert(collection_, ids, "old");
  // Too few segments for a merge, so that the list stays as it is while the backup is made.
  for (int i = 0; i < 2; ++i) {
    const auto wrote = Upsert(collection_, {i, i + 10, i + 20}, "before");
    AwaitApplied(collection_, wrote.first_seq_id() + 2);
  }
  const Answers before = Ask();
  ASSERT_EQ(before.count, 50u);
  ASSERT_EQ(before.hits.size(), 10u);
  const uint64_t old_incarnation = Describe().incarnation();

  // Another collection is written to, compacted and merged while the backup is made.
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> busy_answered = 0;
  std::thread writer([&] {
    while (!stop) busy_answered = Upsert(busy_, {1, 2, 3}, "busy").first_seq_id();
  });
  while (busy_answered == 0) std::this_thread::yield();
  const uint64_t answered_before = busy_answered;
  Ctl({"backup", "create"});
  const uint64_t answered_after = busy_answered;
  stop = true;
  writer.join();
  EXPECT_THAT(Ctl({"backup", "list"}), ::testing::HasSubstr("\"complete\":true"));
  Ctl({"backup", "verify", "1"});

  const std::set<std::filesystem::path> listed = Listed();
  MergeAndCollect(listed);
  EXPECT_TRUE(AllThere(listed));
  EXPECT_NE(Ask(), before);

  // Everything is lost but the backups and the objects.
  for (size_t i = 0; i < cluster_->processes(); ++i) cluster_->Kill(i);
  const std::string first = folder_.path() / "first";
  Ctl({"restore", "--from", Backups(), "--data", first});
  cluster_->Set(cluster_->log(), "SLUICE_LOG_DATA", first);
  for (size_t i = 0; i < cluster_->processes(); ++i) {
    const absl::Status started = cluster_->Restart(i, SIGKILL);
    ASSERT_TRUE(started.ok()) << started;
  }
  EXPECT_EQ(Ask(), before);
  EXPECT_NE(Describe().incarnation(), old_incarnation);
  const uint64_t busy_tail = Must(log_->Describe(busy_)).tail_seq_id();
  EXPECT_GE(busy_tail, answered_before + 2);
  EXPECT_LE(busy_tail, answered_after + 3 + 2);

  // Who followed the old log is told.
  v1::SubscribeRequest follow;
  follow.set_collection_id(collection_.ToString());
  follow.set_after_seq_id(before.as_of);
  follow.set_incarnation(old_incarnation);
  v1::SubscribeResponse message;
  const auto told = log_->Subscribe(follow)->Next(&message);
  EXPECT_EQ(ReasonOf(told.status()), Reason::INCARNATION_CHANGED) << told.status();

  // It lives: it is written to, merged and collected, and leaves the old log's objects alone.
  const v1::WriteResponse wrote = Upsert(collection_, {1000}, "new");
  EXPECT_EQ(wrote.first_seq_id(), before.as_of + 1);
  MergeAndCollect(listed);
  EXPECT_TRUE(AllThere(listed));

  // Once more, under a frontend and a compactor that know the log before: they take new views.
  const uint64_t first_incarnation = Describe().incarnation();
  cluster_->Kill(cluster_->log());
  const std::string second = folder_.path() / "second";
  Ctl({"restore", "--from", Backups(), "--backup", "1", "--data", second});
  cluster_->Set(cluster_->log(), "SLUICE_LOG_DATA", second);
  const absl::Status started = cluster_->Restart(cluster_->log(), SIGKILL);
  ASSERT_TRUE(started.ok()) << started;
  EXPECT_EQ(Ask(), before);
  EXPECT_NE(Describe().incarnation(), first_incarnation);
  const v1::WriteResponse again = Upsert(collection_, {1000}, "newer");
  EXPECT_EQ(again.first_seq_id(), before.as_of + 1);
  AwaitApplied(collection_, again.first_seq_id());
  EXPECT_EQ(Ask().count, 51u);
  const absl::Status stopped = cluster_->Stop();
  EXPECT_TRUE(stopped.ok()) << stopped;
}

// The other way round: once the backup is deleted, what it held is collected.
TEST_F(BackupTest, WhatADeletedBackupHeldIsCollected) {  // invariant 11
  for (int i = 0; i < 2; ++i) {
    AwaitApplied(collection_, Upsert(collection_, {i}, "before").first_seq_id());
  }
  Ctl({"backup", "create"});
  Ctl({"backup", "create"});
  const std::set<std::filesystem::path> listed = Listed();
  ASSERT_FALSE(listed.empty());
  MergeAndCollect(listed);
  EXPECT_TRUE(AllThere(listed));
  // The older one goes; the other one holds the same.
  EXPECT_THAT(Ctl({"backup", "purge", "--keep", "1"}), ::testing::HasSubstr("\"backup_id\":1"));
  EXPECT_THAT(Ctl({"backup", "list"}), ::testing::Not(::testing::HasSubstr("\"backup_id\":1")));
  MergeAndCollect({});
  EXPECT_TRUE(AllThere(listed));
  Ctl({"backup", "delete", "2"});
  const auto until = std::chrono::steady_clock::now() + kWithin;
  while (AllThere(listed) && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  EXPECT_FALSE(AllThere(listed));
  const absl::Status stopped = cluster_->Stop();
  EXPECT_TRUE(stopped.ok()) << stopped;
}

}  // namespace
}  // namespace sluice

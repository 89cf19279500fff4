// Backups of a running shard, and logs made from them; and processes that are killed at every step
// of making, deleting and restoring one.
#include "services/log/restore.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <map>
#include <thread>

#include "common/errors/errors.h"
#include "services/log/append_reader.h"
#include "services/log/backup_desk.h"
#include "services/log/data_folder.h"
#include "services/log/reader.h"
#include "services/log/test_support.h"
#include "tests/support/process.h"

namespace sluice::log {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const CollectionId kCollection(*Uuid::Parse("00112233-4455-6677-8899-aabbccddeeff"));

ShardOptions SmallShard(const std::filesystem::path& folder) {
  ShardOptions options;
  options.folder = folder;
  options.journal_file_bytes = 1 << 20;
  options.store.memtable_bytes = 1 << 20;
  return options;
}

std::unique_ptr<Shard> OpenShard(const std::filesystem::path& folder) {
  auto shard = Shard::Open(SmallShard(folder));
  EXPECT_TRUE(shard.ok()) << shard.status();
  return shard.ok() ? *std::move(shard) : nullptr;
}

void Push(Shard& shard, const std::string& id, const std::string& document = "text") {
  const Result pushed =
      shard.ProposeAndWait(PushOf(kCollection, RequestId(), {Record(id, document)}));
  EXPECT_TRUE(pushed.ok()) << pushed.status();
}

pb::LogState StateOf(const Shard& shard) {
  return ReadLog(Snapshot(shard.store()), kCollection).value_or(pb::LogState());
}

std::vector<std::string> DocumentsOf(const Shard& shard) {
  const Snapshot snapshot(shard.store());
  AppendReader reader(snapshot, kCollection, SeqId(0), SeqId(StateOf(shard).tail()));
  std::vector<std::string> documents;
  for (AppendSlice slice;;) {
    const auto more = reader.Next(&slice);
    EXPECT_TRUE(more.ok()) << more.status();
    if (!more.ok() || !*more) return documents;
    v1::Append append;
    EXPECT_TRUE(
        append.ParseFromArray(slice.records.data(), static_cast<int>(slice.records.size())));
    for (const auto& record : append.records()) documents.push_back(record.document());
  }
}

v1::BackupInfo MustCreate(BackupDesk& desk) {
  const auto made = desk.Create({}, [](const v1::CreateBackupProgress&) {});
  EXPECT_TRUE(made.ok()) << made.status();
  return made.value_or(v1::BackupInfo());
}

class RestoreTest : public ::testing::Test {
 protected:
  std::filesystem::path Original() const { return folder_.path() / "original"; }
  std::filesystem::path Backups() const { return folder_.path() / "backups"; }
  std::filesystem::path Copy() const { return folder_.path() / "copy"; }

  // A log with these documents and one backup of them.
  std::unique_ptr<Shard> BackedUp(const std::vector<std::string>& documents) {
    auto shard = OpenShard(Original());
    EXPECT_TRUE(shard->ProposeAndWait(OpenLogOf(kCollection)).ok());
    for (const std::string& document : documents) Push(*shard, "id", document);
    BackupDesk desk(*shard, Backups());
    backup_ = MustCreate(desk);
    return shard;
  }
  absl::StatusOr<Restored> RestoreInto(const std::filesystem::path& data, uint32_t backup_id = 0) {
    BackupWork work;
    return Restore(
        {.backups = Backups(), .backup_id = backup_id, .data = data, .journal_file_bytes = 1 << 20},
        &work);
  }
  // In one of the backups' files: of the largest, a byte in its middle.
  void DamageABackup() {
    std::filesystem::path largest;
    uintmax_t size = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(Backups())) {
      if (!entry.is_regular_file() || entry.file_size() <= size) continue;
      largest = entry.path();
      size = entry.file_size();
    }
    std::fstream file(largest, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(size / 2));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(size / 2));
    file.put(static_cast<char>(byte ^ 1));
  }

  TemporaryFolder folder_;
  v1::BackupInfo backup_;
};

TEST_F(RestoreTest, ALogFromABackupHasWhatWasThereAndIsANewIncarnation) {
  const auto original = BackedUp({"one", std::string(9000, 'b')});
  Push(*original, "later");
  EXPECT_GT(backup_.bytes(), 9000u);
  const auto restored = RestoreInto(Copy());
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(restored->before, original->incarnation());
  EXPECT_NE(restored->now, original->incarnation());

  const auto copy = OpenShard(Copy());
  EXPECT_EQ(copy->incarnation(), restored->now);
  EXPECT_THAT(DocumentsOf(*copy), ElementsAre("one", std::string(9000, 'b')));
  const Result stale = copy->ProposeAndWait(
      PushOf(kCollection, RequestId(), {Record("c")}, original->incarnation()));
  EXPECT_EQ(ReasonOf(stale.status()), Reason::INCARNATION_CHANGED);
  Push(*copy, "c", "new");
  EXPECT_EQ(StateOf(*copy).tail(), 3u);
}

TEST_F(RestoreTest, ARestoreTellsHowFarItIsAndEndsWhenItIsTold) {
  BackedUp({std::string(100'000, 'a')}).reset();
  BackupWork work;
  RestoreOptions options{.backups = Backups(), .data = Copy(), .journal_file_bytes = 1 << 20};
  work.stopped = true;
  EXPECT_FALSE(Restore(options, &work).ok());
  work.stopped = false;
  const auto restored = Restore(options, &work);
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(work.total_bytes, restored->bytes);
  EXPECT_EQ(work.written_bytes, restored->bytes);
  EXPECT_EQ(work.verified_bytes, 0u);
}

TEST_F(RestoreTest, ABackupTellsHowFarItIs) {
  const auto original = BackedUp({});
  Push(*original, "id", std::string(900'000, 'a'));
  BackupDesk desk(*original, Backups());
  // Between the steps there is time for a report.
  std::atomic<bool> copied = false;
  std::atomic<bool> told = false;
  std::atomic<uint64_t> last_copied = 0;
  std::atomic<uint64_t> last_verified = 0;
  desk.reached = [&](std::string_view step) {
    if (step != "copied") return;
    copied = true;
    while (!told) std::this_thread::yield();
  };
  const auto made = desk.Create({}, [&](const v1::CreateBackupProgress& progress) {
    EXPECT_GE(progress.total_bytes(), 900'000u);
    if (!copied || told) return;
    last_copied = progress.copied_bytes();
    last_verified = progress.verified_bytes();
    told = true;
  });
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_GE(last_copied, 900'000u);
  EXPECT_EQ(last_verified, 0u);
}

TEST_F(RestoreTest, ARestoredLogIsOpenedAgainAndAgain) {
  BackedUp({"one"}).reset();
  ASSERT_TRUE(RestoreInto(Copy()).ok());
  for (const uint64_t tail : {2, 3, 4}) {
    const auto copy = OpenShard(Copy());
    ASSERT_TRUE(copy);
    Push(*copy, "more");
    EXPECT_EQ(StateOf(*copy).tail(), tail);
  }
}

TEST_F(RestoreTest, TheOriginalsJournalIsNotReplayedEvenBesideTheRestoredStore) {
  auto original = BackedUp({"one"});
  for (int i = 0; i < 5; ++i) Push(*original, "after the backup");
  original.reset();
  ASSERT_TRUE(RestoreInto(Copy()).ok());
  std::filesystem::copy(Original() / "journal", Copy() / "journal",
                        std::filesystem::copy_options::recursive);
  const auto copy = OpenShard(Copy());
  EXPECT_THAT(DocumentsOf(*copy), ElementsAre("one"));
  Push(*copy, "a", "two");
  EXPECT_EQ(StateOf(*copy).tail(), 2u);
}

TEST_F(RestoreTest, TwoLogsFromOneBackupAreTwoIncarnations) {
  BackedUp({"one"}).reset();
  const auto first = RestoreInto(Copy(), backup_.backup_id());
  const auto second = RestoreInto(folder_.path() / "other", backup_.backup_id());
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_NE(first->now, second->now);
  EXPECT_THAT(DocumentsOf(*OpenShard(folder_.path() / "other")), ElementsAre("one"));
}

TEST_F(RestoreTest, BackupsAreIncrementalAndEachIsRestoredAsItWas) {
  auto original = BackedUp({std::string(300'000, 'a')});
  BackupDesk desk(*original, Backups());
  ASSERT_TRUE(original->store().Flush().ok());
  const auto size = [&] {
    uintmax_t bytes = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(Backups())) {
      if (entry.is_regular_file()) bytes += entry.file_size();
    }
    return bytes;
  };
  const uintmax_t before = size();
  EXPECT_GT(before, 300'000u);
  Push(*original, "id", "small");
  const v1::BackupInfo second = MustCreate(desk);
  EXPECT_LT(size() - before, 200'000u);
  EXPECT_NE(second.backup_id(), backup_.backup_id());
  EXPECT_NE(second.pin(), backup_.pin());

  // The first one deleted, the second is whole.
  ASSERT_TRUE(desk.Delete(backup_.backup_id()).ok());
  const auto verified = desk.Verify({}, second.backup_id());
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->collections(), 1u);
  EXPECT_TRUE(verified->backup().complete());
  ASSERT_TRUE(RestoreInto(Copy()).ok());
  EXPECT_EQ(DocumentsOf(*OpenShard(Copy())).size(), 2u);
}

TEST_F(RestoreTest, ABackupMadeWhileWritesGoOnIsAPrefixWithAllThatWasAnsweredBefore) {
  const auto original = OpenShard(Original());
  ASSERT_TRUE(original->ProposeAndWait(OpenLogOf(kCollection)).ok());
  std::atomic<uint64_t> answered = 0;
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    while (!stop) {
      Push(*original, "id", std::to_string(answered + 1) + std::string(5'000, 'x'));
      ++answered;
    }
  });
  while (answered < 100) std::this_thread::yield();
  BackupDesk desk(*original, Backups());
  for (int i = 0; i < 3; ++i) {
    const uint64_t before = answered;
    const v1::BackupInfo made = MustCreate(desk);
    const uint64_t after = answered + 1;
    const std::filesystem::path data = folder_.path() / ("copy" + std::to_string(i));
    ASSERT_TRUE(RestoreInto(data, made.backup_id()).ok());
    const auto copy = OpenShard(data);
    const std::vector<std::string> documents = DocumentsOf(*copy);
    EXPECT_GE(documents.size(), before);
    EXPECT_LE(documents.size(), after);
    for (size_t n = 0; n < documents.size(); ++n) {
      EXPECT_TRUE(documents[n].starts_with(std::to_string(n + 1) + "x"));
    }
  }
  stop = true;
  writer.join();
}

TEST_F(RestoreTest, AFolderThatIsNotEmptyIsRefusedAndLeftAsItIs) {
  const auto original = BackedUp({"one"});
  const auto refused = RestoreInto(Original());
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << refused.status();
  EXPECT_THAT(refused.status().message(), HasSubstr("not empty"));
  std::filesystem::create_directory(Copy());
  std::ofstream(Copy() / "notes") << "mine";
  EXPECT_TRUE(absl::IsFailedPrecondition(RestoreInto(Copy()).status()));
  EXPECT_FALSE(std::filesystem::exists(Copy() / "RESTORING"));
  Push(*original, "it goes on");
}

TEST_F(RestoreTest, WhatIsNotThereIsNotFound) {
  const auto no_folder = RestoreInto(Copy());
  EXPECT_EQ(ReasonOf(no_folder.status()), Reason::BACKUP_NOT_FOUND) << no_folder.status();
  BackedUp({"one"}).reset();
  EXPECT_EQ(ReasonOf(RestoreInto(Copy(), 77).status()), Reason::BACKUP_NOT_FOUND);
  EXPECT_FALSE(std::filesystem::exists(Copy()));
}

TEST_F(RestoreTest, ADamagedBackupIsToldAndNotRestored) {
  const auto original = BackedUp({std::string(100'000, 'a')});
  DamageABackup();
  BackupDesk desk(*original, Backups());
  const auto verified = desk.Verify({}, backup_.backup_id());
  EXPECT_EQ(ReasonOf(verified.status()), Reason::BACKUP_DAMAGED) << verified.status();
  const auto restored = RestoreInto(Copy());
  EXPECT_EQ(ReasonOf(restored.status()), Reason::BACKUP_DAMAGED) << restored.status();
  // Nor does a log open what it left; a whole backup can be restored over it.
  EXPECT_FALSE(Shard::Open(SmallShard(Copy())).ok());
}

TEST_F(RestoreTest, ABackupWhoseFilesAreGoneIsListedAndNoNewOneIsMadeUntilItIsDeleted) {
  const auto original = BackedUp({std::string(100'000, 'a')});
  std::filesystem::remove_all(Backups() / "private");
  BackupDesk desk(*original, Backups());
  auto listed = desk.List();
  ASSERT_TRUE(listed.ok()) << listed.status();
  ASSERT_EQ(listed->size(), 2u);
  EXPECT_NE((*listed)[0].damage(), "");
  EXPECT_FALSE((*listed)[0].complete());
  EXPECT_EQ((*listed)[1].pin(), backup_.pin());
  const auto refused = desk.Create({}, [](const v1::CreateBackupProgress&) {});
  EXPECT_EQ(ReasonOf(refused.status()), Reason::BACKUP_DAMAGED) << refused.status();
  ASSERT_TRUE(desk.Delete(backup_.backup_id()).ok());
  ASSERT_TRUE(desk.DeletePin(backup_.pin()).ok());
  EXPECT_TRUE(desk.List()->empty());
  EXPECT_TRUE(MustCreate(desk).complete());
}

TEST_F(RestoreTest, ABackupThatIsStoppedLeavesNothing) {
  const auto original = BackedUp({std::string(100'000, 'a')});
  BackupDesk desk(*original, Backups());
  for (const std::string_view when : {"pinned", "copied"}) {
    std::stop_source stop;
    desk.reached = [&](std::string_view step) {
      if (step == when) stop.request_stop();
    };
    const auto stopped = desk.Create(stop.get_token(), [](const v1::CreateBackupProgress&) {});
    EXPECT_EQ(ReasonOf(stopped.status()), Reason::BACKUP_FAILED) << stopped.status();
    EXPECT_EQ(desk.List()->size(), 1u);
  }
}

TEST_F(RestoreTest, OneAtATimeWorksOnTheFolder) {
  const auto original = BackedUp({"one"});
  BackupDesk desk(*original, Backups());
  BackupWork work;
  const auto held = BackupFolder::Open(Backups(), &work);
  ASSERT_TRUE(held.ok());
  EXPECT_EQ(ReasonOf(desk.List().status()), Reason::BACKUP_BUSY);
  EXPECT_EQ(ReasonOf(desk.Delete(1)), Reason::BACKUP_BUSY);
  EXPECT_EQ(ReasonOf(desk.DeletePin(1)), Reason::BACKUP_BUSY);
  EXPECT_EQ(ReasonOf(RestoreInto(Copy()).status()), Reason::BACKUP_BUSY);
  const auto refused = desk.Create({}, [](const v1::CreateBackupProgress&) {});
  EXPECT_EQ(ReasonOf(refused.status()), Reason::BACKUP_BUSY);
}

TEST_F(RestoreTest, WithoutAFolderPinsAreListedAndDeletedAllTheSame) {
  const auto original = BackedUp({"one"});
  BackupDesk desk(*original, "");
  const auto refused = desk.Create({}, [](const v1::CreateBackupProgress&) {});
  EXPECT_EQ(ReasonOf(refused.status()), Reason::BACKUPS_OFF);
  EXPECT_EQ(ReasonOf(desk.Delete(1)), Reason::BACKUPS_OFF);
  ASSERT_EQ(desk.List()->size(), 1u);
  ASSERT_TRUE(desk.DeletePin(backup_.pin()).ok());
  EXPECT_TRUE(desk.List()->empty());
}

TEST_F(RestoreTest, ARestoredLogHoldsNoPinsAndLeavesTheOthersBackupsTheirs) {
  const auto original = BackedUp({"one"});
  pb::Command deletion;
  deletion.mutable_delete_log()->set_collection_id(std::string(kCollection.view()));
  ASSERT_TRUE(original->ProposeAndWait(Command(deletion)).ok());
  BackupDesk of_original(*original, Backups());
  MustCreate(of_original);  // with garbage that the first one holds
  ASSERT_TRUE(RestoreInto(Copy()).ok());

  const auto copy = OpenShard(Copy());
  BackupDesk desk(*copy, Backups());
  const auto listed = desk.List();
  ASSERT_TRUE(listed.ok());
  ASSERT_EQ(listed->size(), 2u);
  for (const v1::BackupInfo& info : *listed) {
    EXPECT_EQ(info.pin(), 0u);
    EXPECT_EQ(info.incarnation(), original->incarnation().value);
  }
  // Its garbage from before is not held any more; it names this log's objects alone.
  const auto garbage = ReadGarbage(Snapshot(copy->store()), INT64_MAX - 1, 10);
  ASSERT_TRUE(garbage.ok());
  ASSERT_EQ(garbage->size(), 1u);
  EXPECT_EQ((*garbage)[0].incarnation(), copy->incarnation().value);
  // Deleting one of the original's backups here leaves its pin there.
  ASSERT_TRUE(desk.Delete(backup_.backup_id()).ok());
  EXPECT_EQ(ReadPins(Snapshot(original->store()))->size(), 2u);
  // A backup of its own.
  EXPECT_NE(MustCreate(desk).pin(), 0u);
}

// Segments from before this was kept say no incarnation: a restore fills it in.
TEST_F(RestoreTest, SegmentsKeepTheNamesOfTheirObjects) {
  auto original = OpenShard(Original());
  ASSERT_TRUE(original->ProposeAndWait(OpenLogOf(kCollection)).ok());
  const Incarnation before = original->incarnation();
  original.reset();
  {
    const auto store = Store::Open({.folder = Original() / "store"}, [](JournalPosition) {});
    ASSERT_TRUE(store.ok());
    v1::SegmentInfo old;
    old.set_token(1);
    old.set_number(1);
    old.set_up_to_seq_id(5);
    rocksdb::WriteBatch batch;
    batch.Put(SegmentKey(kCollection, SeqId(5)), old.SerializeAsString());
    ASSERT_TRUE((*store)->Write(&batch).ok());
    ASSERT_TRUE((*store)->Flush().ok());
  }
  original = OpenShard(Original());
  BackupDesk desk(*original, Backups());
  MustCreate(desk);
  ASSERT_TRUE(RestoreInto(Copy()).ok());
  const auto segments = ReadSegments(Snapshot(OpenShard(Copy())->store()), kCollection);
  ASSERT_TRUE(segments.ok());
  ASSERT_EQ(segments->size(), 1u);
  EXPECT_EQ((*segments)[0].incarnation(), before.value);
}

// Processes that are killed.

constexpr const char* kFolderVariable = "SLUICE_RESTORE_FOLDER";
constexpr const char* kWorkVariable = "SLUICE_RESTORE_WORK";
constexpr const char* kStepVariable = "SLUICE_RESTORE_STEP";

// Does `work` in a process of its own, which kills itself after `step`.
void KillAfter(const std::string& work, const std::string& step,
               const std::filesystem::path& folder) {
  const auto ended = ::sluice::testing::RunToEnd(
      {.program = std::filesystem::read_symlink("/proc/self/exe"),
       .arguments = {"--gtest_also_run_disabled_tests",
                     "--gtest_filter=RestoreTest.DISABLED_OneProcess"},
       .environment = {{kFolderVariable, folder}, {kWorkVariable, work}, {kStepVariable, step}}});
  ASSERT_TRUE(ended.ok()) << ended.status();
  ASSERT_EQ(ended->exit_status, 128 + SIGKILL) << ended->output << ended->error_output;
}

TEST_F(RestoreTest, DISABLED_OneProcess) {
  const char* const folder = std::getenv(kFolderVariable);
  ASSERT_TRUE(folder) << "part of another test";
  const std::filesystem::path at(folder);
  const std::string work = std::getenv(kWorkVariable);
  const auto reached = [](std::string_view step) {
    if (step == std::getenv(kStepVariable)) ::raise(SIGKILL);
  };
  if (work == "restore") {
    BackupWork progress;
    const auto restored = Restore({.backups = at / "backups",
                                   .data = at / "copy",
                                   .journal_file_bytes = 1 << 20,
                                   .reached = reached},
                                  &progress);
    FAIL() << restored.status();
  }
  const auto shard = OpenShard(at / "original");
  BackupDesk desk(*shard, at / "backups");
  desk.reached = reached;
  if (work == "create") MustCreate(desk);
  if (work == "delete") (void)desk.Delete(1);
  FAIL() << "it was not killed";
}

class KilledTest : public RestoreTest, public ::testing::WithParamInterface<const char*> {};

class KilledInARestoreTest : public KilledTest {};
TEST_P(KilledInARestoreTest, ItRefusesToOpenAndIsRestoredAgain) {
  BackedUp({"one", std::string(9000, 'b')}).reset();
  ASSERT_NO_FATAL_FAILURE(KillAfter("restore", GetParam(), folder_.path()));
  if (std::string_view(GetParam()) != "finished") {
    const auto refused = Shard::Open(SmallShard(Copy()));
    EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << refused.status();
    EXPECT_THAT(refused.status().message(), HasSubstr("not finished"));
    const auto again = RestoreInto(Copy());
    ASSERT_TRUE(again.ok()) << again.status();
  } else {
    EXPECT_TRUE(absl::IsFailedPrecondition(RestoreInto(Copy()).status()));
  }
  const auto copy = OpenShard(Copy());
  ASSERT_TRUE(copy);
  EXPECT_EQ(DocumentsOf(*copy).size(), 2u);
  Push(*copy, "new");
}
INSTANTIATE_TEST_SUITE_P(Steps, KilledInARestoreTest,
                         ::testing::Values("begun", "emptied", "copied", "renamed", "journal",
                                           "finished"),
                         [](const auto& step) { return std::string(step.param); });

class KilledInABackupTest : public KilledTest {};
TEST_P(KilledInABackupTest, EveryWholeBackupHasItsPinAndWhatIsLeftIsListedAndCanBeDeleted) {
  BackedUp({"one"}).reset();
  ASSERT_NO_FATAL_FAILURE(KillAfter("create", GetParam(), folder_.path()));
  const auto shard = OpenShard(Original());
  BackupDesk desk(*shard, Backups());
  const auto listed = desk.List();
  ASSERT_TRUE(listed.ok()) << listed.status();
  ASSERT_EQ(listed->size(), 2u);
  const bool copied = std::string_view(GetParam()) != "pinned";
  const bool sealed = std::string_view(GetParam()) == "sealed";
  const v1::BackupInfo& left = (*listed)[1];
  EXPECT_NE(left.pin(), 0u);
  EXPECT_EQ(left.backup_id() != 0, copied);
  EXPECT_EQ(left.complete(), sealed);
  ASSERT_TRUE(desk.DeletePin(left.pin()).ok());
  EXPECT_EQ(desk.List()->size(), 1u);
  EXPECT_TRUE(MustCreate(desk).complete());
}
INSTANTIATE_TEST_SUITE_P(Steps, KilledInABackupTest,
                         ::testing::Values("pinned", "copied", "verified", "sealed"),
                         [](const auto& step) { return std::string(step.param); });

class KilledInADeletionTest : public KilledTest {};
TEST_P(KilledInADeletionTest, ThePinOutlivesTheFilesAndGoesWithTheNextCall) {
  BackedUp({"one"}).reset();
  ASSERT_NO_FATAL_FAILURE(KillAfter("delete", GetParam(), folder_.path()));
  const auto shard = OpenShard(Original());
  BackupDesk desk(*shard, Backups());
  const auto listed = desk.List();
  ASSERT_TRUE(listed.ok());
  if (std::string_view(GetParam()) == "deleted") {
    ASSERT_EQ(listed->size(), 1u);
    EXPECT_EQ((*listed)[0].backup_id(), 0u);
    EXPECT_FALSE((*listed)[0].complete());
    ASSERT_TRUE(desk.DeletePin((*listed)[0].pin()).ok());
  }
  EXPECT_TRUE(desk.List()->empty());
}
INSTANTIATE_TEST_SUITE_P(Steps, KilledInADeletionTest, ::testing::Values("deleted", "unpinned"),
                         [](const auto& step) { return std::string(step.param); });

}  // namespace
}  // namespace sluice::log

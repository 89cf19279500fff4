#include "services/log/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "common/errors/errors.h"
#include "services/log/faulty_files.h"
#include "services/log/test_support.h"

namespace sluice::log {
namespace {

using Groups = std::map<uint64_t, std::string>;

class JournalTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<Journal>> Open(uint64_t applied = 0) {
    replayed_.clear();
    return Journal::Open({.folder = folder_.path(), .file_bytes = file_bytes_, .files = &files_},
                         JournalPosition(applied), [&](JournalPosition p, std::string_view group) {
                           replayed_[p.value] = group;
                           return absl::OkStatus();
                         });
  }
  std::unique_ptr<Journal> MustOpen(uint64_t applied = 0) {
    auto journal = Open(applied);
    EXPECT_TRUE(journal.ok()) << journal.status();
    return journal.ok() ? *std::move(journal) : nullptr;
  }
  static absl::Status Append(Journal& journal, std::string_view group) {
    const std::string_view parts[] = {group.substr(0, group.size() / 2),
                                      group.substr(group.size() / 2)};
    return journal.Append(parts);
  }
  std::vector<std::filesystem::path> Files() const {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      if (entry.path().extension() == ".journal") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files;
  }
  std::string Read(const std::filesystem::path& path) { return *files_.Read(path); }
  static void Overwrite(const std::filesystem::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }

  TemporaryFolder folder_;
  FaultyFiles files_;
  uint64_t file_bytes_ = 4096;
  Groups replayed_;
};

TEST_F(JournalTest, GroupsComeBackInOrderWithTheirPositions) {
  {
    const auto journal = MustOpen();
    ASSERT_TRUE(Append(*journal, "first").ok());
    ASSERT_TRUE(Append(*journal, "second").ok());
    EXPECT_EQ(journal->last(), JournalPosition(2));
  }
  const auto journal = MustOpen();
  EXPECT_EQ(replayed_, (Groups{{1, "first"}, {2, "second"}}));
  ASSERT_TRUE(Append(*journal, "third").ok());
  EXPECT_EQ(journal->last(), JournalPosition(3));
}

TEST_F(JournalTest, NothingOfWhatWasShedOutlivesItsRemoval) {
  const std::string secret = "what nobody is to read any more";
  const auto found = [&] {
    size_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      if (Read(entry.path()).find(secret) != std::string::npos) ++files;
    }
    return files > 0;
  };
  const auto journal = MustOpen();
  // More files than there are spares, and one that is not full.
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(Append(*journal, secret + std::string(500, 'x')).ok());
  ASSERT_TRUE(journal->RemoveThrough(JournalPosition(20)).ok());
  ASSERT_TRUE(journal->Shed().ok());
  const size_t files = Files().size();
  ASSERT_TRUE(journal->Shed().ok());
  EXPECT_EQ(Files().size(), files) << "the new file is as good as another";
  ASSERT_TRUE(Append(*journal, "what comes after").ok());
  EXPECT_TRUE(found());
  ASSERT_TRUE(journal->RemoveThrough(JournalPosition(40)).ok());
  EXPECT_FALSE(found());
  ASSERT_TRUE(MustOpen(/*applied=*/40));
  EXPECT_EQ(replayed_, (Groups{{41, "what comes after"}}));
}

TEST_F(JournalTest, OneThatIsBegunForARestoredStoreGoesOnFromItsPosition) {
  // Without it, groups would be missing.
  EXPECT_TRUE(absl::IsDataLoss(Open(/*applied=*/41).status()));
  const JournalOptions options{
      .folder = folder_.path(), .file_bytes = file_bytes_, .files = &files_};
  ASSERT_TRUE(Journal::Begin(options, JournalPosition(41)).ok());
  for (const char* group : {"first", "second"}) {
    const auto journal = MustOpen(/*applied=*/41);
    ASSERT_TRUE(Append(*journal, group).ok());
  }
  EXPECT_EQ(MustOpen(/*applied=*/41)->last(), JournalPosition(43));
  EXPECT_EQ(replayed_, (Groups{{42, "first"}, {43, "second"}}));
  EXPECT_TRUE(absl::IsFailedPrecondition(Journal::Begin(options, JournalPosition(41))));
}

TEST_F(JournalTest, WhatWasAppliedIsNotReplayed) {
  {
    const auto journal = MustOpen();
    ASSERT_TRUE(Append(*journal, "first").ok());
    ASSERT_TRUE(Append(*journal, "second").ok());
  }
  MustOpen(1);
  EXPECT_EQ(replayed_, (Groups{{2, "second"}}));
}

TEST_F(JournalTest, AGroupLargerThanAFileGetsALargerFile) {
  const std::string large(20'000, 'x');
  {
    const auto journal = MustOpen();
    ASSERT_TRUE(Append(*journal, "small").ok());
    ASSERT_TRUE(Append(*journal, large).ok());
    ASSERT_TRUE(Append(*journal, "small again").ok());
  }
  MustOpen();
  EXPECT_EQ(replayed_, (Groups{{1, "small"}, {2, large}, {3, "small again"}}));
}

TEST_F(JournalTest, ATornEndIsCutOffWhereverItIsTorn) {  // invariant 2
  {
    const auto journal = MustOpen();
    ASSERT_TRUE(Append(*journal, "kept").ok());
    ASSERT_TRUE(Append(*journal, "torn, at some byte of it").ok());
  }
  const std::filesystem::path path = Files().at(0);
  const std::string whole = Read(path);
  const size_t begin = 64 + 40;  // the file's header, and the first group
  const size_t end = begin + 32 + 24;
  for (size_t cut = begin; cut < end; ++cut) {
    std::string torn = whole;
    std::fill(torn.begin() + static_cast<ptrdiff_t>(cut), torn.end(), '\0');
    Overwrite(path, torn);
    const auto journal = MustOpen();
    EXPECT_EQ(replayed_, (Groups{{1, "kept"}})) << "torn at byte " << cut;
    EXPECT_EQ(journal->last(), JournalPosition(1));
  }
}

TEST_F(JournalTest,
       AFlippedBitInASealedJournalIsSaidOrHarmlessButNeverSkipsAGroup) {  // invariant 1
  {
    const auto journal = MustOpen();
    for (const char* group : {"one", "two", "three"}) ASSERT_TRUE(Append(*journal, group).ok());
    ASSERT_TRUE(journal->Seal().ok());
  }
  const Groups all{{1, "one"}, {2, "two"}, {3, "three"}};
  const std::filesystem::path path = Files().at(0);
  const std::string whole = Read(path);
  int said = 0;
  for (size_t i = 0; i < 64 + 4 * 40; ++i) {
    for (const char bit : {'\x01', '\x80'}) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ bit);
      Overwrite(path, damaged);
      const auto journal = Open();
      if (journal.ok()) {
        EXPECT_EQ(replayed_, all) << "byte " << i;
        continue;
      }
      EXPECT_TRUE(absl::IsDataLoss(journal.status())) << journal.status();
      EXPECT_THAT(std::string(journal.status().message()), testing::HasSubstr(path.string()));
      ++said;
    }
  }
  // All but the padding, the rest of the file's header, and the seal itself.
  EXPECT_EQ(said, 2 * (36 + (32 + 3) + (32 + 3) + (32 + 5)));
}

TEST_F(JournalTest, AHoleInAnOlderFileIsDataLossThatNamesFileAndPosition) {
  {
    const auto journal = MustOpen();
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(Append(*journal, std::string(1500, 'a')).ok());
  }
  ASSERT_GT(Files().size(), 1);
  std::string bytes = Read(Files()[0]);
  bytes[64 + 32 + 1504 + 40] ^= 1;
  Overwrite(Files()[0], bytes);
  const auto journal = Open();
  ASSERT_TRUE(absl::IsDataLoss(journal.status())) << journal.status();
  EXPECT_THAT(std::string(journal.status().message()), testing::HasSubstr(Files()[0].string()));
  EXPECT_THAT(std::string(journal.status().message()), testing::HasSubstr("group 2"));
}

// A verification goes on where a recovery ends.
TEST_F(JournalTest, WhatIsBehindDamageIsReadIfItIsAskedFor) {
  {
    const auto journal = MustOpen();
    for (const char* group : {"one", "two", "three"}) ASSERT_TRUE(Append(*journal, group).ok());
    for (int i = 0; i < 6; ++i) ASSERT_TRUE(Append(*journal, std::string(3000, 'a')).ok());
    ASSERT_TRUE(journal->Seal().ok());
  }
  std::string bytes = Read(Files()[0]);
  bytes[64 + 40 + 33] ^= 1;
  Overwrite(Files()[0], bytes);
  std::filesystem::remove(Files()[2]);
  std::string newest = Read(Files().back());
  newest[64 + 32] ^= 1;
  Overwrite(Files().back(), newest);

  std::vector<std::pair<uint64_t, uint64_t>> lost;
  const auto on_damage = [&](const JournalDamage& damage) {
    EXPECT_TRUE(absl::IsDataLoss(damage.error)) << damage.error;
    lost.emplace_back(damage.first.value, damage.last.value);
    return absl::OkStatus();
  };
  std::vector<uint64_t> read;
  const auto on_group = [&](JournalPosition position, std::string_view) {
    read.push_back(position.value);
    return absl::OkStatus();
  };
  const auto listing = ListJournal(files_, folder_.path(), JournalPosition(0), on_damage);
  ASSERT_TRUE(listing.ok()) << listing.status();
  const auto last = ReadJournal(files_, folder_.path(), listing->files, {}, on_group, on_damage);
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_EQ(*last, JournalPosition(10));
  EXPECT_THAT(lost, testing::ElementsAre(std::pair(2, 2), std::pair(6, 6), std::pair(9, 9)));
  EXPECT_THAT(read, testing::ElementsAre(1, 3, 4, 5, 7, 8, 10));
  // Not what is beyond: it may be being written.
  read.clear();
  ASSERT_TRUE(ReadJournal(files_, folder_.path(), listing->files,
                          {.synced = JournalPosition(5), .last = JournalPosition(5)}, on_group,
                          on_damage)
                  .ok());
  EXPECT_THAT(read, testing::ElementsAre(1, 3, 4, 5));
}

TEST_F(JournalTest, AMissingFileIsDataLoss) {
  {
    const auto journal = MustOpen();
    for (int i = 0; i < 6; ++i) ASSERT_TRUE(Append(*journal, std::string(3000, 'a')).ok());
  }
  ASSERT_GT(Files().size(), 3);
  std::filesystem::remove(Files()[1]);
  EXPECT_TRUE(absl::IsDataLoss(Open().status()));
  std::filesystem::remove(Files()[0]);
  EXPECT_TRUE(absl::IsDataLoss(Open().status()));
}

TEST_F(JournalTest, AJournalThatEndsBeforeWhatWasAppliedIsDataLoss) {
  {
    const auto journal = MustOpen();
    ASSERT_TRUE(Append(*journal, "one").ok());
  }
  EXPECT_TRUE(absl::IsDataLoss(Open(2).status()));
}

TEST_F(JournalTest, FilesWhoseGroupsArePersistedAreUsedAgain) {
  const auto journal = MustOpen();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Append(*journal, std::string(3000, 'a')).ok());
  EXPECT_EQ(Files().size(), 5);
  ASSERT_TRUE(journal->RemoveThrough(JournalPosition(4)).ok());
  EXPECT_EQ(Files().size(), 1);
  const uint64_t bytes = journal->DiskBytes();
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Append(*journal, std::string(3000, 'b')).ok());
  EXPECT_EQ(journal->DiskBytes(), bytes);
  MustOpen(5);
  EXPECT_EQ(replayed_, (Groups{{6, std::string(3000, 'b')}, {7, std::string(3000, 'b')}}));
}

TEST_F(JournalTest, WhatWasNotSyncedWhenPowerWasLostIsCutOff) {
  {
    const auto journal = MustOpen();
    ASSERT_TRUE(Append(*journal, "kept").ok());
    files_.fails = [](std::string_view call, const auto&) { return call == "sync"; };
    EXPECT_FALSE(Append(*journal, "lost").ok());
  }
  files_.LosePower();
  files_.fails = [](std::string_view, const auto&) { return false; };
  MustOpen();
  EXPECT_EQ(replayed_, (Groups{{1, "kept"}}));
}

TEST_F(JournalTest, AGroupWhoseWriteOrSyncFailedMayBeInAndIsCutOffByReopening) {  // invariant 10
  for (const std::string_view failing : {"write", "sync"}) {
    const auto journal = MustOpen(replayed_.empty() ? 0 : replayed_.rbegin()->first);
    const uint64_t before = journal->last().value;
    ASSERT_TRUE(Append(*journal, "kept").ok());
    files_.fails = [&](std::string_view call, const auto&) { return call == failing; };
    const absl::Status failed = Append(*journal, "failed");
    EXPECT_EQ(ReasonOf(failed), Reason::COMMIT_UNKNOWN);
    EXPECT_EQ(OutcomeOf(failed), Outcome::kUnknown);
    EXPECT_FALSE(journal->Reopen().ok());
    EXPECT_FALSE(Append(*journal, "refused").ok());
    files_.fails = [](std::string_view, const auto&) { return false; };
    ASSERT_TRUE(journal->Reopen().ok());
    ASSERT_TRUE(Append(*journal, "after").ok());
    EXPECT_EQ(journal->last(), JournalPosition(before + 2));
    MustOpen(before);
    EXPECT_EQ(replayed_, (Groups{{before + 1, "kept"}, {before + 2, "after"}}));
  }
}

TEST_F(JournalTest, AGroupForWhichThereIsNoFileIsNotIn) {
  const auto journal = MustOpen();
  ASSERT_TRUE(Append(*journal, "kept").ok());
  files_.fails = [](std::string_view call, const auto&) {
    return call == "open";
  };  // as on a full disk
  const absl::Status failed = Append(*journal, std::string(4000, 'x'));
  EXPECT_EQ(ReasonOf(failed), Reason::READ_ONLY);
  EXPECT_EQ(OutcomeOf(failed), Outcome::kNotIn);
  files_.fails = [](std::string_view, const auto&) { return false; };
  ASSERT_TRUE(journal->Reopen().ok());
  ASSERT_TRUE(Append(*journal, "after").ok());
  MustOpen();
  EXPECT_EQ(replayed_, (Groups{{1, "kept"}, {2, "after"}}));
}

TEST_F(JournalTest, AFailureAtAnyStepOfStartingAFileIsHealedByReopening) {
  const std::string_view steps[] = {"open", "write", "sync", "rename", "syncfolder"};
  for (const std::string_view step : steps) {
    const auto journal = MustOpen();
    const Groups before = replayed_;
    files_.fails = [&](std::string_view call, const auto&) { return call == step; };
    EXPECT_FALSE(Append(*journal, "not in").ok()) << step;
    files_.fails = [](std::string_view, const auto&) { return false; };
    ASSERT_TRUE(journal->Reopen().ok()) << step;
    ASSERT_TRUE(Append(*journal, std::string(step)).ok());
    MustOpen();
    EXPECT_EQ(replayed_.size(), before.size() + 1);
    EXPECT_EQ(replayed_.rbegin()->second, step);
  }
}

TEST_F(JournalTest, ASealIsWrittenOnceAndNotReplayed) {
  {
    const auto journal = MustOpen();
    EXPECT_TRUE(journal->sealed());
    ASSERT_TRUE(Append(*journal, "one").ok());
    EXPECT_FALSE(journal->sealed());
    ASSERT_TRUE(journal->Seal().ok());
    ASSERT_TRUE(journal->Seal().ok());
    EXPECT_EQ(journal->last(), JournalPosition(2));
    ASSERT_TRUE(Append(*journal, "two").ok());
  }
  MustOpen();
  EXPECT_EQ(replayed_, (Groups{{1, "one"}, {3, "two"}}));
}

// The format is fixed: version 1 of the file and of the group.
TEST_F(JournalTest, AFileOfVersion1HasTheseBytes) {
  {
    const auto journal = MustOpen();
    ASSERT_TRUE(Append(*journal, "golden").ok());
  }
  std::string bytes = Read(Files().at(0)).substr(0, 64 + 40);
  // Number 1, first position 1; group: length 6, position 1, nothing synced before.
  EXPECT_EQ(bytes.substr(0, 16), std::string("SLUICEJ1\x01\0\0\0\0\0\0\0", 16));
  EXPECT_EQ(bytes.substr(24, 8), std::string("\x01\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(bytes.substr(68, 4), std::string("\x06\0\0\0", 4));
  EXPECT_EQ(bytes.substr(72, 8), bytes.substr(16, 8));  // the file's id
  EXPECT_EQ(bytes.substr(80, 16), std::string("\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16));
  EXPECT_EQ(bytes.substr(96), std::string("golden\0\0", 8));
}

}  // namespace
}  // namespace sluice::log

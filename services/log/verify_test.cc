// What a verification says of rows that were damaged on purpose.
#include "services/log/verify.h"

#include <gmock/gmock.h>

#include <functional>

#include "absl/strings/str_cat.h"
#include "common/base/coding.h"
#include "common/base/crc32c.h"
#include "services/log/append.h"
#include "services/log/file.h"
#include "services/log/log_machine_fixture.h"
#include "services/log/shard.h"
#include "services/log/verify_tables.h"

namespace sluice::log {
namespace {

using ::testing::HasSubstr;

class VerifyTest : public LogMachineTest {
 protected:
  // A log of five appends of two records, the first two of which are applied, in two segments; a
  // cursor, a row that lacks its vector, and a request id for each append.
  void SetUp() override {
    CreateCatalogRows();
    for (uint64_t i = 0; i < 2; ++i) {
      PushTwo();
      machine_.time_us += 11 * kSecond;
      const ClaimAnswer claim = Claim();
      v1::CommitRequest commit = CompactionOf(claim, 1, 2 * i, 2 * i + 2);
      if (i == 0) {
        v1::MissingVector& missing = *commit.mutable_compaction()->add_missing();
        missing.set_id("id-0");
        missing.set_reason(v1::MISSING_REASON_REFUSED);
      }
      ASSERT_TRUE(Commit(commit).ok());
      ASSERT_TRUE(Release(commit.lease()).ok());
    }
    for (int i = 0; i < 3; ++i) PushTwo();
    pb::Command cursor;
    cursor.mutable_commit_cursor()->set_collection_id(std::string(id_.view()));
    cursor.mutable_commit_cursor()->set_name("mine");
    cursor.mutable_commit_cursor()->set_seq_id(3);
    ASSERT_TRUE(machine_.Apply(Command(cursor)).ok());
    Claim();
    pb::Command pin;
    pin.mutable_begin_pin();
    ASSERT_TRUE(machine_.Apply(Command(pin)).ok());
    ASSERT_THAT(machine_.Verify(), ::testing::IsEmpty());
  }

  void CreateCatalogRows() {
    pb::Command command;
    v1::Collection& collection = *command.mutable_create_collection()->mutable_collection();
    collection.set_id(id_.ToString());
    collection.set_tenant("t");
    collection.set_database("d");
    collection.set_name("c");
    ASSERT_TRUE(machine_.Apply(Command(command)).ok());
    command.mutable_activate_collection()->set_collection_id(std::string(id_.view()));
    ASSERT_TRUE(machine_.Apply(Command(command)).ok());
  }
  void PushTwo() {
    const std::string id = absl::StrCat("id-", pushes_++);
    request_ids_.push_back(NewRequestId());
    ASSERT_TRUE(
        Push({Record(id), Record(id + "b", std::string(5'000, 'x'))}, request_ids_.back()).ok());
  }

  std::string Get(const std::string& key) {
    return (*Snapshot(machine_.store()).Get(key)).value_or("");
  }
  void Put(const std::string& key, const std::string& value) {
    rocksdb::WriteBatch batch;
    ASSERT_TRUE(batch.Put(key, value).ok());
    ASSERT_TRUE(machine_.store().Write(&batch).ok());
  }
  void Delete(const std::string& key) {
    rocksdb::WriteBatch batch;
    ASSERT_TRUE(batch.Delete(key).ok());
    ASSERT_TRUE(machine_.store().Write(&batch).ok());
  }
  template <class Message>
  void Change(const std::string& key, const std::function<void(Message&)>& change) {
    Message message;
    ASSERT_TRUE(message.ParseFromString(Get(key)));
    change(message);
    Put(key, message.SerializeAsString());
  }
  void ChangeLog(const std::function<void(pb::LogState&)>& change) {
    Change<pb::LogState>(LogKey(id_), change);
  }
  std::string Append(uint64_t last) const { return AppendKey(id_, SeqId(last)); }
  // The append that ends with `last`, changed, with checksums that fit it.
  void ChangeAppend(uint64_t last, const std::function<void(std::string&)>& change) {
    std::string value = Get(Append(last));
    change(value);
    const size_t tables = 12 * size_t{GetFixed<uint32_t>(value.data() + 16)};
    const std::string_view records = std::string_view(value).substr(kAppendHeaderBytes + tables);
    std::string crc;
    PutFixed<uint32_t>(&crc, Crc32c(records));
    value.replace(20, 4, crc);
    crc.clear();
    PutFixed<uint32_t>(&crc,
                       Crc32c(std::string_view(value).substr(8, kAppendHeaderBytes - 8 + tables)));
    value.replace(4, 4, crc);
    Put(Append(last), value);
  }

  // The first finding, which there has to be.
  v1::VerifyFinding First() {
    const auto findings = machine_.Verify();
    EXPECT_FALSE(findings.empty());
    return findings.empty() ? v1::VerifyFinding() : findings.front();
  }
  // That the rows as they are now are found to contradict each other, in this log.
  void ExpectContradiction(const std::string& words, uint64_t first = 0, uint64_t last = 0) {
    const v1::VerifyFinding finding = First();
    EXPECT_EQ(finding.severity(), v1::VERIFY_SEVERITY_CONTRADICTION) << finding.DebugString();
    EXPECT_THAT(finding.what(), HasSubstr(words));
    EXPECT_EQ(finding.collection_id(), id_.ToString());
    EXPECT_THAT(finding.what(), HasSubstr(id_.ToString()));
    EXPECT_EQ(finding.first_seq_id(), first) << finding.DebugString();
    EXPECT_EQ(finding.last_seq_id(), last) << finding.DebugString();
    EXPECT_FALSE(finding.advice().empty());
  }
  void ExpectDamage(const std::string& words, uint64_t first = 0, uint64_t last = 0) {
    const v1::VerifyFinding finding = First();
    EXPECT_EQ(finding.severity(), v1::VERIFY_SEVERITY_DAMAGE) << finding.DebugString();
    EXPECT_THAT(finding.what(), HasSubstr(words));
    EXPECT_EQ(finding.collection_id(), id_.ToString());
    EXPECT_EQ(finding.first_seq_id(), first) << finding.DebugString();
    EXPECT_EQ(finding.last_seq_id(), last) << finding.DebugString();
  }

  int pushes_ = 0;
  std::vector<RequestId> request_ids_;
};

TEST_F(VerifyTest, AnAppendWhoseBytesChangedIsDamage) {
  std::string value = Get(Append(8));
  value.back() ^= 1;
  Put(Append(8), value);
  ExpectDamage("records do not match their checksum", 7, 8);
  // What comes after it is looked at all the same.
  value = Get(Append(10));
  value[kAppendHeaderBytes] ^= 1;
  Put(Append(10), value);
  const auto findings = machine_.Verify();
  ASSERT_EQ(findings.size(), 2);
  EXPECT_THAT(findings[1].what(), HasSubstr("header does not match its checksum"));
  EXPECT_EQ(findings[1].first_seq_id(), 9);
  EXPECT_EQ(findings[1].last_seq_id(), 10);
}

TEST_F(VerifyTest, WhatSegmentsReflectMayBeTrimmed) {
  Put(Append(2), "no append");
  ExpectDamage("wrong length", 1, 2);
  EXPECT_THAT(First().advice(), HasSubstr("trim the log up to SeqId 2"));
  Put(Append(10), "no append");
  EXPECT_THAT(machine_.Verify().back().advice(), HasSubstr("restore"));
}

TEST_F(VerifyTest, AnAppendThatIsMissingIsDamageUpToTheNext) {
  Delete(Append(6));
  ExpectDamage("records are missing", 5, 6);
  Delete(Append(8));
  ExpectDamage("records are missing", 5, 8);
  Delete(Append(10));
  ExpectDamage("records are missing", 5, 10);
}

TEST_F(VerifyTest, AnAppendUnderAnotherKeyIsDamage) {
  Put(Append(9), Get(Append(10)));
  ExpectDamage("not what its key says", 9, 9);
}

TEST_F(VerifyTest, AnAppendBeyondTheTailIsFound) {
  Put(Append(12), Get(Append(10)));
  ExpectContradiction("beyond the tail", 11, 12);
}

TEST_F(VerifyTest, AnAppendThatIsWholeAndNotWhatWasPushedIsFound) {
  const std::string before = Get(Append(10));
  ChangeAppend(10, [](std::string& value) { value[kAppendHeaderBytes + 8] ^= 1; });
  ExpectContradiction("tables are not those of its records", 9, 10);
  Put(Append(10), before);
  ChangeAppend(10, [](std::string& value) { value.back() = '\xff'; });
  ExpectContradiction("records that no push may have", 9, 10);
  Put(Append(10), before);
  ChangeAppend(10, [](std::string& value) { value[70] ^= 1; });
  ExpectContradiction("do not match its fingerprint", 9, 10);
  Put(Append(10), before);
  ChangeAppend(10, [](std::string& value) { value[32] ^= 1; });
  ExpectContradiction("place in the log", 9, 10);
}

TEST_F(VerifyTest, ARequestIdIsThatOfItsAppend) {
  const std::string key = DedupeKey(request_ids_[3]);
  const std::string before = Get(key);
  Delete(key);
  ExpectContradiction("forgotten too early", 7, 8);
  Put(key, before);
  Change<pb::DedupeState>(key, [](pb::DedupeState& row) { row.set_fingerprint_low(1); });
  ExpectContradiction("stands for another", 7, 8);
  Put(key, before);
  const std::string other = DedupeKey(NewRequestId());
  Put(other, before);
  Change<pb::DedupeState>(other, [](pb::DedupeState& row) { row.set_first_seq_id(100); });
  ExpectContradiction("records that the log never had", 100, 101);
  Change<pb::DedupeState>(other, [](pb::DedupeState& row) { row.set_first_seq_id(8); });
  ExpectContradiction("an append that ends at SeqId 9", 0, 9);
  Put(other, "\xff");
  EXPECT_THAT(First().what(), HasSubstr("the row of a request id"));
}

TEST_F(VerifyTest, ALogsStateAgreesWithItself) {
  const std::string before = Get(LogKey(id_));
  const auto expect = [&](const std::function<void(pb::LogState&)>& change,
                          const std::string& words) {
    SCOPED_TRACE(words);
    ChangeLog(change);
    ExpectContradiction(words);
    Put(LogKey(id_), before);
  };
  expect([](pb::LogState& log) { log.set_applied(11); }, "not in order");
  expect([](pb::LogState& log) { log.set_trim(5); }, "not in order");
  expect([](pb::LogState& log) { log.set_applied_bytes(log.tail_bytes() + 1); }, "do not fit");
  expect([](pb::LogState& log) { log.set_let_go(5); }, "did not pass");
  expect([](pb::LogState& log) { log.set_purged(true); }, "not deleted");
  expect([](pb::LogState& log) { log.set_cursors(2); }, "its state counts 2");
  expect([](pb::LogState& log) { log.set_slowest_cursor(4); }, "slowest cursor");
  expect([](pb::LogState& log) { log.set_missing_vectors(3); }, "its state counts 3");
  expect([](pb::LogState& log) { log.set_segments(9); }, "segments; its state counts 9");
  expect([](pb::LogState& log) { log.mutable_compaction_lease()->set_token(1); }, "has ended");
  Put(LogKey(id_), "\xff");
  ExpectDamage("the log's state cannot be read");
}

TEST_F(VerifyTest, TheShardsCountsAgreeWithItsLogs) {
  const std::string before = Get(ShardKey());
  const auto expect = [&](const std::function<void(pb::ShardState&)>& change,
                          const std::string& words) {
    SCOPED_TRACE(words);
    Change<pb::ShardState>(ShardKey(), change);
    EXPECT_EQ(First().severity(), v1::VERIFY_SEVERITY_CONTRADICTION);
    EXPECT_THAT(First().what(), HasSubstr(words));
    EXPECT_FALSE(First().advice().empty());
    Put(ShardKey(), before);
  };
  ASSERT_EQ(machine_.shard().segments(), 2u);
  expect([](pb::ShardState& shard) { shard.set_segments(3); },
         "logs count 2 segments; the shard counts 3");
  expect([](pb::ShardState& shard) { shard.set_segments(1); }, "the shard counts 1");
  expect([](pb::ShardState& shard) { shard.set_dedupe_bytes(shard.dedupe_bytes() + 1); },
         "rows of request ids take");
  expect([](pb::ShardState& shard) { shard.set_last_pin(0); }, "pin 1 is none that was begun");
  expect([](pb::ShardState& shard) { shard.set_backup_epoch(0); }, "pin 1 is of backup epochs 1");
  Change<pb::PinState>(PinKey(1), [](pb::PinState& pin) { pin.set_sealed_epoch(1); });
  EXPECT_THAT(First().what(), HasSubstr("pin 1 is of backup epochs 1 and 1"));
  Change<pb::PinState>(PinKey(1), [](pb::PinState& pin) { pin.clear_sealed_epoch(); });
  ChangeLog([](pb::LogState& log) { log.set_opened_backup_epoch(2); });
  ExpectContradiction("opened in backup epoch 2; the shard's is 1");
}

TEST_F(VerifyTest, SegmentsFromBeforeTheyWereCountedAreNoContradiction) {
  Change<pb::ShardState>(ShardKey(), [](pb::ShardState& shard) { shard.clear_segments(); });
  ChangeLog([](pb::LogState& log) { log.clear_segments(); });
  ASSERT_TRUE(machine_.store().Flush().ok());
  machine_.Reopen();
  EXPECT_THAT(machine_.Verify(), ::testing::IsEmpty());
  PushTwo();
  EXPECT_EQ(machine_.shard().segments(), 0u);
  EXPECT_THAT(machine_.Verify(), ::testing::IsEmpty());
  machine_.time_us += 31 * kSecond;
  const ClaimAnswer claim = Claim();
  ASSERT_TRUE(Commit(CompactionOf(claim, 1, 4, 6)).ok());
  EXPECT_EQ(machine_.shard().segments(), 3u);
  EXPECT_THAT(machine_.Verify(), ::testing::IsEmpty());
  ASSERT_TRUE(LogMachineTest::Delete().ok());
  EXPECT_THAT(machine_.Verify(), ::testing::IsEmpty());
}

TEST_F(VerifyTest, ADeletedCollectionGoesAlsoWhereARowOfItIsDamaged) {
  pb::Command pin;
  pin.mutable_end_pin()->set_number(1);
  ASSERT_TRUE(machine_.Apply(Command(pin)).ok());
  Put(SegmentKey(id_, SeqId(4)), "\xff");
  ASSERT_TRUE(LogMachineTest::Delete().ok());
  machine_.time_us += machine_.policy.grace_us();
  Collect(Garbage(0));
  pb::LogState state;
  ASSERT_TRUE(state.ParseFromString(Get(LogKey(id_))));
  EXPECT_TRUE(state.purged());
  EXPECT_EQ(machine_.shard().segments(), 0u);
  EXPECT_THAT(machine_.Verify(), ::testing::IsEmpty());
}

TEST_F(VerifyTest, ALogsPositionsAgreeWithItsAppends) {
  const std::string before = Get(LogKey(id_));
  const auto expect = [&](const std::function<void(pb::LogState&)>& change, uint64_t first) {
    ChangeLog(change);
    ExpectContradiction("place in the log", first, first + 1);
    Put(LogKey(id_), before);
  };
  expect([](pb::LogState& log) { log.set_tail_bytes(log.tail_bytes() + 1); }, 9);
  expect([](pb::LogState& log) { log.set_last_commit_us(1); }, 9);
  expect([](pb::LogState& log) { log.set_applied_bytes(log.applied_bytes() + 1); }, 5);
  expect([](pb::LogState& log) { log.set_oldest_unapplied_us(1); }, 5);
  expect([](pb::LogState& log) { log.set_trim_bytes(1); }, 1);
  ChangeLog([](pb::LogState& log) { log.set_tail(12); });
  ExpectDamage("records are missing", 11, 12);
}

TEST_F(VerifyTest, RowsOfALogAreWhatTheirKeysSay) {
  const std::string cursor = CursorKey(id_, "mine");
  const std::string segment = SegmentKey(id_, SeqId(4));
  const std::string cursor_before = Get(cursor);
  Change<pb::CursorState>(cursor, [](pb::CursorState& row) { row.set_seq_id(11); });
  ExpectContradiction("outside of 0 to 10", 0, 0);
  Put(cursor, "\xff");
  ExpectDamage("the row of a cursor cannot be read");
  Put(cursor, cursor_before);

  const std::string segment_before = Get(segment);
  Change<v1::SegmentInfo>(segment, [](v1::SegmentInfo& row) { row.set_up_to_seq_id(3); });
  ExpectContradiction("not what its key says", 3, 3);
  Put(segment, segment_before);
  Change<v1::SegmentInfo>(segment, [](v1::SegmentInfo& row) { row.set_after_seq_id(1); });
  ExpectContradiction("covers what others cover", 2, 4);
  Put(segment, segment_before);
  Change<v1::SegmentInfo>(segment, [](v1::SegmentInfo& row) { row.set_token(99); });
  ExpectContradiction("never granted", 3, 4);
  Put(segment, "\xff");
  ExpectDamage("a segment's row cannot be read");
  Put(segment, segment_before);

  Put(TokenKey(id_, LeaseToken(77)), "");
  ExpectContradiction("lease token 77 was never granted");
  Put(TokenKey(id_, LeaseToken(1)), "\xff");
  EXPECT_THAT(First().what(), HasSubstr("lease token"));
  Delete(TokenKey(id_, LeaseToken(77)));
  Put(TokenKey(id_, LeaseToken(1)), "");
  Put(MissingKey(id_, std::string(16, 'h')), "");
  ExpectContradiction("not of the id that its key says");
}

TEST_F(VerifyTest, WhatIsDueIsWhatTheLogSays) {
  Put(EncodeDueKey({DueKind::kMerge, 17, id_}), "");
  ExpectContradiction("work is due at 17");
  Delete(EncodeDueKey({DueKind::kMerge, 17, id_}));
  Delete(EncodeDueKey({DueKind::kCompaction, State().compaction_due_us(), id_}));
  ExpectContradiction("of which there is no row");
}

TEST_F(VerifyTest, RowsOfNoLogAreChecked) {
  const auto expect = [&](const std::string& key, const std::string& value,
                          const std::string& words) {
    SCOPED_TRACE(words);
    const std::string before = Get(key);
    Put(key, value);
    EXPECT_THAT(First().what(), HasSubstr(words));
    if (before.empty()) {
      Delete(key);
    } else {
      Put(key, before);
    }
    EXPECT_THAT(machine_.Verify(), ::testing::IsEmpty());
  };
  expect("Xyz", "", "no known kind: Xyz");
  expect(ShardKey(), "\xff", "the shard's row");
  expect("Mx", "", "like the shard's");
  expect(PinKey(9), "", "pin 9");
  expect(PinKey(1), "\xff", "a backup's pin");
  expect("Gx", "", "a garbage row");
  expect("Dx", "", "a row of due work");
  expect("Lx", "", "a log's row");
  expect(CollectionKey(id_), "\xff", "a collection's row");
  expect(NameKey("t", "d", "c"), "short", "a name's row");
  expect(NameKey("t", "d", "other"), std::string(id_.view()), "is not the collection's");
  Delete(NameKey("t", "d", "c"));
  ExpectContradiction("does not have the name");
  Put(NameKey("t", "d", "c"), std::string(id_.view()));
  Delete(LogKey(id_));
  EXPECT_THAT(First().what(), HasSubstr("has no log"));
}

TEST_F(VerifyTest, ManyFindingsAreCountedAndOnlySomeNamed) {
  for (uint64_t i = 0; i < kMaxVerifyFindings + 5; ++i) Put(absl::StrCat("G", i), "");
  uint64_t named = 0;
  VerifyOptions options;
  options.bytes_per_second = 0;
  options.report = [&](const v1::VerifyProgress& progress) {
    named += static_cast<uint64_t>(progress.findings_size());
  };
  VerifyWork work(options);
  ASSERT_TRUE(VerifyRows(machine_.store(), work).ok());
  EXPECT_EQ(named, kMaxVerifyFindings);
  EXPECT_EQ(work.findings(), kMaxVerifyFindings + 5);
}

TEST(VerifyWorkTest, ItEndsWhenItIsToldToWhileItWaits) {
  std::stop_source stop;
  VerifyOptions options;
  options.bytes_per_second = 1;
  options.stop = stop.get_token();
  options.report = [&](const v1::VerifyProgress&) { stop.request_stop(); };
  options.report_every = std::chrono::milliseconds(0);
  VerifyWork work(options);
  EXPECT_TRUE(absl::IsCancelled(work.Read(1'000'000'000)));
}

TEST(VerifyWorkTest, ARunGoesOnBehindTheStepInWhichTheOneBeforeEnded) {
  VerifyWork work({.after_step = "b"});
  EXPECT_FALSE(work.Begin("a"));
  EXPECT_TRUE(work.EndedIn("b"));
  EXPECT_FALSE(work.Begin("b"));
  EXPECT_TRUE(work.Begin("c"));
}

TEST_F(VerifyTest, EveryFlippedByteOfATableIsFoundOrHarmless) {
  ASSERT_TRUE(machine_.store().Flush().ok());
  const auto tables = machine_.store().Tables();
  ASSERT_FALSE(tables.empty());
  const std::filesystem::path path =
      std::filesystem::path(machine_.store().db()->GetName()) / tables.back().name;
  const std::string whole = *FileSystem::Machine()->Read(path);
  const TemporaryFolder folder;
  const std::filesystem::path copy = folder.path() / "000001.sst";
  VerifyWork work({.bytes_per_second = 0});
  // Every seventh; and each of the frame, which lies at the end.
  int found = 0;
  for (size_t i = 0; i < whole.size(); i += i + 1'200 < whole.size() ? 7 : 1) {
    std::string bytes = whole;
    bytes[i] = static_cast<char>(bytes[i] ^ (1 << (i % 8)));
    std::filesystem::remove(copy);
    const auto file = FileSystem::Machine()->Open(copy, 0);
    const std::string_view parts[] = {bytes};
    ASSERT_TRUE((*file)->Write(0, parts).ok());
    absl::Status checked = CheckTableFrame(copy);
    if (checked.ok()) checked = CheckTableBlocks(copy, work);
    if (checked.ok()) {
      // Of the footer not all bytes mean something.
      EXPECT_GE(i + 53, whole.size());
      continue;
    }
    ++found;
    EXPECT_TRUE(absl::IsDataLoss(checked)) << checked;
    EXPECT_THAT(std::string(checked.message()), HasSubstr(copy.string()));
  }
  EXPECT_GT(found, 1'000);
}

class VerifyRunningTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ShardOptions options;
    options.folder = folder_.path() / "log";
    options.journal_file_bytes = 1 << 20;
    auto opened = Shard::Open(options);
    ASSERT_TRUE(opened.ok()) << opened.status();
    shard_ = *std::move(opened);
    ASSERT_TRUE(shard_->ProposeAndWait(OpenLogOf(collection_)).ok());
    ASSERT_TRUE(shard_->ProposeAndWait(PushOf(collection_, {}, {Record("a")})).ok());
  }

  // Flips a bit of `text` where it stands first in the first file of this kind.
  std::string Flip(const std::filesystem::path& within, const std::string& kind,
                   std::string_view text) {
    FileSystem& files = *FileSystem::Machine();
    const std::vector<std::string> names = *files.List(shard_->folder() / within);
    for (const std::string& name : names) {
      const std::filesystem::path path = shard_->folder() / within / name;
      if (path.extension() != kind) continue;
      const std::string bytes = *files.Read(path);
      const size_t at = bytes.find(text);
      if (at == std::string::npos) continue;
      const std::string flipped(1, static_cast<char>(bytes[at] ^ 1));
      const std::string_view parts[] = {flipped};
      EXPECT_TRUE((*files.Open(path, 0))->Write(at, parts).ok());
      return (within / name).string();
    }
    ADD_FAILURE() << "there is none";
    return "";
  }
  std::vector<v1::VerifyFinding> Verify() {
    std::vector<v1::VerifyFinding> findings;
    VerifyOptions options;
    options.report = [&](const v1::VerifyProgress& progress) {
      findings.insert(findings.end(), progress.findings().begin(), progress.findings().end());
    };
    VerifyWork work(options);
    const absl::Status verified = VerifyRunning(shard_->store(), shard_->folder(), work);
    EXPECT_TRUE(verified.ok()) << verified;
    return findings;
  }

  const TemporaryFolder folder_;
  const CollectionId collection_ = NewCollectionId();
  std::unique_ptr<Shard> shard_;
};

TEST_F(VerifyRunningTest, RowsAreNotReadThroughATableOnWhichRocksDbMightEndTheProcess) {
  ASSERT_TRUE(shard_->store().Flush().ok());
  EXPECT_THAT(Verify(), ::testing::IsEmpty());
  const std::string table = Flip("store", ".sst", "rocksdb.block.based.table");
  const auto findings = Verify();
  ASSERT_EQ(findings.size(), 2);
  EXPECT_EQ(findings[0].severity(), v1::VERIFY_SEVERITY_DAMAGE);
  EXPECT_EQ(findings[0].file(), table);
  EXPECT_THAT(findings[0].what(), HasSubstr("its properties do not match"));
  EXPECT_EQ(findings[1].severity(), v1::VERIFY_SEVERITY_NOT_VERIFIED);
}

TEST_F(VerifyRunningTest, WhatAStartWouldReadOfTheJournalIsChecked) {
  const std::string file = Flip("journal", ".journal", collection_.view());
  const auto findings = Verify();
  ASSERT_EQ(findings.size(), 1);
  EXPECT_EQ(findings[0].severity(), v1::VERIFY_SEVERITY_DAMAGE);
  EXPECT_EQ(findings[0].file(), file);
  EXPECT_THAT(findings[0].advice(), HasSubstr("backup create"));
}

// The readers that services use.
TEST_F(VerifyTest, ReadersNameTheCollectionWhoseRowIsDamaged) {
  Put(SegmentKey(id_, SeqId(4)), "\xff");
  Put(CursorKey(id_, "mine"), "\xff");
  const Snapshot snapshot(machine_.store());
  for (const absl::Status& error :
       {ReadSegments(snapshot, id_).status(), ReadCursor(snapshot, id_, "mine").status(),
        ReadCursors(snapshot, id_, State(), Incarnation(1)).status()}) {
    EXPECT_EQ(ReasonOf(error), Reason::LOG_CORRUPT) << error;
    EXPECT_EQ(ErrorMetadata(error, "collection_id"), id_.ToString()) << error;
    EXPECT_THAT(std::string(error.message()), HasSubstr(id_.ToString()));
  }
}

}  // namespace
}  // namespace sluice::log

#include "services/log/store.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "common/base/crc32c.h"
#include "services/log/machine_harness.h"
#include "services/log/reader.h"
#include "services/log/test_support.h"

// Of RocksDB; declared in a header that it does not install.
namespace rocksdb::crc32c {
uint32_t Extend(uint32_t before, const char* data, size_t size);
}

namespace sluice::log {
namespace {

class StoreTest : public testing::Test {
 protected:
  StoreTest() {
    machine_.Configure();
    EXPECT_TRUE(machine_.Apply(OpenLogOf(id_)).ok());
    // Small ones stay in the tables, large ones go to blob files.
    for (int i = 1; i <= 10; ++i) {
      EXPECT_TRUE(
          machine_.Apply(PushOf(id_, {}, {Record("a", std::string(i % 2 ? 10 : 9000, 'x'))})).ok());
    }
    Apply(0, 10);
  }

  void Apply(uint64_t from, uint64_t to) {
    machine_.time_us += 60'000'000;
    pb::Command claim;
    claim.mutable_claim()->set_collection_id(std::string(id_.view()));
    claim.mutable_claim()->set_kind(v1::LEASE_KIND_COMPACTION);
    claim.mutable_claim()->set_lease_ms(1000);
    const auto granted = std::get<ClaimAnswer>(*machine_.Apply(Command(claim)));
    ASSERT_TRUE(granted.granted);
    pb::Command commit;
    commit.mutable_commit()->set_collection_id(std::string(id_.view()));
    auto& request = *commit.mutable_commit()->mutable_request();
    request.mutable_lease()->set_kind(v1::LEASE_KIND_COMPACTION);
    request.mutable_lease()->set_token(granted.token.value);
    request.set_number(1);
    request.mutable_compaction()->set_from_seq_id(from);
    request.mutable_compaction()->set_to_seq_id(to);
    ASSERT_TRUE(machine_.Apply(Command(commit)).ok());
  }
  void Trim(uint64_t up_to) {
    pb::Command command;
    command.mutable_trim()->set_collection_id(std::string(id_.view()));
    command.mutable_trim()->set_up_to_seq_id(up_to);
    ASSERT_TRUE(machine_.Apply(Command(command)).ok());
  }
  std::vector<uint64_t> StoredAppends() {
    const Snapshot snapshot(machine_.store());
    const std::string prefix = CollectionPrefix(RowType::kAppend, id_);
    std::vector<uint64_t> stored;
    for (auto it = snapshot.Scan(prefix, PrefixEnd(prefix)); it.Valid(); it.Next()) {
      stored.push_back(DecodeAppendKey(it.key())->last.value);
    }
    return stored;
  }

  const CollectionId id_ = NewCollectionId();
  MachineHarness machine_;
};

TEST_F(StoreTest, TheFilterDropsWhatIsTrimmedOnceThatIsPersisted) {
  Trim(7);
  ASSERT_TRUE(machine_.store().Flush().ok());
  EXPECT_EQ(StoredAppends().size(), 10);
  ASSERT_TRUE(machine_.store().Compact().ok());
  EXPECT_EQ(StoredAppends(), (std::vector<uint64_t>{8, 9, 10}));
}

// Invariant 7: after a crash the log may stand at an earlier trim point, and what follows that must
// be there.
TEST_F(StoreTest, TheFilterNeverDropsAboveThePersistedTrimPoint) {
  Trim(3);
  ASSERT_TRUE(machine_.store().Flush().ok());
  Trim(7);  // in memory only
  ASSERT_EQ(ReadLog(Snapshot(machine_.store()), id_)->trim(), 7);
  // By files, so that RocksDB does not flush first.
  std::vector<rocksdb::LiveFileMetaData> live;
  machine_.store().db()->GetLiveFilesMetaData(&live);
  std::vector<std::string> files;
  for (const auto& file : live) files.push_back(file.name);
  ASSERT_FALSE(files.empty());
  ASSERT_TRUE(machine_.store().db()->CompactFiles({}, files, 3).ok());
  EXPECT_EQ(StoredAppends(), (std::vector<uint64_t>{4, 5, 6, 7, 8, 9, 10}));
  machine_.Reopen();
  EXPECT_EQ(ReadLog(Snapshot(machine_.store()), id_)->trim(), 3);
  EXPECT_EQ(StoredAppends().size(), 7);
}

TEST_F(StoreTest, APurgedLogsAppendsAreDroppedAndADeletedOnesAreKept) {  // invariant 11
  pb::Command command;
  command.mutable_delete_log()->set_collection_id(std::string(id_.view()));
  ASSERT_TRUE(machine_.Apply(Command(command)).ok());
  ASSERT_TRUE(machine_.store().Compact().ok());
  EXPECT_EQ(StoredAppends().size(), 10);
  machine_.time_us += machine_.policy.grace_us();
  pb::Command collect;
  const auto garbage = *ReadGarbage(Snapshot(machine_.store()), machine_.time_us, 10);
  for (const auto& entry : garbage) {
    collect.mutable_collect_garbage()->add_keys(entry.key());
  }
  ASSERT_TRUE(machine_.Apply(Command(collect)).ok());
  ASSERT_TRUE(machine_.store().Flush().ok());
  ASSERT_TRUE(machine_.store().Compact().ok());
  EXPECT_TRUE(StoredAppends().empty());
}

TEST_F(StoreTest, PersistedIsThePositionOfTheLastFlush) {
  EXPECT_EQ(machine_.store().persisted(), JournalPosition(0));
  const uint64_t position = machine_.position();
  ASSERT_TRUE(machine_.store().Flush().ok());
  EXPECT_EQ(machine_.store().persisted(), JournalPosition(position));
  Trim(1);
  EXPECT_EQ(machine_.store().persisted(), JournalPosition(position));
  machine_.Reopen();
  EXPECT_EQ(machine_.position(), position);
  EXPECT_EQ(machine_.store().persisted(), JournalPosition(position));
}

// Nobody flushes or compacts here.
TEST_F(StoreTest, TheSpaceOfWhatWasTrimmedComesBackByItself) {
  constexpr uint64_t kAppends = 100;
  constexpr uint64_t kBytes = 1'000'000;
  for (uint64_t i = 0; i < kAppends; ++i) {
    ASSERT_TRUE(machine_.Apply(PushOf(id_, {}, {Record("a", std::string(kBytes, 'x'))})).ok());
  }
  const uint64_t tail = 10 + kAppends;
  Apply(10, tail);
  Trim(tail - 10);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (machine_.store().DiskBytes() > 20 * kBytes && std::chrono::steady_clock::now() < until) {
    std::this_thread::yield();
  }
  EXPECT_LE(machine_.store().DiskBytes(), 20 * kBytes);
  EXPECT_EQ(StoredAppends().size(), 10);
}

TEST_F(StoreTest, TheSpaceOfDeadBlobsComesBackThoughSomeInTheirFilesLive) {
  const CollectionId other = NewCollectionId();
  ASSERT_TRUE(machine_.Apply(OpenLogOf(other)).ok());
  ASSERT_TRUE(machine_.Apply(PushOf(other, {}, {Record("b", std::string(9000, 'y'))})).ok());
  ASSERT_TRUE(machine_.store().Flush().ok());
  rocksdb::DB& db = *machine_.store().db();
  const auto blob_bytes = [&db] {
    uint64_t bytes = 0;
    EXPECT_TRUE(db.GetIntProperty(rocksdb::DB::Properties::kTotalBlobFileSize, &bytes));
    return bytes;
  };
  ASSERT_GT(blob_bytes(), 6 * 9000);
  Trim(10);
  ASSERT_TRUE(machine_.store().Flush().ok());
  ASSERT_TRUE(machine_.store().Compact().ok());  // finds what is dead
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (blob_bytes() > 2 * 9000 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  EXPECT_LT(blob_bytes(), 2 * 9000);
  const Snapshot snapshot(machine_.store());
  const auto append = snapshot.Get(AppendKey(other, SeqId(1)));
  ASSERT_TRUE(append.ok() && append->has_value());
  EXPECT_GT((*append)->size(), 9000);
}

TEST(StoreChecksumTest, RocksDbChecksumsWithTheProcessorsInstruction) {
  // What the library's calls are bound to is what a search in order of loading finds first.
  EXPECT_EQ(dlsym(RTLD_DEFAULT, "_ZN7rocksdb6crc32c6ExtendEjPKcm"),
            reinterpret_cast<void*>(&rocksdb::crc32c::Extend));
  EXPECT_EQ(rocksdb::crc32c::Extend(0, "123456789", 9), 0xe3069283);
  EXPECT_EQ(rocksdb::crc32c::Extend(Crc32c("1234"), "56789", 5), Crc32c("123456789"));
}

}  // namespace
}  // namespace sluice::log

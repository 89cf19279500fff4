#include "services/log/store.h"

#include <gtest/gtest.h>

#include "services/log/machine_harness.h"
#include "services/log/reader.h"
#include "services/log/test_support.h"

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
    ApplyAll();
  }

  // Commits everything up to the tail.
  void ApplyAll() {
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
    request.mutable_compaction()->set_to_seq_id(10);
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

}  // namespace
}  // namespace sluice::log

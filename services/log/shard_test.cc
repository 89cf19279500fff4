#include "services/log/shard.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <fstream>
#include <map>
#include <mutex>
#include <thread>

#include "common/base/clock.h"
#include "common/errors/errors.h"
#include "services/log/append_reader.h"
#include "services/log/reader.h"
#include "services/log/test_support.h"

namespace sluice::log {
namespace {

RequestId NewRequestId() { return RequestId(Uuid::TimeOrdered(NowMicros() / 1000)); }

ShardOptions SmallShard(const std::filesystem::path& folder) {
  ShardOptions options;
  options.folder = folder;
  options.journal_file_bytes = 1 << 20;
  options.store.memtable_bytes = 1 << 20;
  options.seal_after = std::chrono::milliseconds(5);
  options.probe_every = std::chrono::milliseconds(5);
  return options;
}

std::unique_ptr<Shard> OpenShard(ShardOptions options) {
  auto shard = Shard::Open(std::move(options));
  EXPECT_TRUE(shard.ok()) << shard.status();
  return shard.ok() ? *std::move(shard) : nullptr;
}

PushAnswer MustPush(Shard& shard, Command command) {
  const Result result = shard.ProposeAndWait(std::move(command));
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? std::get<PushAnswer>(*result) : PushAnswer();
}

std::vector<std::string> DocumentsOf(const Shard& shard, const CollectionId& collection) {
  const Snapshot snapshot(shard.store());
  const auto state = ReadLog(snapshot, collection);
  EXPECT_TRUE(state.ok()) << state.status();
  if (!state.ok()) return {};
  AppendReader reader(snapshot, collection, SeqId(state->trim()), SeqId(state->tail()));
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

class ShardTest : public testing::Test {
 protected:
  TemporaryFolder folder_;
  const CollectionId collection_ = NewCollectionId();
};

TEST_F(ShardTest, SeqIdsAreDenseAndStartAtOne) {  // invariant 2
  const auto shard = OpenShard(SmallShard(folder_.path()));
  ASSERT_TRUE(shard->ProposeAndWait(OpenLogOf(collection_)).ok());
  const PushAnswer one = MustPush(*shard, PushOf(collection_, NewRequestId(), {Record("a")}));
  EXPECT_EQ(one.first, SeqId(1));
  const PushAnswer two =
      MustPush(*shard, PushOf(collection_, NewRequestId(), {Record("b"), Record("c")}));
  EXPECT_EQ(two.first, SeqId(2));
  EXPECT_EQ(two.tail, SeqId(3));
  EXPECT_EQ(two.incarnation, shard->incarnation());
}

TEST_F(ShardTest, WhatWasAnsweredIsThereAfterReopening) {  // invariant 1
  const RequestId id = NewRequestId();
  {
    const auto shard = OpenShard(SmallShard(folder_.path()));
    ASSERT_TRUE(shard->ProposeAndWait(OpenLogOf(collection_)).ok());
    MustPush(*shard, PushOf(collection_, id, {Record("a", "one"), Record("b", "two")}));
  }
  const auto shard = OpenShard(SmallShard(folder_.path()));
  EXPECT_EQ(DocumentsOf(*shard, collection_), (std::vector<std::string>{"one", "two"}));
  const PushAnswer again =
      MustPush(*shard, PushOf(collection_, id, {Record("a", "one"), Record("b", "two")}));
  EXPECT_TRUE(again.duplicate);
  EXPECT_EQ(again.first, SeqId(1));
}

}  // namespace
}  // namespace sluice::log

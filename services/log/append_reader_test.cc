#include "services/log/append_reader.h"

#include <gtest/gtest.h>

#include <functional>

#include "common/errors/errors.h"
#include "services/log/machine_harness.h"
#include "services/log/reader.h"
#include "services/log/test_support.h"

namespace sluice::log {
namespace {

class AppendReaderTest : public testing::Test {
 protected:
  AppendReaderTest() {
    machine_.Configure();
    EXPECT_TRUE(machine_.Apply(OpenLogOf(id_)).ok());
    // SeqIds 1..3, 4, 5..6; the second is large enough for a blob file.
    Push({Record("1"), Record("2"), Record("3")});
    Push({Record("4", std::string(10'000, 'x'))});
    Push({Record("5"), Record("6")});
  }
  void Push(const std::vector<v1::OperationRecord>& records) {
    machine_.time_us += 1000;
    EXPECT_TRUE(machine_.Apply(PushOf(id_, {}, records)).ok());
  }
  // The slices of (start, end] as text: "first:ids ...".
  std::string Read(uint64_t start, uint64_t end) {
    const Snapshot snapshot(machine_.store());
    AppendReader reader(snapshot, id_, SeqId(start), SeqId(end));
    std::string text;
    for (AppendSlice slice;;) {
      const auto more = reader.Next(&slice);
      if (!more.ok()) {
        error_ = more.status();
        return text + "!";
      }
      if (!*more) return text;
      text += Text(slice) + " ";
    }
  }
  static std::string Text(const AppendSlice& slice) {
    v1::Append append;
    EXPECT_TRUE(
        append.ParseFromArray(slice.records.data(), static_cast<int>(slice.records.size())));
    EXPECT_EQ(append.records_size(), static_cast<int>(slice.count));
    std::string text = std::to_string(slice.first.value) + ":";
    for (const auto& record : append.records()) text += record.id();
    return text;
  }
  // Changes the stored value of the append that ends with `last`.
  void Damage(uint64_t last, const std::function<void(std::string&)>& change) {
    std::string value = **Snapshot(machine_.store()).Get(AppendKey(id_, SeqId(last)));
    change(value);
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    ASSERT_TRUE(machine_.store().db()->Put(options, AppendKey(id_, SeqId(last)), value).ok());
  }

  const CollectionId id_ = NewCollectionId();
  MachineHarness machine_;
  absl::Status error_;
};

TEST_F(AppendReaderTest, GivesAppendsWholeAndCutsTheFirstAndTheLast) {  // invariant 4
  EXPECT_EQ(Read(0, 6), "1:123 4:4 5:56 ");
  EXPECT_EQ(Read(1, 5), "2:23 4:4 5:5 ");
  EXPECT_EQ(Read(1, 2), "2:2 ");
  EXPECT_EQ(Read(3, 4), "4:4 ");
  EXPECT_EQ(Read(6, 6), "");
}

TEST_F(AppendReaderTest, ReadsTheSameAfterAFlush) {
  ASSERT_TRUE(machine_.store().Flush().ok());
  EXPECT_EQ(Read(1, 5), "2:23 4:4 5:5 ");
}

TEST_F(AppendReaderTest, SlicesCanBeCutFurther) {
  const Snapshot snapshot(machine_.store());
  AppendReader reader(snapshot, id_, SeqId(1), SeqId(6));
  AppendSlice slice;
  ASSERT_TRUE(*reader.Next(&slice));
  EXPECT_EQ(slice.BytesOf(2), slice.records.size());
  EXPECT_EQ(slice.BytesOf(0), 0);
  EXPECT_EQ(Text(slice.First(1)), "2:2");
  EXPECT_EQ(Text(slice.Without(1)), "3:3");
  EXPECT_EQ(slice.First(1).records.size(), slice.BytesOf(1));
  EXPECT_EQ(slice.last(), SeqId(3));
  EXPECT_EQ(slice.append.id_hash(slice.index), IdHash64("2"));
}

TEST_F(AppendReaderTest, AnyDamagedByteIsSaidAndNothingIsSkipped) {  // invariant 4
  const std::string whole = **Snapshot(machine_.store()).Get(AppendKey(id_, SeqId(3)));
  for (size_t i = 0; i < whole.size(); ++i) {
    if (i >= 1 && i < 4) continue;  // reserved, not checked
    Damage(3, [&](std::string& value) {
      value = whole;
      value[i] = static_cast<char>(value[i] ^ 4);
    });
    EXPECT_EQ(Read(0, 6), "!") << "byte " << i;
    EXPECT_EQ(ReasonOf(error_), Reason::LOG_CORRUPT);
    EXPECT_EQ(ErrorMetadata(error_, "seq_id"), "1");
    EXPECT_EQ(ErrorMetadata(error_, "collection_id"), id_.ToString());
  }
}

TEST_F(AppendReaderTest, AMissingAppendIsSaid) {  // invariant 4
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  ASSERT_TRUE(machine_.store().db()->Delete(options, AppendKey(id_, SeqId(4))).ok());
  EXPECT_EQ(Read(0, 6), "1:123 !");
  EXPECT_EQ(ReasonOf(error_), Reason::LOG_CORRUPT);
  EXPECT_EQ(ErrorMetadata(error_, "seq_id"), "4");
}

TEST_F(AppendReaderTest, WhatWasTrimmedAndDroppedMeanwhileIsSaidToBeTrimmed) {  // invariant 4
  const Snapshot before(machine_.store());
  pb::LogState state = *ReadLog(before, id_);
  state.set_applied(4);
  state.set_trim(4);
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  ASSERT_TRUE(machine_.store().db()->Put(options, LogKey(id_), state.SerializeAsString()).ok());
  ASSERT_TRUE(machine_.store().Flush().ok());
  ASSERT_TRUE(machine_.store().Compact().ok());
  AppendReader reader(before, id_, SeqId(0), SeqId(6));
  AppendSlice slice;
  const auto read = reader.Next(&slice);
  EXPECT_EQ(ReasonOf(read.status()), Reason::TRIMMED) << read.status();
  EXPECT_EQ(ErrorMetadata(read.status(), "first_seq_id"), "5");
}

TEST_F(AppendReaderTest, ATimeIsFoundAtTheEndOfTheAppendBefore) {
  const int64_t last =
      machine_.time_us;  // appends were committed at last - 2000, last - 1000, last
  const Snapshot snapshot(machine_.store());
  const auto before = [&](int64_t time_us) {
    return SeqIdBefore(snapshot, id_, SeqId(0), SeqId(6), time_us)->value;
  };
  EXPECT_EQ(before(0), 0);
  EXPECT_EQ(before(last - 2000), 0);
  EXPECT_EQ(before(last - 1999), 3);
  EXPECT_EQ(before(last - 1000), 3);
  EXPECT_EQ(before(last), 4);
  EXPECT_EQ(before(last + 1), 6);
  EXPECT_EQ(*SeqIdBefore(snapshot, id_, SeqId(6), SeqId(6), 0), SeqId(6));
}

}  // namespace
}  // namespace sluice::log

#include "services/log/keys.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

namespace sluice::log {
namespace {

const CollectionId kLow(Uuid::FromBytes(std::string(15, '\0') + '\1'));
const CollectionId kHigh(Uuid::FromBytes(std::string(16, '\xff')));

TEST(KeysTest, AppendKeysSortByCollectionThenSeqId) {
  const std::vector<std::string> keys = {
      AppendKey(kLow, SeqId(1)), AppendKey(kLow, SeqId(255)), AppendKey(kLow, SeqId(256)),
      AppendKey(kLow, SeqId(UINT64_MAX)), AppendKey(kHigh, SeqId(1))};
  EXPECT_TRUE(std::is_sorted(keys.begin(), keys.end()));
}

TEST(KeysTest, AppendKeysComeBackAsTheyWere) {
  const auto parts = DecodeAppendKey(AppendKey(kHigh, SeqId(0x0102030405060708)));
  ASSERT_TRUE(parts);
  EXPECT_EQ(parts->collection, kHigh);
  EXPECT_EQ(parts->last, SeqId(0x0102030405060708));
  EXPECT_FALSE(DecodeAppendKey(LogKey(kHigh)));
  EXPECT_FALSE(DecodeAppendKey(SegmentKey(kHigh, SeqId(1))));
}

TEST(KeysTest, SegmentsThatFillInVectorsComeAfterTheOneThatTheyEndWithInOrder) {
  const std::vector<std::string> keys = {SegmentKey(kLow, SeqId(7)), SegmentKey(kLow, SeqId(7), 1),
                                         SegmentKey(kLow, SeqId(7), 256),
                                         SegmentKey(kLow, SeqId(8))};
  EXPECT_TRUE(std::is_sorted(keys.begin(), keys.end()));
}

TEST(KeysTest, DueKeysSortByKindThenTimeAndComeBackAsTheyWere) {
  const DueKey key{DueKind::kMerge, 1'700'000'000'000'000, kLow};
  EXPECT_EQ(DecodeDueKey(EncodeDueKey(key)), key);
  EXPECT_LT(EncodeDueKey({DueKind::kMerge, 1, kHigh}), EncodeDueKey({DueKind::kMerge, 2, kLow}));
  EXPECT_LT(EncodeDueKey({DueKind::kCompaction, 2, kLow}),
            EncodeDueKey({DueKind::kMerge, 1, kLow}));
  EXPECT_FALSE(DecodeDueKey("D"));
}

TEST(KeysTest, GarbageKeysSortByTimeAndComeBackAsTheyWere) {
  const GarbageKey key{77, kHigh, GarbageKind::kSegment, 5, 6};
  EXPECT_EQ(DecodeGarbageKey(EncodeGarbageKey(key)), key);
  EXPECT_LT(EncodeGarbageKey({1, kHigh, GarbageKind::kCollection, 9, 9}),
            EncodeGarbageKey({2, kLow, GarbageKind::kSegment, 1, 1}));
}

TEST(KeysTest, CursorKeysSortByCollectionThenNameAndComeBackAsTheyWere) {
  const std::string key = CursorKey(kHigh, "name");
  const auto parts = DecodeCursorKey(key);
  ASSERT_TRUE(parts);
  EXPECT_EQ(parts->collection, kHigh);
  EXPECT_EQ(parts->name, "name");
  EXPECT_LT(CursorKey(kLow, "b"), CursorKey(kHigh, "a"));
  EXPECT_LT(CursorKey(kLow, "a"), CursorKey(kLow, "aa"));
  EXPECT_FALSE(DecodeCursorKey(CursorKey(kHigh, "")));
  EXPECT_FALSE(DecodeCursorKey(SegmentKey(kHigh, SeqId(1))));
}

TEST(KeysTest, WhatABackupHoldsSortsAfterAllGarbageThatHasATime) {
  EXPECT_LT(EncodeGarbageKey({kHeld - 1, kHigh, GarbageKind::kCollection, 9, 9}),
            EncodeGarbageKey({kHeld, kLow, GarbageKind::kSegment, 1, 1}));
}

TEST(KeysTest, PinKeysSortByNumberAndComeBackAsTheyWere) {
  EXPECT_LT(PinKey(255), PinKey(256));
  EXPECT_EQ(DecodePinKey(PinKey(7)), 7);
  EXPECT_EQ(DecodePinKey("B"), std::nullopt);
}

TEST(KeysTest, DedupeKeysSortByTheTimeOfTheRequestId) {
  const RequestId early(Uuid::TimeOrdered(1'000));
  const RequestId late(Uuid::TimeOrdered(1'001));
  EXPECT_LT(DedupeKey(early), DedupeKey(late));
  EXPECT_LT(DedupeKeyAt(1'000), DedupeKey(early));
  EXPECT_LT(DedupeKey(early), DedupeKeyAt(1'001));
  EXPECT_LT(DedupeKeyAt(1'001), DedupeKey(late));
}

TEST(KeysTest, NamesSortByTenantDatabaseAndNameAndNoneIsAPrefixOfAnothersPart) {
  EXPECT_LT(NameKey("a", "z", "z"), NameKey("aa", "a", "a"));
  EXPECT_LT(NameKey("a", "b", "z"), NameKey("a", "bb", "a"));
  const std::string prefix = NamePrefix("a", "");
  EXPECT_EQ(NameKey("a", "b", "c").compare(0, prefix.size(), prefix), 0);
  EXPECT_NE(NameKey("aa", "b", "c").compare(0, prefix.size(), prefix), 0);
}

TEST(KeysTest, PrefixEndIsTheFirstKeyAfterThePrefix) {
  EXPECT_EQ(PrefixEnd("ab"), "ac");
  EXPECT_EQ(PrefixEnd(std::string("a\xff\xff")), "b");
  EXPECT_LT(AppendKey(kHigh, SeqId(UINT64_MAX)),
            PrefixEnd(CollectionPrefix(RowType::kAppend, kHigh)));
}

TEST(KeysTest, EveryTypeOfRowHasALetterOfItsOwn) {
  const std::vector<std::string> rows = {ShardKey(),
                                         LogKey(kLow),
                                         AppendKey(kLow, SeqId(1)),
                                         DedupeKey(RequestId()),
                                         CursorKey(kLow, "c"),
                                         SegmentKey(kLow, SeqId(1)),
                                         TokenKey(kLow, LeaseToken(1)),
                                         MissingKey(kLow, std::string(16, 'h')),
                                         EncodeDueKey({}),
                                         EncodeGarbageKey({}),
                                         PinKey(1),
                                         CollectionKey(kLow),
                                         NameKey("", "", "")};
  std::set<RowType> types;
  for (const std::string& row : rows) types.insert(RowTypeOf(row));
  EXPECT_EQ(types.size(), rows.size());
}

TEST(KeysTest, RowsOfACollectionNameIt) {
  EXPECT_EQ(CollectionOfKey(LogKey(kHigh)), kHigh);
  EXPECT_EQ(CollectionOfKey(TokenKey(kHigh, LeaseToken(3))), kHigh);
  EXPECT_EQ(CollectionOfKey(CursorKey(kHigh, "c")), kHigh);
  EXPECT_EQ(CollectionOfKey(EncodeDueKey({})), std::nullopt);
}

}  // namespace
}  // namespace sluice::log

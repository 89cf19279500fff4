// Invariant 7 (nothing vanishes): every cell of the table in fold.h.
#include "common/record/fold.h"

#include <gtest/gtest.h>

#include <deque>

namespace sluice {
namespace {

// Records of one id with SeqIds 11, 12, ...
class FoldTest : public testing::Test {
 protected:
  v1::OperationRecord& Record(v1::Operation operation) {
    v1::OperationRecord& record = records_.emplace_back();
    record.set_id("a");
    record.set_operation(operation);
    return record;
  }
  Folded FoldOver(std::optional<Row> before, bool has_embedder = true) {
    std::vector<RecordAt> at;
    for (const auto& record : records_) at.push_back({SeqId(11 + at.size()), &record});
    return Fold(std::move(before), at, has_embedder);
  }
  static void SetMetadata(v1::OperationRecord* record, const std::string& key,
                          std::optional<int64_t> value) {
    v1::MetadataEntry* entry = record->add_metadata();
    entry->set_key(key);
    if (value) entry->mutable_value()->set_int_value(*value);
  }
  // id a, SeqId 5, document "old", uri "u", metadata {b: 2, d: 4}, vector {1, 2}.
  static Row Before() {
    Row row;
    row.id = "a";
    row.seq_id = SeqId(5);
    row.document = "old";
    row.uri = "u";
    for (const auto& [key, value] : {std::pair{"b", 2}, {"d", 4}}) {
      row.metadata.emplace_back().set_key(key);
      row.metadata.back().mutable_value()->set_int_value(value);
    }
    row.vector = {1, 2};
    return row;
  }
  static std::string Metadata(const Row& row) {
    std::string text;
    for (const auto& entry : row.metadata) {
      text += entry.key() + "=" + std::to_string(entry.value().int_value()) + " ";
    }
    return text;
  }

  std::deque<v1::OperationRecord> records_;
};

TEST_F(FoldTest, AddOfAnIdThatExistsIsCountedAndWithoutEffect) {
  Record(v1::OPERATION_ADD).set_document("new");
  const Folded folded = FoldOver(Before());
  EXPECT_FALSE(folded.changed);
  EXPECT_EQ(folded.no_effect.adds, 1u);
  EXPECT_EQ(folded.row->document, "old");
  EXPECT_EQ(folded.row->seq_id, SeqId(5));
  EXPECT_FALSE(folded.row->pending_embedding);
}

TEST_F(FoldTest, AddOfANewIdInserts) {
  v1::OperationRecord& record = Record(v1::OPERATION_ADD);
  record.set_document("new");
  record.set_uri("v");
  SetMetadata(&record, "k", 1);
  const Folded folded = FoldOver(std::nullopt);
  ASSERT_TRUE(folded.row);
  EXPECT_TRUE(folded.changed);
  EXPECT_EQ(folded.row->id, "a");
  EXPECT_EQ(folded.row->seq_id, SeqId(11));
  EXPECT_EQ(folded.row->document, "new");
  EXPECT_EQ(folded.row->uri, "v");
  EXPECT_EQ(Metadata(*folded.row), "k=1 ");
  EXPECT_TRUE(folded.row->vector.empty());
  EXPECT_TRUE(folded.row->pending_embedding);
}

TEST_F(FoldTest, UpdateOfAnIdThatDoesNotExistIsCountedAndWithoutEffect) {
  Record(v1::OPERATION_UPDATE).set_document("new");
  const Folded folded = FoldOver(std::nullopt);
  EXPECT_FALSE(folded.row);
  EXPECT_FALSE(folded.changed);
  EXPECT_EQ(folded.no_effect.updates, 1u);
}

TEST_F(FoldTest, UpdateAndUpsertReplaceWhatIsGivenAndKeepTheRest) {
  for (const v1::Operation operation : {v1::OPERATION_UPDATE, v1::OPERATION_UPSERT}) {
    records_.clear();
    Record(operation).set_uri("v");
    const Folded folded = FoldOver(Before());
    EXPECT_TRUE(folded.changed);
    EXPECT_EQ(folded.row->seq_id, SeqId(11));
    EXPECT_EQ(folded.row->document, "old");
    EXPECT_EQ(folded.row->uri, "v");
    EXPECT_EQ(Metadata(*folded.row), "b=2 d=4 ");
    EXPECT_EQ(folded.row->vector, (std::vector<float>{1, 2}));
    EXPECT_FALSE(folded.row->pending_embedding);
  }
}

TEST_F(FoldTest, UpsertOfANewIdInsertsAndIgnoresKeysToRemove) {
  v1::OperationRecord& record = Record(v1::OPERATION_UPSERT);
  SetMetadata(&record, "j", std::nullopt);
  SetMetadata(&record, "k", 1);
  const Folded folded = FoldOver(std::nullopt);
  ASSERT_TRUE(folded.row);
  EXPECT_EQ(Metadata(*folded.row), "k=1 ");
  EXPECT_FALSE(folded.row->document);
}

TEST_F(FoldTest, MetadataIsMergedByKeyAndAnUnsetValueRemovesItsKey) {
  v1::OperationRecord& record = Record(v1::OPERATION_UPDATE);
  SetMetadata(&record, "a", 1);
  SetMetadata(&record, "b", std::nullopt);
  SetMetadata(&record, "c", std::nullopt);
  SetMetadata(&record, "d", 44);
  SetMetadata(&record, "e", 5);
  EXPECT_EQ(Metadata(*FoldOver(Before()).row), "a=1 d=44 e=5 ");
}

TEST_F(FoldTest, DeleteRemovesAndADeleteOfNothingIsCounted) {
  Record(v1::OPERATION_DELETE);
  Record(v1::OPERATION_DELETE);
  const Folded folded = FoldOver(Before());
  EXPECT_FALSE(folded.row);
  EXPECT_TRUE(folded.changed);
  EXPECT_EQ(folded.no_effect.deletes, 1u);
}

TEST_F(FoldTest, ARowThatIsAddedAgainKeepsNothingOfTheDeletedOne) {
  Record(v1::OPERATION_DELETE);
  Record(v1::OPERATION_ADD).set_document("new");
  const Folded folded = FoldOver(Before());
  ASSERT_TRUE(folded.row);
  EXPECT_EQ(folded.row->seq_id, SeqId(12));
  EXPECT_FALSE(folded.row->uri);
  EXPECT_EQ(Metadata(*folded.row), "");
  EXPECT_TRUE(folded.row->vector.empty());
  EXPECT_TRUE(folded.row->pending_embedding);
}

TEST_F(FoldTest, ANewDocumentLeavesTheLastVectorStaleIfThereIsAnEmbedder) {
  Record(v1::OPERATION_UPDATE).set_document("new");
  const Folded folded = FoldOver(Before());
  EXPECT_TRUE(folded.row->pending_embedding);
  EXPECT_EQ(folded.row->vector, (std::vector<float>{1, 2}));
}

TEST_F(FoldTest, WithoutAnEmbedderADocumentLeavesTheVectorAsItIs) {
  Record(v1::OPERATION_UPDATE).set_document("new");
  const Folded folded = FoldOver(Before(), /*has_embedder=*/false);
  EXPECT_EQ(folded.row->document, "new");
  EXPECT_FALSE(folded.row->pending_embedding);
}

TEST_F(FoldTest, AnEmptyDocumentIsADocument) {
  Record(v1::OPERATION_UPDATE).set_document("");
  const Folded folded = FoldOver(Before());
  EXPECT_EQ(folded.row->document, "");
  EXPECT_TRUE(folded.row->pending_embedding);
}

TEST_F(FoldTest, AVectorGivenSettlesTheEmbeddingOwed) {
  Record(v1::OPERATION_UPDATE).set_document("new");
  SetVector(std::vector<float>{3, 4}, Record(v1::OPERATION_UPDATE).mutable_vector());
  Folded folded = FoldOver(Before());
  EXPECT_FALSE(folded.row->pending_embedding);
  EXPECT_EQ(folded.row->vector, (std::vector<float>{3, 4}));
  EXPECT_EQ(folded.row->document, "new");

  records_.clear();
  v1::OperationRecord& both = Record(v1::OPERATION_UPSERT);
  both.set_document("new");
  SetVector(std::vector<float>{5, 6}, both.mutable_vector());
  folded = FoldOver(Before());
  EXPECT_FALSE(folded.row->pending_embedding);
  EXPECT_EQ(folded.row->vector, (std::vector<float>{5, 6}));
}

TEST_F(FoldTest, RecordsWithoutEffectAmongOthersAreCountedOneByOne) {
  Record(v1::OPERATION_UPDATE);
  Record(v1::OPERATION_DELETE);
  Record(v1::OPERATION_ADD).set_document("one");
  Record(v1::OPERATION_ADD).set_document("two");
  Record(v1::OPERATION_UPDATE).set_uri("v");
  const Folded folded = FoldOver(std::nullopt);
  EXPECT_EQ(folded.no_effect.updates, 1u);
  EXPECT_EQ(folded.no_effect.deletes, 1u);
  EXPECT_EQ(folded.no_effect.adds, 1u);
  EXPECT_EQ(folded.row->document, "one");
  EXPECT_EQ(folded.row->uri, "v");
  EXPECT_EQ(folded.row->seq_id, SeqId(15));
}

TEST(VectorTest, ComponentsRoundTrip) {
  v1::Vector vector;
  SetVector(std::vector<float>{1.5f, -0.0f, 3e38f}, &vector);
  EXPECT_EQ(vector.dimension(), 3u);
  EXPECT_EQ(vector.data().size(), 12u);
  EXPECT_EQ(VectorOf(vector), (std::vector<float>{1.5f, -0.0f, 3e38f}));
}

}  // namespace
}  // namespace sluice

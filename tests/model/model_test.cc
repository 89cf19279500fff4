// The model itself, against the function that the servers use: two implementations of one table.
#include "tests/model/model.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "common/embed/hashing_embedder.h"
#include "common/record/fold.h"
#include "tests/model/workload.h"

namespace sluice::model {
namespace {

v1::CollectionSchema Schema(bool has_embedder) {
  v1::CollectionSchema schema;
  schema.set_dimension(8);
  schema.set_metric(v1::METRIC_COSINE);
  if (has_embedder) schema.mutable_embedder()->set_kind("hashing");
  return schema;
}

v1::Row ToProto(const sluice::Row& row) {
  v1::Row out;
  out.set_id(row.id);
  out.set_seq_id(row.seq_id.value);
  if (row.document) out.set_document(*row.document);
  if (row.uri) out.set_uri(*row.uri);
  if (!row.vector.empty()) SetVector(row.vector, out.mutable_vector());
  out.mutable_metadata()->Assign(row.metadata.begin(), row.metadata.end());
  out.set_pending_embedding(row.pending_embedding);
  return out;
}

// What the servers do, with a map for segments: fold each record; now and then embed what waits for
// it.
class Folding {
 public:
  explicit Folding(bool has_embedder) : has_embedder_(has_embedder) {}

  void Apply(const v1::OperationRecord& record) {
    const auto it = rows_.find(record.id());
    const RecordAt at{SeqId(++tail_), &record};
    Folded folded =
        Fold(it == rows_.end() ? std::nullopt : std::optional(it->second), {&at, 1}, has_embedder_);
    no_effect_ += folded.no_effect;
    if (it != rows_.end()) rows_.erase(it);
    if (folded.row) rows_[record.id()] = *std::move(folded.row);
  }
  void EmbedAll() {
    for (auto& [id, row] : rows_) {
      if (!row.pending_embedding) continue;
      row.vector = HashingEmbedder(8).Embed(*row.document);
      row.pending_embedding = false;
    }
  }

  const bool has_embedder_;
  uint64_t tail_ = 0;
  std::map<std::string, sluice::Row> rows_;
  NoEffect no_effect_;
};

TEST(ModelTest, TheModelAgreesWithFoldOnEveryRowAfterEveryRecord) {
  for (const bool has_embedder : {true, false}) {
    RecordGenerator generator(7, 8);
    Model model(Schema(has_embedder));
    Folding folding(has_embedder);
    for (int i = 0; i < 3000; ++i) {
      const v1::OperationRecord record = generator.Record(v1::OPERATION_UNSPECIFIED);
      model.Apply(record);
      folding.Apply(record);
      SeqId embedded;
      if (generator.OneIn(10)) {
        folding.EmbedAll();
        embedded = model.tail();
      }
      ASSERT_EQ(model.rows().size(), folding.rows_.size());
      for (const auto& [id, row] : folding.rows_)
        ASSERT_EQ(model.Check(ToProto(row), embedded), "") << record.ShortDebugString();
    }
    EXPECT_EQ(model.no_effect().at(v1::OPERATION_ADD), folding.no_effect_.adds);
    EXPECT_EQ(model.no_effect().at(v1::OPERATION_UPDATE), folding.no_effect_.updates);
    EXPECT_EQ(model.no_effect().at(v1::OPERATION_DELETE), folding.no_effect_.deletes);
  }
}

// A row "a" at [1], another "b" at [2].
class ModelChecksTest : public testing::Test {
 protected:
  ModelChecksTest() : model_(Schema(true)) {
    for (const char* id : {"a", "b"}) {
      v1::OperationRecord record;
      record.set_id(id);
      record.set_operation(v1::OPERATION_ADD);
      record.mutable_vector()->CopyFrom(Vector(*id == 'a' ? 1 : -1));
      model_.Apply(record);
    }
    query_.mutable_vector()->CopyFrom(Vector(1));
    query_.set_limit(2);
  }
  static v1::Vector Vector(float first) {
    std::vector<float> components(8, 1);
    components[0] = first;
    v1::Vector vector;
    SetVector(components, &vector);
    return vector;
  }
  void AddHit(const std::string& id, float distance) {
    v1::QueryHit* hit = response_.add_hits();
    hit->mutable_row()->set_id(id);
    hit->mutable_row()->set_seq_id(id == "a" ? 1 : 2);
    hit->mutable_row()->mutable_vector()->CopyFrom(Vector(id == "a" ? 1 : -1));
    hit->set_distance(distance);
  }
  std::string CheckQuery() const { return model_.CheckQuery(query_, response_, SeqId(0)); }

  Model model_;
  v1::QueryRequest query_;
  v1::QueryResponse response_;
};

TEST_F(ModelChecksTest, ACorrectAnswerIsAccepted) {
  AddHit("a", 0);
  AddHit("b", 0.25f);
  EXPECT_EQ(CheckQuery(), "");
}

TEST_F(ModelChecksTest, AMissingHitIsFound) {
  AddHit("b", 0.25f);
  EXPECT_EQ(CheckQuery(), "row a is missing");
  query_.set_limit(1);
  EXPECT_EQ(CheckQuery(), "row a is missing");
}

TEST_F(ModelChecksTest, WrongDistancesOrderAndRowsAreFound) {
  AddHit("b", 0.25f);
  AddHit("a", 0);
  EXPECT_EQ(CheckQuery(), "row a is out of order");
  response_.mutable_hits()->Clear();
  AddHit("a", 0.1f);
  EXPECT_EQ(CheckQuery(), "row a is at distance 0, not 0.1");
  response_.mutable_hits()->Clear();
  AddHit("c", 0);
  EXPECT_EQ(CheckQuery(), "row c does not exist");
}

TEST_F(ModelChecksTest, AStaleVectorIsAcceptedOnlyAsPending) {
  v1::OperationRecord update;
  update.set_id("a");
  update.set_operation(v1::OPERATION_UPDATE);
  update.set_document("new");
  model_.Apply(update);
  v1::Row row;
  row.set_id("a");
  row.set_seq_id(3);
  row.set_document("new");
  row.mutable_vector()->CopyFrom(Vector(1));
  EXPECT_EQ(model_.Check(row, SeqId(2)), "row a differs in vector");
  row.set_pending_embedding(true);
  EXPECT_EQ(model_.Check(row, SeqId(2)), "");
  EXPECT_EQ(model_.Check(row, SeqId(3)), "row a differs in pending_embedding");
  row.mutable_vector()->CopyFrom(Vector(5));
  EXPECT_EQ(model_.Check(row, SeqId(2)), "row a differs in stale vector");
}

// Of an embedder that is served elsewhere.
class ModelElsewhereTest : public testing::Test {
 protected:
  ModelElsewhereTest() {
    v1::CollectionSchema schema = Schema(true);
    schema.mutable_embedder()->set_kind("served");
    model_.emplace(schema);
  }
  // The row, as it is read right after, still with the vector that it had.
  v1::Row Write(const std::string& document) {
    v1::OperationRecord record;
    record.set_id("a");
    record.set_operation(v1::OPERATION_UPSERT);
    record.set_document(document);
    model_->Apply(record);
    row_.set_id("a");
    row_.set_seq_id(model_->tail().value);
    row_.set_document(document);
    row_.set_pending_embedding(true);
    return row_;
  }
  v1::Row Embedded(v1::Row row, const std::string& text) {
    SetVector(HashingEmbedder(8).Embed(text), row.mutable_vector());
    row.set_pending_embedding(false);
    return row;
  }
  std::string Check(const v1::Row& row, uint64_t embedded) const {
    return model_->Check(row, SeqId(embedded));
  }

  std::optional<Model> model_;
  v1::Row row_;
};

TEST_F(ModelElsewhereTest, ARefusedTextIsPendingForEverWithAVectorFromBefore) {
  row_ = Embedded(Write("text"), "text");
  EXPECT_EQ(Check(row_, 1), "");
  v1::Row refused = Write("[refused] other");
  EXPECT_EQ(Check(refused, 2), "") << "with the vector of the first text";
  EXPECT_EQ(Check(Embedded(refused, "[refused] other"), 0), "row a differs in pending_embedding");
  refused.set_pending_embedding(false);
  EXPECT_EQ(Check(refused, 0), "row a differs in pending_embedding");
  // The next one is a text like any other.
  const v1::Row next = Write("next");
  EXPECT_EQ(Check(next, 2), "");
  EXPECT_EQ(Check(Embedded(next, "next"), 3), "");
  EXPECT_EQ(Check(next, 3), "row a differs in pending_embedding");
  v1::Row wrong = Embedded(next, "[refused] other");
  wrong.set_pending_embedding(true);
  EXPECT_EQ(Check(wrong, 2), "row a differs in stale vector");
}

TEST_F(ModelElsewhereTest, AVectorThatWasGivenUpMayBeMissingUntilTheNextDocument) {
  row_ = Write("text");
  EXPECT_EQ(Check(row_, 1), "row a differs in pending_embedding");
  model_->GaveUp("a", SeqId(1));
  EXPECT_EQ(Check(row_, 1), "");
  EXPECT_EQ(Check(Embedded(row_, "text"), 1), "") << "it was embedded before";
  EXPECT_EQ(Check(Write("next"), 2), "row a differs in pending_embedding");
}

TEST_F(ModelChecksTest, LivesAreRemembered) {
  v1::OperationRecord deletion;
  deletion.set_id("a");
  deletion.set_operation(v1::OPERATION_DELETE);
  model_.Apply(deletion);
  EXPECT_TRUE(model_.ExistedThroughout("a", SeqId(1), SeqId(2)));
  EXPECT_FALSE(model_.ExistedThroughout("a", SeqId(1), SeqId(3)));
  EXPECT_FALSE(model_.ExistedThroughout("b", SeqId(1), SeqId(3)));
  EXPECT_TRUE(model_.ExistedAtAll("b", SeqId(1), SeqId(3)));
  EXPECT_FALSE(model_.ExistedAtAll("a", SeqId(3), SeqId(3)));
}

}  // namespace
}  // namespace sluice::model

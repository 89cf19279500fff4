// Invariant 8 (read your writes), as far as it is a matter of what a view says: Get, Count and
// Query over segments and tail against a model that applies the records one by one.
#include "services/frontend/reads.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <set>

#include "common/embed/hashing_embedder.h"
#include "common/errors/errors.h"
#include "common/objects/folder_store.h"
#include "services/frontend/fake_log.h"
#include "tests/support/temp_folder.h"

namespace sluice::frontend {
namespace {

constexpr uint32_t kDimension = 3;

template <class T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) ADD_FAILURE() << value.status();
  return *std::move(value);
}

v1::OperationRecord Record(v1::Operation operation, const std::string& id) {
  v1::OperationRecord record;
  record.set_id(id);
  record.set_operation(operation);
  return record;
}

v1::OperationRecord WithVector(v1::OperationRecord record, std::vector<float> vector) {
  SetVector(vector, record.mutable_vector());
  return record;
}

class ReadsTest : public ::testing::Test {
 protected:
  // What a reader has after asking the log again.
  std::shared_ptr<const View> Refresh(std::shared_ptr<const View> before,
                                      bool with_records = true) {
    v1::ReadViewRequest request;
    if (before) {
      request.set_incarnation(before->incarnation().value);
      request.set_segments_version(before->segments_version());
      request.set_after_seq_id(before->as_of().value);
    }
    ViewDelta delta;
    delta.has_records = with_records;
    for (v1::ReadViewResponse& message : collection_->ReadView(request)) {
      if (message.has_header()) delta.header = message.header();
      if (with_records) {
        delta.messages.push_back(std::make_shared<v1::ReadViewResponse>(std::move(message)));
      }
    }
    return Must(Advance(collection_->id(), std::move(before), delta, [&](const auto& info) {
      ++opened_;
      return Segment::Open(
          **objects_.Fetch(SegmentObjectName(collection_->id(), collection_->incarnation(),
                                             info.token(), info.number())),
          info);
    }));
  }

  std::shared_ptr<const View> Now() { return Refresh(nullptr); }

  void Push(v1::OperationRecord record) { collection_->Push(std::move(record)); }
  void CompactAll() { collection_->Compact(collection_->tail()); }

  testing::TempFolder folder_;
  FolderStore objects_ = Must(FolderStore::Open(folder_.path()));
  std::unique_ptr<FakeCollection> collection_ =
      std::make_unique<FakeCollection>(&objects_, kDimension, "hashing");
  int opened_ = 0;
};

v1::Include Everything() {
  v1::Include include;
  include.set_vector(true);
  include.set_document(true);
  include.set_uri(true);
  include.set_metadata(true);
  return include;
}

// A row as a reply has it.
std::string Shown(Row row, const v1::Include& include = Everything()) {
  v1::Row shown;
  shown.set_id(row.id);
  shown.set_seq_id(row.seq_id.value);
  shown.set_pending_embedding(row.pending_embedding);
  if (include.vector() && !row.vector.empty()) SetVector(row.vector, shown.mutable_vector());
  if (include.document() && row.document) shown.set_document(*row.document);
  if (include.uri() && row.uri) shown.set_uri(*row.uri);
  for (const auto& entry : row.metadata) {
    if (include.metadata()) *shown.add_metadata() = entry;
  }
  return shown.ShortDebugString();
}

std::vector<std::string> Shown(const google::protobuf::RepeatedPtrField<v1::Row>& rows) {
  std::vector<std::string> shown;
  for (const v1::Row& row : rows) shown.push_back(row.ShortDebugString());
  return shown;
}

std::vector<std::string> IdsOf(const v1::QueryResponse& response) {
  std::vector<std::string> ids;
  for (const v1::QueryHit& hit : response.hits()) ids.push_back(hit.row().id());
  return ids;
}

v1::QueryRequest Nearest(std::vector<float> vector, uint32_t limit) {
  v1::QueryRequest request;
  SetVector(vector, request.mutable_vector());
  request.set_limit(limit);
  *request.mutable_include() = Everything();
  return request;
}

void ExpectGetsById(const View& view, const FakeCollection::Rows& rows, std::mt19937& random) {
  v1::GetRequest request;
  *request.mutable_include() = Everything();
  std::vector<std::string> expected;
  for (int i = 0; i < 10; ++i) {
    const std::string id = std::to_string(random() % 30);
    request.add_ids(id);
    if (const auto row = rows.find(id); row != rows.end()) expected.push_back(Shown(row->second));
  }
  EXPECT_EQ(Shown(Must(Answer(view, request)).rows()), expected);
}

void ExpectPages(const View& view, const FakeCollection::Rows& rows, std::mt19937& random) {
  v1::GetRequest request;
  *request.mutable_include() = Everything();
  std::set<std::string> expected, got;
  for (const auto& [id, row] : rows) expected.insert(Shown(row));
  do {
    request.set_page_size(1 + random() % 8);
    const v1::GetResponse page = Must(Answer(view, request));
    EXPECT_LE(page.rows_size(), static_cast<int>(request.page_size()));
    EXPECT_TRUE(page.rows_size() > 0 || rows.empty());
    for (const std::string& row : Shown(page.rows())) EXPECT_TRUE(got.insert(row).second) << row;
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && !::testing::Test::HasFailure());
  EXPECT_EQ(got, expected);
}

void ExpectNearest(const View& view, const FakeCollection::Rows& rows, v1::Metric metric,
                   std::mt19937& random) {
  // Few values, so that many distances are equal.
  const std::vector<float> query = {float(random() % 3), float(random() % 3), float(random() % 3)};
  std::vector<std::pair<float, std::string>> expected;
  for (const auto& [id, row] : rows) {
    if (!row.vector.empty()) expected.emplace_back(Distance(metric, query, row.vector), id);
  }
  std::sort(expected.begin(), expected.end());
  expected.resize(std::min<size_t>(expected.size(), 1 + random() % 12));
  const v1::QueryResponse response =
      Must(Answer(view, Nearest(query, std::max<uint32_t>(1, expected.size()))));
  ASSERT_EQ(response.hits_size(), static_cast<int>(expected.size()));
  for (size_t i = 0; i < expected.size(); ++i) {
    const v1::QueryHit& hit = response.hits(i);
    EXPECT_EQ(hit.distance(), expected[i].first);
    EXPECT_EQ(hit.row().ShortDebugString(), Shown(rows.at(expected[i].second)));
  }
}

void ExpectAgrees(const View& view, const FakeCollection::Rows& rows, v1::Metric metric,
                  std::mt19937& random) {
  EXPECT_EQ(Must(Answer(view, v1::CountRequest())).count(), rows.size());
  ExpectGetsById(view, rows, random);
  ExpectPages(view, rows, random);
  ExpectNearest(view, rows, metric, random);
}

v1::OperationRecord RandomRecord(std::mt19937& random) {
  v1::OperationRecord record =
      Record(static_cast<v1::Operation>(1 + random() % 4), std::to_string(random() % 30));
  if (record.operation() == v1::OPERATION_DELETE) return record;
  if (random() % 2) {
    record = WithVector(record, {float(random() % 3), float(random() % 3), float(random() % 3)});
  }
  if (random() % 2) record.set_document("document " + std::to_string(random()));
  if (random() % 4 == 0) record.set_uri("uri " + std::to_string(random()));
  for (const char* key : {"a", "b", "c"}) {
    if (random() % 3) continue;
    v1::MetadataEntry* entry = record.add_metadata();
    entry->set_key(key);
    if (record.operation() == v1::OPERATION_ADD || random() % 2) {
      entry->mutable_value()->set_int_value(random() % 100);
    } else {
      entry->mutable_value();
    }
  }
  return record;
}

TEST_F(ReadsTest, AgreeWithAModelWhateverIsWrittenCompactedAndMerged) {
  for (uint32_t seed = 0; seed < 12; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    const auto metric = static_cast<v1::Metric>(1 + seed % 3);
    collection_ =
        std::make_unique<FakeCollection>(&objects_, kDimension, seed % 2 ? "hashing" : "", metric);
    std::shared_ptr<const View> view;
    for (int step = 0; step < 25 && !HasFailure(); ++step) {
      for (uint32_t i = random() % 30; i > 0; --i) Push(RandomRecord(random));
      if (random() % 3 == 0) {
        const uint64_t unapplied = collection_->tail().value - collection_->applied().value;
        collection_->Compact(SeqId(collection_->applied().value + random() % (unapplied + 1)));
      }
      if (collection_->segments().size() > 3) {
        const size_t first = random() % 2;
        collection_->Merge(first, first + 2 + random() % 2);
      }
      const auto before = view;
      if (random() % 4) {
        view = Refresh(view);
        EXPECT_EQ(view->as_of(), collection_->tail());
        ExpectAgrees(*view, collection_->RowsAt(collection_->tail()), metric, random);
      } else {
        view = Refresh(view, /*with_records=*/false);
        EXPECT_EQ(view->applied(), collection_->applied());
      }
      ExpectAgrees(*view, collection_->RowsAt(view->as_of()), metric, random);
      ExpectAgrees(*view->AppliedOnly(), collection_->RowsAt(collection_->applied()), metric,
                   random);
      // Those who still read from the view before are not disturbed.
      if (before) ExpectAgrees(*before, collection_->RowsAt(before->as_of()), metric, random);
    }
  }
}

TEST_F(ReadsTest, StartAnewWhenTheLogWasRestored) {
  Push(Record(v1::OPERATION_ADD, "a"));
  Push(Record(v1::OPERATION_ADD, "b"));
  CompactAll();
  Push(Record(v1::OPERATION_ADD, "c"));
  const auto before = Refresh(nullptr);
  collection_->Restore(SeqId(1));
  const auto view = Refresh(before);
  EXPECT_EQ(Must(Answer(*view, v1::CountRequest())).count(), 1u);
  EXPECT_EQ(view->incarnation(), collection_->incarnation());
}

TEST_F(ReadsTest, OpenEachSegmentOnceAndKeepAViewThatIsStillTrue) {
  Push(Record(v1::OPERATION_ADD, "a"));
  CompactAll();
  const auto first = Refresh(nullptr);
  EXPECT_EQ(Refresh(first), first);
  Push(Record(v1::OPERATION_ADD, "b"));
  CompactAll();
  Refresh(Refresh(first));
  EXPECT_EQ(opened_, 2);
}

TEST_F(ReadsTest, RefuseAViewThatDoesNotContinueTheOneHeld) {
  Push(Record(v1::OPERATION_ADD, "a"));
  const auto view = Refresh(nullptr);
  ViewDelta delta;
  delta.header = collection_->ReadView({})[0].header();
  delta.header.set_tail_seq_id(0);
  const auto open = [](const auto&) { return absl::InternalError("none"); };
  EXPECT_TRUE(absl::IsInternal(Advance(collection_->id(), view, delta, open).status()));
  delta.header.set_tail_seq_id(1);
  delta.header.set_segments_included(false);
  EXPECT_TRUE(absl::IsInternal(Advance(collection_->id(), nullptr, delta, open).status()));
  delta.header.set_segments_version(99);
  EXPECT_TRUE(absl::IsInternal(Advance(collection_->id(), view, delta, open).status()));
}

TEST_F(ReadsTest, ShowWhatIsIncludedAndNothingElse) {
  v1::OperationRecord record = WithVector(Record(v1::OPERATION_ADD, "a"), {1, 2, 3});
  record.set_document("d");
  record.set_uri("u");
  v1::MetadataEntry* const entry = record.add_metadata();
  entry->set_key("k");
  entry->mutable_value()->set_bool_value(true);
  Push(record);
  Row row;
  row.id = "a";
  row.seq_id = SeqId(1);
  row.document = "d";
  row.uri = "u";
  row.metadata = {*entry};
  row.vector = {1, 2, 3};
  for (const bool compacted : {false, true}) {
    if (compacted) CompactAll();
    const auto view = Now();
    for (int bits = 0; bits < 16; ++bits) {
      v1::Include include;
      include.set_vector(bits & 1);
      include.set_document(bits & 2);
      include.set_uri(bits & 4);
      include.set_metadata(bits & 8);
      const std::string expected = Shown(row, include);

      v1::GetRequest by_page;
      *by_page.mutable_include() = include;
      v1::GetRequest by_id = by_page;
      by_id.add_ids("a");
      v1::QueryRequest query = Nearest({0, 0, 0}, 1);
      *query.mutable_include() = include;
      EXPECT_EQ(Must(Answer(*view, by_page)).rows(0).ShortDebugString(), expected);
      EXPECT_EQ(Must(Answer(*view, by_id)).rows(0).ShortDebugString(), expected);
      EXPECT_EQ(Must(Answer(*view, query)).hits(0).row().ShortDebugString(), expected);
    }
  }
}

TEST_F(ReadsTest, SayOfWhichSeqIdTheyAre) {
  Push(Record(v1::OPERATION_ADD, "a"));
  CompactAll();
  Push(Record(v1::OPERATION_DELETE, "a"));
  const auto view = Now();
  EXPECT_EQ(Must(Answer(*view, v1::CountRequest())).as_of_seq_id(), 2u);
  EXPECT_EQ(Must(Answer(*view, v1::CountRequest())).incarnation(), 1u);
  EXPECT_EQ(Must(Answer(*view, v1::CountRequest())).count(), 0u);
  const auto applied = view->AppliedOnly();
  EXPECT_EQ(Must(Answer(*applied, v1::CountRequest())).as_of_seq_id(), 1u);
  EXPECT_EQ(Must(Answer(*applied, v1::GetRequest())).as_of_seq_id(), 1u);
  EXPECT_EQ(Must(Answer(*applied, Nearest({0, 0, 0}, 1))).as_of_seq_id(), 1u);
  EXPECT_EQ(Must(Answer(*applied, v1::CountRequest())).count(), 1u);
}

TEST_F(ReadsTest, GetAnswersInTheOrderAskedForAndLeavesOutWhatIsNotThere) {
  for (const char* id : {"a", "b", "c"}) Push(Record(v1::OPERATION_ADD, id));
  v1::GetRequest request;
  for (const char* id : {"c", "x", "a", "c"}) request.add_ids(id);
  const v1::GetResponse response = Must(Answer(*Now(), request));
  ASSERT_EQ(response.rows_size(), 3);
  EXPECT_EQ(response.rows(0).id(), "c");
  EXPECT_EQ(response.rows(1).id(), "a");
  EXPECT_EQ(response.rows(2).id(), "c");
}

TEST_F(ReadsTest, PagesSeeEachRowOnceThatNeitherComesNorGoes) {
  for (int i = 0; i < 40; ++i) Push(Record(v1::OPERATION_ADD, "stays " + std::to_string(i)));
  std::multiset<std::string> seen;
  v1::GetRequest request;
  request.set_page_size(7);
  for (int page = 0;; ++page) {
    const v1::GetResponse response = Must(Answer(*Now(), request));
    for (const v1::Row& row : response.rows()) {
      if (row.id().starts_with("stays")) seen.insert(row.id());
    }
    if (response.next_page_token().empty()) break;
    request.set_page_token(response.next_page_token());
    Push(Record(v1::OPERATION_ADD, "comes " + std::to_string(page)));
    Push(Record(v1::OPERATION_DELETE, "comes " + std::to_string(page - 1)));
    if (page % 2) CompactAll();
  }
  EXPECT_EQ(seen.size(), 40u);
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), 40u);
}

TEST_F(ReadsTest, APageEndsBeforeItExceedsAMebibyteButHasOneRow) {
  for (int i = 0; i < 5; ++i) {
    v1::OperationRecord record = Record(v1::OPERATION_ADD, std::to_string(i));
    record.set_document(std::string(i == 4 ? 1 << 20 : 400'000, 'x'));
    Push(record);
  }
  v1::GetRequest request;
  *request.mutable_include() = Everything();
  int rows = 0;
  do {
    const v1::GetResponse response = Must(Answer(*Now(), request));
    EXPECT_TRUE(response.rows_size() == 1 || response.ByteSizeLong() <= kMaxPageBytes + 1024);
    rows += response.rows_size();
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(rows, 5);
}

TEST_F(ReadsTest, AnswersThatWouldBeTooLargeAreRefused) {
  v1::OperationRecord record = WithVector(Record(v1::OPERATION_ADD, "a"), {1, 2, 3});
  record.set_document(std::string(1 << 20, 'x'));
  Push(record);
  v1::GetRequest request;
  *request.mutable_include() = Everything();
  for (int i = 0; i < 32; ++i) request.add_ids("a");
  const absl::Status error = Answer(*Now(), request).status();
  EXPECT_EQ(ReasonOf(error), Reason::TOO_LARGE);
  EXPECT_EQ(ErrorMetadata(error, "limit"), "reply.bytes");
  request.clear_include();
  EXPECT_EQ(Must(Answer(*Now(), request)).rows_size(), 32);
}

// Invariant 8: until a new text's vector is there, the id is ranked by its last one.
TEST_F(ReadsTest, ATextThatWaitsForItsVectorIsRankedByTheLastOne) {
  Push(WithVector(Record(v1::OPERATION_ADD, "a"), {1, 0, 0}));
  Push(WithVector(Record(v1::OPERATION_ADD, "b"), {2, 0, 0}));
  CompactAll();
  v1::OperationRecord update = Record(v1::OPERATION_UPDATE, "b");
  update.set_document("new");
  Push(update);
  v1::OperationRecord add = Record(v1::OPERATION_ADD, "c");
  add.set_document("no vector yet");
  Push(add);
  const v1::QueryResponse response = Must(Answer(*Now(), Nearest({2, 0, 0}, 10)));
  EXPECT_EQ(IdsOf(response), (std::vector<std::string>{"b", "a"}));
  EXPECT_TRUE(response.hits(0).row().pending_embedding());
  EXPECT_EQ(response.hits(0).row().document(), "new");
  EXPECT_FALSE(response.hits(1).row().pending_embedding());
}

TEST_F(ReadsTest, EqualDistancesComeInOrderOfIdAlsoWhereTheLimitCutsThem) {
  for (int i = 0; i < 100; ++i) {
    Push(WithVector(Record(v1::OPERATION_ADD, std::to_string(1000 + (i * 37) % 100)), {1, 1, 1}));
    if (i == 50) CompactAll();
  }
  const v1::QueryResponse response = Must(Answer(*Now(), Nearest({0, 0, 0}, 20)));
  std::vector<std::string> expected;
  for (int i = 0; i < 20; ++i) expected.push_back(std::to_string(1000 + i));
  EXPECT_EQ(IdsOf(response), expected);
}

TEST_F(ReadsTest, AQueryByTextIsEmbeddedAsDocumentsAre) {
  collection_ = std::make_unique<FakeCollection>(&objects_, 64, "hashing", v1::METRIC_COSINE);
  const HashingEmbedder embedder(64);
  for (const char* text : {"a database of vectors", "a text editor", "a game of chess"}) {
    v1::OperationRecord record = WithVector(Record(v1::OPERATION_ADD, text), embedder.Embed(text));
    record.set_document(text);
    Push(record);
  }
  v1::QueryRequest request;
  request.set_text("chess game");
  const v1::QueryResponse response = Must(Answer(*Now(), request));
  ASSERT_EQ(response.hits_size(), 3);
  EXPECT_EQ(response.hits(0).row().id(), "a game of chess");
}

TEST_F(ReadsTest, AQueryNeedsTheCollectionsDimensionAndForTextItsEmbedder) {
  absl::Status error = Answer(*Now(), Nearest({1, 2}, 1)).status();
  EXPECT_EQ(ReasonOf(error), Reason::DIMENSION_MISMATCH);
  EXPECT_EQ(ErrorMetadata(error, "expected"), "3");
  EXPECT_EQ(ErrorMetadata(error, "actual"), "2");

  collection_ = std::make_unique<FakeCollection>(&objects_, 0, "");
  EXPECT_EQ(ReasonOf(Answer(*Now(), Nearest({1, 2}, 1)).status()), Reason::NO_DIMENSION);
  v1::QueryRequest text;
  text.set_text("words");
  EXPECT_EQ(ReasonOf(Answer(*Now(), text).status()), Reason::NO_EMBEDDER);
}

std::string FieldAtFault(const absl::Status& error) {
  EXPECT_EQ(ReasonOf(error), Reason::INVALID_REQUEST) << error;
  return ErrorMetadata(error, "field");
}

TEST(CheckTest, NamesTheFieldOfAGetThatIsAtFault) {
  v1::GetRequest request;
  EXPECT_TRUE(Check(request).ok());
  request.set_page_size(1'001);
  EXPECT_EQ(FieldAtFault(Check(request)), "page_size");
  request = {};
  request.add_ids("a");
  request.add_ids("");
  EXPECT_EQ(FieldAtFault(Check(request)), "ids[1]");
  request.set_ids(1, std::string(513, 'x'));
  EXPECT_EQ(FieldAtFault(Check(request)), "ids[1]");
  request.set_ids(1, "b");
  request.set_page_token("x");
  EXPECT_EQ(FieldAtFault(Check(request)), "page_token");
  request = {};
  for (int i = 0; i < 10'001; ++i) request.add_ids("a");
  EXPECT_EQ(ReasonOf(Check(request)), Reason::TOO_LARGE);
  request = {};
  request.mutable_level()->set_kind(static_cast<v1::ReadLevel::Kind>(9));
  EXPECT_EQ(FieldAtFault(Check(request)), "level.kind");
}

TEST(CheckTest, NamesTheFieldOfAQueryThatIsAtFault) {
  EXPECT_EQ(FieldAtFault(Check(v1::QueryRequest())), "query");
  EXPECT_TRUE(Check(Nearest({1, 2, 3}, 1)).ok());
  EXPECT_EQ(FieldAtFault(Check(Nearest({1, 2, 3}, 1'001))), "limit");
  EXPECT_EQ(FieldAtFault(Check(Nearest({1, std::numeric_limits<float>::infinity()}, 1))),
            "vector.data");
  EXPECT_EQ(FieldAtFault(Check(Nearest({}, 1))), "vector.dimension");
  EXPECT_EQ(FieldAtFault(Check(Nearest(std::vector<float>(8193), 1))), "vector.dimension");
  v1::QueryRequest request = Nearest({1, 2, 3}, 1);
  request.mutable_vector()->mutable_data()->pop_back();
  EXPECT_EQ(FieldAtFault(Check(request)), "vector.data");
  request = Nearest({1, 2, 3}, 1);
  request.mutable_vector()->set_encoding(static_cast<v1::ScalarEncoding>(7));
  EXPECT_EQ(FieldAtFault(Check(request)), "vector.encoding");
  request = {};
  request.set_text("");
  EXPECT_EQ(FieldAtFault(Check(request)), "text");
  request.set_text(std::string((1 << 20) + 1, 'x'));
  EXPECT_EQ(FieldAtFault(Check(request)), "text");
}

}  // namespace
}  // namespace sluice::frontend

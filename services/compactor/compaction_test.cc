#include "services/compactor/compaction.h"

#include <gtest/gtest.h>

#include "common/segment/merge.h"
#include "tests/model/index.h"
#include "tests/model/workload.h"
#include "tests/support/seed.h"
#include "tests/support/temp_folder.h"

namespace sluice::compactor {
namespace {

constexpr uint32_t kDimension = 16;

v1::CollectionSchema Schema() {
  v1::CollectionSchema schema;
  schema.set_dimension(kDimension);
  schema.mutable_embedder()->set_kind("hashing");
  return schema;
}

v1::OperationRecord Record(v1::Operation operation, const std::string& id,
                           const std::string& document = "") {
  v1::OperationRecord record;
  record.set_id(id);
  record.set_operation(operation);
  if (!document.empty()) record.set_document(document);
  return record;
}

// A collection in segments that a test compacts batches into, beside a model.
class CompactionTest : public ::testing::Test {
 protected:
  std::vector<v1::Append> Batch(const std::vector<v1::OperationRecord>& records) {
    std::vector<v1::Append> appends;
    for (const v1::OperationRecord& record : records) {
      // Appends of one to three records.
      const uint64_t tail = model_.tail().value;
      if (appends.empty() || appends.back().records_size() > static_cast<int>(tail % 3)) {
        appends.emplace_back().set_first_seq_id(tail + 1);
      }
      *appends.back().add_records() = record;
      model_.Apply(record);
    }
    return appends;
  }

  std::vector<Change> Compact(const std::vector<v1::OperationRecord>& records,
                              size_t chunk_bytes = SIZE_MAX) {
    const std::vector<v1::Append> appends = Batch(records);
    Compaction compaction(*view_, hasher_, true, appends);
    std::vector<Change> all;
    for (;;) {
      auto changes = compaction.Next(chunk_bytes);
      EXPECT_TRUE(changes.ok()) << changes.status();
      if (!changes.ok() || changes->empty()) break;
      embedded_ += EmbedPending(embedder_, *changes);
      std::move(changes->begin(), changes->end(), std::back_inserter(all));
    }
    live_ += compaction.live_delta();
    dead_ = compaction.dead();
    no_effect_ += compaction.no_effect();
    AddSegment(all);
    return all;
  }

  void AddSegment(const std::vector<Change>& changes) {
    if (changes.empty()) return;
    const auto path = folder_.path() / std::to_string(++files_);
    auto writer = SegmentWriter::Create(path, kDimension);
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (const Change& change : changes) {
      ASSERT_TRUE(
          (change.row ? (*writer)->Add(change.id, *change.row) : (*writer)->AddDeleted(change.id))
              .ok());
    }
    auto info = (*writer)->Finish();
    ASSERT_TRUE(info.ok()) << info.status();
    auto segment = Segment::Open(path, *info);
    ASSERT_TRUE(segment.ok()) << segment.status();
    auto segments = std::vector(view_->segments().begin(), view_->segments().end());
    segments.push_back(*segment);
    view_ = SegmentSet::Build(std::move(segments), view_.get());
  }

  void Merge(size_t first, size_t last) {
    auto segments = std::vector(view_->segments().begin(), view_->segments().end());
    const auto path = folder_.path() / std::to_string(++files_);
    auto info =
        MergeSegments(std::span(segments).subspan(first, last - first),
                      {.older = std::span(segments).first(first), .dimension = kDimension}, path);
    ASSERT_TRUE(info.ok()) << info.status();
    segments.erase(segments.begin() + first, segments.begin() + last);
    if (*info) {
      auto segment = Segment::Open(path, **info);
      ASSERT_TRUE(segment.ok()) << segment.status();
      segments.insert(segments.begin() + first, *segment);
    }
    view_ = SegmentSet::Build(std::move(segments), view_.get());
  }

  void ExpectEqualsModel() {
    EXPECT_EQ(live_, static_cast<int64_t>(model_.rows().size()));
    const auto without_effect = [&](v1::Operation operation) {
      const auto it = model_.no_effect().find(operation);
      return it == model_.no_effect().end() ? 0 : it->second;
    };
    EXPECT_EQ(no_effect_.adds, without_effect(v1::OPERATION_ADD));
    EXPECT_EQ(no_effect_.updates, without_effect(v1::OPERATION_UPDATE));
    EXPECT_EQ(no_effect_.deletes, without_effect(v1::OPERATION_DELETE));
    EXPECT_EQ(model::Differences(*view_, hasher_, model_), std::vector<std::string>());
  }

  sluice::testing::TempFolder folder_;
  const IdHasher hasher_{"0123456789abcdef"};
  const HashingEmbedder embedder_{kDimension};
  model::Model model_{Schema()};
  std::shared_ptr<const SegmentSet> view_ = SegmentSet::Build({}, nullptr);
  int files_ = 0;
  int64_t live_ = 0;
  std::vector<uint64_t> dead_;
  uint64_t embedded_ = 0;
  NoEffect no_effect_;
};

TEST_F(CompactionTest, RandomBatchesAndMergesEqualTheModel) {
  model::RecordGenerator random(sluice::testing::TestSeed(), kDimension);
  for (int round = 0; round < 60 && !HasFailure(); ++round) {
    std::vector<v1::OperationRecord> records;
    for (uint64_t n = random.Below(50); n > 0; --n) {
      records.push_back(random.Record(v1::OPERATION_UNSPECIFIED));
    }
    Compact(records, 1 + random.Below(4000));
    if (const size_t n = view_->segments().size(); n > 1 && random.OneIn(3)) {
      const size_t first = random.Below(n);
      Merge(first, first + 1 + random.Below(n - first));
    }
    ExpectEqualsModel();
  }
}

TEST_F(CompactionTest, ChangesComeInOrderOfIdHashHoweverTheyAreChunked) {
  std::vector<v1::OperationRecord> records;
  records.reserve(50);
  for (int i = 0; i < 50; ++i)
    records.push_back(Record(v1::OPERATION_ADD, std::to_string(i), "text"));
  const std::vector<Change> changes = Compact(records, 1);
  ASSERT_EQ(changes.size(), 50u);
  EXPECT_TRUE(std::is_sorted(changes.begin(), changes.end(),
                             [](const Change& a, const Change& b) { return a.id < b.id; }));
}

TEST_F(CompactionTest, ATextOverwrittenLaterInTheBatchIsEmbeddedOnce) {
  Compact({Record(v1::OPERATION_ADD, "a", "one"), Record(v1::OPERATION_UPDATE, "a", "two"),
           Record(v1::OPERATION_UPSERT, "a", "three")});
  EXPECT_EQ(embedded_, 1u);
  ExpectEqualsModel();
}

TEST_F(CompactionTest, AnAddWithoutEffectIsCountedAndNeverEmbedded) {
  Compact({Record(v1::OPERATION_ADD, "a", "one")});
  embedded_ = 0;
  EXPECT_TRUE(Compact({Record(v1::OPERATION_ADD, "a", "two")}).empty());
  EXPECT_EQ(embedded_, 0u);
  ExpectEqualsModel();
}

TEST_F(CompactionTest, AGivenVectorSettlesATextOfTheSameBatch) {
  v1::OperationRecord record = Record(v1::OPERATION_UPDATE, "a");
  SetVector(std::vector<float>(kDimension, 2.0f), record.mutable_vector());
  Compact({Record(v1::OPERATION_ADD, "a", "one"), record});
  EXPECT_EQ(embedded_, 0u);
  ExpectEqualsModel();
}

TEST_F(CompactionTest, AnUpdateOfMetadataAloneKeepsTheVectorWithoutEmbeddingAgain) {
  Compact({Record(v1::OPERATION_ADD, "a", "one")});
  embedded_ = 0;
  v1::OperationRecord record = Record(v1::OPERATION_UPDATE, "a");
  record.add_metadata()->set_key("k");
  record.mutable_metadata(0)->mutable_value()->set_string_value("v");
  Compact({record});
  EXPECT_EQ(embedded_, 0u);
  ExpectEqualsModel();
}

TEST_F(CompactionTest, ADeletionIsWrittenOnlyWhereAnOlderSegmentHasTheRow) {
  Compact({Record(v1::OPERATION_ADD, "old", "one")});
  const std::vector<Change> changes =
      Compact({Record(v1::OPERATION_DELETE, "old"), Record(v1::OPERATION_ADD, "brief", "x"),
               Record(v1::OPERATION_DELETE, "brief"), Record(v1::OPERATION_DELETE, "never")});
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].id, hasher_("old"));
  EXPECT_FALSE(changes[0].row);
  // It is gone already: nothing more to say.
  EXPECT_TRUE(Compact({Record(v1::OPERATION_DELETE, "old")}).empty());
  ExpectEqualsModel();
}

TEST_F(CompactionTest, RowsThatAreReplacedOrDeletedAreCountedForTheirSegments) {
  Compact({Record(v1::OPERATION_ADD, "a", "text"), Record(v1::OPERATION_ADD, "b", "text")});
  Compact({Record(v1::OPERATION_ADD, "c", "text")});
  EXPECT_EQ(dead_, std::vector<uint64_t>({0}));
  Compact({Record(v1::OPERATION_DELETE, "a"), Record(v1::OPERATION_UPSERT, "b", "other"),
           Record(v1::OPERATION_UPDATE, "c", "other"), Record(v1::OPERATION_ADD, "d", "text"),
           Record(v1::OPERATION_DELETE, "d"), Record(v1::OPERATION_DELETE, "nothing")});
  EXPECT_EQ(dead_, std::vector<uint64_t>({2, 1}));
}

TEST_F(CompactionTest, AnIdDeletedAndAddedAgainHasNothingOfItsFormerSelf) {
  v1::OperationRecord record = Record(v1::OPERATION_ADD, "a", "one");
  record.set_uri("u");
  Compact({record});
  Compact({Record(v1::OPERATION_DELETE, "a"), Record(v1::OPERATION_ADD, "a", "two")});
  EXPECT_FALSE(model_.rows().at("a").uri);
  ExpectEqualsModel();
}

TEST_F(CompactionTest, WithoutAnEmbedderATextLeavesTheVectorAsItIs) {
  const auto appends = Batch({Record(v1::OPERATION_ADD, "a", "text")});
  Compaction compaction(*view_, hasher_, /*has_embedder=*/false, appends);
  const auto changes = compaction.Next(SIZE_MAX);
  ASSERT_TRUE(changes.ok());
  ASSERT_EQ(changes->size(), 1u);
  EXPECT_TRUE(changes->at(0).row->vector.empty());
  EXPECT_FALSE(changes->at(0).row->pending_embedding);
}

// Rows whose text was not embedded: the row keeps what it had.
class MissingRowsTest : public CompactionTest {
 protected:
  // Without embedding anything.
  std::vector<Change> Changes(const std::vector<v1::OperationRecord>& records,
                              const MissingRows& missing) {
    const std::vector<v1::Append> appends = Batch(records);
    Compaction compaction(*view_, hasher_, true, appends, missing);
    auto changes = compaction.Next(SIZE_MAX);
    EXPECT_TRUE(changes.ok()) << changes.status();
    not_missing_ = compaction.not_missing();
    return *std::move(changes);
  }
  void AddMissing(const std::string& id) {
    std::vector<Change> changes = Changes({Record(v1::OPERATION_ADD, id, "text")}, {});
    ASSERT_EQ(changes.size(), 1u);
    EXPECT_TRUE(changes[0].embed);
    EXPECT_FALSE(changes[0].was_missing);
    AddSegment(changes);
  }
  const MissingRows any_{.any = true, .owed = {}};
  std::vector<IdHash> not_missing_;
};

TEST_F(MissingRowsTest, AChangeOfMetadataDoesNotSendTheTextAgain) {
  AddMissing("a");
  v1::OperationRecord record = Record(v1::OPERATION_UPDATE, "a");
  record.set_uri("u");
  const std::vector<Change> changes = Changes({record}, any_);
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_TRUE(changes[0].row->pending_embedding);
  EXPECT_FALSE(changes[0].embed);
}

TEST_F(MissingRowsTest, ADocumentAVectorOrADeletionSettlesThem) {
  for (const char* id : {"document", "vector", "deleted", "renewed"}) AddMissing(id);
  v1::OperationRecord vector = Record(v1::OPERATION_UPDATE, "vector");
  SetVector(std::vector<float>(kDimension, 1), vector.mutable_vector());
  const std::vector<Change> changes =
      Changes({Record(v1::OPERATION_UPSERT, "document", "text"), vector,
               Record(v1::OPERATION_DELETE, "deleted"), Record(v1::OPERATION_DELETE, "renewed"),
               Record(v1::OPERATION_ADD, "renewed")},
              any_);
  ASSERT_EQ(changes.size(), 4u);
  for (const Change& change : changes) {
    EXPECT_TRUE(change.was_missing);
    EXPECT_EQ(change.embed, change.id == hasher_("document"));
    EXPECT_TRUE(change.embed || !change.row || !change.row->pending_embedding);
  }
}

TEST_F(MissingRowsTest, AnAddWithoutEffectLeavesThemAsTheyAre) {
  AddMissing("a");
  EXPECT_TRUE(Changes({Record(v1::OPERATION_ADD, "a", "other")}, any_).empty());
}

TEST_F(MissingRowsTest, OwedOnesAreEmbeddedWhateverTheRecordsDo) {
  AddMissing("alone");
  AddMissing("changed");
  Compact({Record(v1::OPERATION_ADD, "well", "text")});
  v1::OperationRecord record = Record(v1::OPERATION_UPDATE, "changed");
  record.set_uri("u");
  const std::vector<Change> changes =
      Changes({record},
              {.any = true,
               .owed = {hasher_("alone"), hasher_("changed"), hasher_("well"), hasher_("never")}});
  ASSERT_EQ(changes.size(), 2u);
  for (const Change& change : changes) {
    EXPECT_TRUE(change.embed && change.was_missing);
    EXPECT_EQ(change.row->document, "text");
  }
  // What the log need not list any more.
  EXPECT_EQ(not_missing_.size(), 2u);
}

TEST(TooManyRefusedTest, IsMoreThanOneInAHundredAndAHundredAtLeast) {
  v1::EmbedWindow window;
  EXPECT_FALSE(TooManyRefused(window, 99, 99));
  EXPECT_TRUE(TooManyRefused(window, 100, 100));
  EXPECT_FALSE(TooManyRefused(window, 10'000, 100));
  EXPECT_TRUE(TooManyRefused(window, 10'000, 101));
  window.set_texts(5'000);
  window.set_refused(60);
  EXPECT_TRUE(TooManyRefused(window, 1'000, 40));
  EXPECT_FALSE(TooManyRefused(window, 6'000, 40));
}

TEST(DimensionOfTest, IsThatOfTheFirstVector) {
  std::vector<v1::Append> appends(2);
  *appends[0].add_records() = Record(v1::OPERATION_ADD, "a", "text");
  EXPECT_EQ(DimensionOf(appends), 0u);
  SetVector(std::vector<float>{1, 2, 3}, appends[1].add_records()->mutable_vector());
  EXPECT_EQ(DimensionOf(appends), 3u);
}

}  // namespace
}  // namespace sluice::compactor

// Invariant 8 on the whole system: what one frontend acknowledged is seen by the very next read
// through another, before it is in any segment and after.
#include <gtest/gtest.h>

#include "common/client/client.h"
#include "common/record/fold.h"
#include "tests/support/cluster.h"

namespace sluice {
namespace {

using sluice::testing::Cluster;

template <class T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) ADD_FAILURE() << value.status();
  return *std::move(value);
}

class ReadYourWritesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster_ = Must(Cluster::Start({.compactors = 1, .frontends = 2}, {}));
    writer_ = std::make_unique<client::Frontend>(Channel(cluster_->frontend(0)));
    reader_ = std::make_unique<client::Frontend>(Channel(cluster_->frontend(1)));
    // Of its own accord the compactor would not begin for an hour.
    Create("notes", /*max_age_ms=*/3'600'000);
  }
  void TearDown() override { EXPECT_TRUE(cluster_->Stop().ok()); }

  std::shared_ptr<grpc::Channel> Channel(size_t process) {
    return client::Connect(cluster_->address(process));
  }

  void Create(const std::string& name, uint64_t max_age_ms) {
    client::Catalog catalog(Channel(cluster_->frontend(0)));
    v1::CreateCollectionRequest request;
    request.set_name(name);
    request.mutable_schema()->mutable_embedder()->set_kind("hashing");
    request.mutable_schema()->set_dimension(3);
    request.mutable_schema()->set_metric(v1::METRIC_L2);
    request.mutable_settings()->mutable_compaction()->set_max_age_ms(max_age_ms);
    Must(catalog.Create(request));
    collection_.set_name(name);
  }

  v1::WriteRequest Write(const std::string& id, std::vector<float> vector,
                         const std::string& document) {
    v1::WriteRequest request;
    *request.mutable_collection() = collection_;
    v1::OperationRecord* const record = request.add_records();
    record->set_id(id);
    record->set_document(document);
    if (!vector.empty()) SetVector(vector, record->mutable_vector());
    return request;
  }

  uint64_t Count() {
    v1::CountRequest request;
    *request.mutable_collection() = collection_;
    return Must(reader_->Count(request)).count();
  }
  // Its document; "-" if the id does not exist.
  std::string Document(const std::string& id) {
    v1::GetRequest request;
    *request.mutable_collection() = collection_;
    request.add_ids(id);
    request.mutable_include()->set_document(true);
    const v1::GetResponse response = Must(reader_->Get(request));
    return response.rows_size() == 0 ? "-" : response.rows(0).document();
  }
  v1::QueryResponse Nearest(std::vector<float> vector) {
    v1::QueryRequest request;
    *request.mutable_collection() = collection_;
    SetVector(vector, request.mutable_vector());
    request.mutable_include()->set_document(true);
    return Must(reader_->Query(request));
  }
  std::string NearestId(std::vector<float> vector) {
    const v1::QueryResponse response = Nearest(std::move(vector));
    return response.hits_size() == 0 ? "-" : response.hits(0).row().id();
  }

  void Delete(const std::string& id) {
    v1::DeleteRequest request;
    *request.mutable_collection() = collection_;
    request.add_ids(id);
    Must(writer_->Delete(request));
  }

  // Adds, changes and deletes, each seen at once.
  void WriteAndRead() {
    Must(writer_->Add(Write("a", {1, 0, 0}, "first")));
    EXPECT_EQ(Count(), 1u);
    EXPECT_EQ(Document("a"), "first");
    EXPECT_EQ(NearestId({1, 0, 0}), "a");

    Must(writer_->Add(Write("b", {0, 1, 0}, "second")));
    EXPECT_EQ(Count(), 2u);
    EXPECT_EQ(NearestId({0, 1, 0}), "b");

    Must(writer_->Update(Write("a", {0, 0, 5}, "changed")));
    EXPECT_EQ(Document("a"), "changed");
    EXPECT_EQ(NearestId({0, 0, 5}), "a");

    Delete("b");
    EXPECT_EQ(Count(), 1u);
    EXPECT_EQ(Document("b"), "-");
    EXPECT_EQ(NearestId({0, 1, 0}), "a");

    Delete("a");
    EXPECT_EQ(Count(), 0u);
    EXPECT_EQ(NearestId({1, 0, 0}), "-");
  }

  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<client::Frontend> writer_, reader_;
  v1::CollectionRef collection_;
};

TEST_F(ReadYourWritesTest, InTheTailOfACollectionThatIsNotCompacted) { WriteAndRead(); }

TEST_F(ReadYourWritesTest, WhileCompactionsRun) {
  Create("compacted", /*max_age_ms=*/10);
  for (int round = 0; round < 20; ++round) WriteAndRead();
}

TEST_F(ReadYourWritesTest, OverSegmentsThatTheTailChanges) {
  Create("applied", /*max_age_ms=*/10);
  const v1::WriteResponse written = Must(writer_->Add(Write("a", {1, 0, 0}, "first")));
  v1::CountRequest applied;
  *applied.mutable_collection() = collection_;
  applied.mutable_level()->set_kind(v1::ReadLevel::KIND_AT_LEAST);
  applied.mutable_level()->set_seq_id(written.first_seq_id());
  EXPECT_EQ(Must(reader_->Count(applied)).count(), 1u);
  applied.mutable_level()->set_kind(v1::ReadLevel::KIND_APPLIED);
  EXPECT_EQ(Must(reader_->Count(applied)).count(), 1u);

  Must(writer_->Update(Write("a", {0, 9, 0}, "changed")));
  EXPECT_EQ(Document("a"), "changed");
  EXPECT_EQ(NearestId({0, 9, 0}), "a");
  EXPECT_EQ(Nearest({0, 9, 0}).hits(0).distance(), 0);
  Delete("a");
  EXPECT_EQ(Count(), 0u);
  EXPECT_EQ(NearestId({0, 9, 0}), "-");
}

TEST_F(ReadYourWritesTest, ANewTextIsRankedByItsLastVectorUntilItHasItsOwn) {
  Must(writer_->Add(Write("a", {1, 0, 0}, "first")));
  Must(writer_->Update(Write("a", {}, "changed")));
  const v1::QueryResponse response = Nearest({1, 0, 0});
  ASSERT_EQ(response.hits_size(), 1);
  EXPECT_EQ(response.hits(0).distance(), 0);
  EXPECT_EQ(response.hits(0).row().document(), "changed");
  EXPECT_TRUE(response.hits(0).row().pending_embedding());
}

}  // namespace
}  // namespace sluice

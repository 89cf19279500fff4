// CatalogService through a real server: rules, defaults, repeated calls, and what a crash left half
// done.
#include "services/log/reader.h"
#include "services/log/service_harness.h"
#include "services/log/settle.h"
#include "services/log/shard.h"

namespace sluice::log {
namespace {

class CatalogTest : public ServiceTest {
 protected:
  absl::StatusOr<v1::GetCollectionResponse> Get(const v1::CollectionRef& ref) {
    v1::GetCollectionRequest request;
    *request.mutable_collection() = ref;
    return Call(*catalog_, &v1::CatalogService::Stub::GetCollection, request);
  }
  absl::StatusOr<v1::DeleteCollectionResponse> Delete(const v1::CollectionRef& ref) {
    v1::DeleteCollectionRequest request;
    *request.mutable_collection() = ref;
    return Call(*catalog_, &v1::CatalogService::Stub::DeleteCollection, request);
  }
  absl::StatusOr<v1::UpdateCollectionResponse> Update(const v1::UpdateCollectionRequest& request) {
    return Call(*catalog_, &v1::CatalogService::Stub::UpdateCollection, request);
  }
  absl::StatusOr<v1::ListCollectionsResponse> List(const v1::ListCollectionsRequest& request) {
    return Call(*catalog_, &v1::CatalogService::Stub::ListCollections, request);
  }
  static v1::CollectionRef ById(const std::string& id) {
    v1::CollectionRef ref;
    ref.set_id(id);
    return ref;
  }
  static v1::CollectionRef ByName(const std::string& name) {
    v1::CollectionRef ref;
    ref.set_name(name);
    return ref;
  }
  static v1::CreateCollectionRequest Named(const std::string& name) {
    v1::CreateCollectionRequest request;
    request.set_name(name);
    return request;
  }
  // Refused for `field`, and nothing is created.
  void ExpectFieldRefused(const v1::CreateCollectionRequest& request, const std::string& field) {
    const auto response = Create(request);
    ExpectRefused(response.status(), Reason::INVALID_REQUEST);
    EXPECT_EQ(ErrorMetadata(response.status(), "field"), field);
    EXPECT_EQ(OutcomeOf(response.status()), Outcome::kNotIn);
    v1::ListCollectionsRequest all;
    all.set_tenant("*");
    EXPECT_EQ(List(all)->collections_size(), 0);
  }
  // Proposes to the closed node's shard, as a process does that dies before it has finished.
  void ProposeBetweenRuns(const pb::Command& command) {
    ShardOptions options = settings_.Shard();
    auto shard = Shard::Open(options);
    ASSERT_TRUE(shard.ok()) << shard.status();
    const Result result = (*shard)->ProposeAndWait(Command(command));
    ASSERT_TRUE(result.ok()) << result.status();
  }
  // Waits for the scan at start-up.
  void AwaitState(const std::string& id, bool active) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::chrono::steady_clock::now() < until) {
      const auto got = Get(ById(id));
      if (active ? got.ok() && got->collection().state() == v1::COLLECTION_STATE_ACTIVE
                 : ReasonOf(got.status()) == Reason::COLLECTION_DELETED) {
        return;
      }
    }
    FAIL() << "it stays half done";
  }
};

TEST_F(CatalogTest, DefaultsAreFilledIn) {
  const auto created = Create(Named("docs"));
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_TRUE(created->created());
  const v1::Collection& c = created->collection();
  EXPECT_EQ(c.tenant(), "default_tenant");
  EXPECT_EQ(c.database(), "default_database");
  EXPECT_EQ(c.schema().metric(), v1::METRIC_COSINE);
  EXPECT_EQ(c.schema().dimension(), 0u);
  EXPECT_EQ(c.settings().compaction().max_bytes(), 1u << 20);
  EXPECT_EQ(c.settings().compaction().max_age_ms(), 10'000u);
  EXPECT_EQ(c.settings().max_backlog_bytes(), uint64_t{4} << 30);
  EXPECT_EQ(c.version(), 1u);
  EXPECT_EQ(c.state(), v1::COLLECTION_STATE_ACTIVE);
  EXPECT_EQ(Text(Get(ById(c.id()))->collection()), Text(c));
  EXPECT_EQ(Text(Get(ByName("docs"))->collection()), Text(c));
}

TEST_F(CatalogTest, TheHashingEmbedderHas384Dimensions) {
  auto request = Named("docs");
  request.mutable_schema()->mutable_embedder()->set_kind("hashing");
  const auto created = Create(request);
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_EQ(created->collection().schema().dimension(), 384u);
  EXPECT_EQ(Describe(created->collection().id())->dimension(), 384u);
}

v1::CreateCollectionRequest WithEmbedder(const std::string& name) {
  v1::CreateCollectionRequest request;
  request.set_name(name);
  request.mutable_schema()->set_dimension(768);
  v1::Embedder& embedder = *request.mutable_schema()->mutable_embedder();
  embedder.set_kind("e5-base");
  embedder.set_model("intfloat/e5-base");
  embedder.set_document_prefix("passage: ");
  embedder.set_query_prefix("query: ");
  return request;
}

TEST_F(CatalogTest, AnEmbedderElsewhereIsKeptAsGivenAndIsPartOfTheSchema) {
  const auto created = Create(WithEmbedder("docs"));
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_EQ(Text(created->collection().schema().embedder()),
            Text(WithEmbedder("docs").schema().embedder()));
  auto other = WithEmbedder("docs");
  other.set_get_or_create(true);
  EXPECT_TRUE(Create(other).ok());
  other.mutable_schema()->mutable_embedder()->set_query_prefix("");
  ExpectRefused(Create(other).status(), Reason::SCHEMA_MISMATCH);
}

TEST_F(CatalogTest, AnEmbedderElsewhereNeedsItsDimensionAndHashingHasNoModel) {
  auto request = WithEmbedder("a");
  request.mutable_schema()->set_dimension(0);
  ExpectFieldRefused(request, "schema.dimension");
  request = WithEmbedder("a");
  request.mutable_schema()->mutable_embedder()->set_model(std::string(257, 'x'));
  ExpectFieldRefused(request, "schema.embedder.model");
  request = WithEmbedder("a");
  request.mutable_schema()->mutable_embedder()->set_document_prefix(std::string(1025, 'x'));
  ExpectFieldRefused(request, "schema.embedder.document_prefix");
  for (const char* kind : {"", "hashing"}) {
    request = WithEmbedder("a");
    request.mutable_schema()->mutable_embedder()->set_kind(kind);
    ExpectFieldRefused(request, "schema.embedder.model");
    request.mutable_schema()->mutable_embedder()->clear_model();
    request.mutable_schema()->mutable_embedder()->clear_document_prefix();
    ExpectFieldRefused(request, "schema.embedder.query_prefix");
  }
}

TEST_F(CatalogTest, BadNamesAreRefused) {
  ExpectFieldRefused(Named(""), "name");
  ExpectFieldRefused(Named("a b"), "name");
  ExpectFieldRefused(Named("\xc3\xa9"), "name");
  ExpectFieldRefused(Named(std::string(513, 'x')), "name");
  auto request = Named("a");
  request.set_tenant("*");
  ExpectFieldRefused(request, "tenant");
  request = Named("a");
  request.set_database("a/b");
  ExpectFieldRefused(request, "database");
}

TEST_F(CatalogTest, BadSchemasAndSettingsAreRefused) {
  auto request = Named("a");
  request.mutable_schema()->set_dimension(8193);
  ExpectFieldRefused(request, "schema.dimension");
  request = Named("a");
  request.mutable_schema()->set_metric(static_cast<v1::Metric>(9));
  ExpectFieldRefused(request, "schema.metric");
  request = Named("a");
  request.mutable_schema()->mutable_embedder()->set_kind("No Name");
  ExpectFieldRefused(request, "schema.embedder.kind");
  request.mutable_schema()->mutable_embedder()->set_kind(std::string(65, 'x'));
  ExpectFieldRefused(request, "schema.embedder.kind");
  request = Named("a");
  request.mutable_settings()->mutable_compaction()->set_max_bytes(1);
  ExpectFieldRefused(request, "settings.compaction.max_bytes");
  request = Named("a");
  request.mutable_settings()->mutable_compaction()->set_max_age_ms(9);
  ExpectFieldRefused(request, "settings.compaction.max_age_ms");
  request = Named("a");
  request.set_collection_id("no");
  ExpectFieldRefused(request, "collection_id");
}

TEST_F(CatalogTest, ATakenNameIsRefusedOrShared) {
  const std::string id = Create(Named("docs"))->collection().id();
  const auto again = Create(Named("docs"));
  ExpectRefused(again.status(), Reason::COLLECTION_EXISTS);
  EXPECT_EQ(ErrorMetadata(again.status(), "collection_id"), id);

  auto request = Named("docs");
  request.set_get_or_create(true);
  const auto shared = Create(request);
  ASSERT_TRUE(shared.ok()) << shared.status();
  EXPECT_FALSE(shared->created());
  EXPECT_EQ(shared->collection().id(), id);
  request.mutable_schema()->set_dimension(3);
  ExpectRefused(Create(request).status(), Reason::SCHEMA_MISMATCH);
}

TEST_F(CatalogTest, ARepeatedCreateIsRecognisedByItsId) {
  auto request = Named("docs");
  request.set_collection_id(Uuid::Random().ToString());
  const auto first = Create(request);
  const auto again = Create(request);
  ASSERT_TRUE(first.ok() && again.ok()) << again.status();
  EXPECT_EQ(Text(*first), Text(*again));
}

TEST_F(CatalogTest, PagesGoOnWhereTheyEnded) {
  for (const char* name : {"d", "b", "a", "c", "e"}) ASSERT_TRUE(Create(Named(name)).ok());
  v1::ListCollectionsRequest request;
  request.set_page_size(2);
  std::string names;
  int pages = 0;
  do {
    const auto page = List(request);
    ASSERT_TRUE(page.ok()) << page.status();
    for (const auto& collection : page->collections()) names += collection.name();
    request.set_page_token(page->next_page_token());
    ++pages;
  } while (!request.page_token().empty());
  EXPECT_EQ(names, "abcde");
  EXPECT_EQ(pages, 3);
  request.set_page_token("%%%");
  ExpectRefused(List(request).status(), Reason::INVALID_REQUEST);
}

TEST_F(CatalogTest, ListsKeepTenantsApart) {
  auto request = Named("docs");
  request.set_tenant("t");
  ASSERT_TRUE(Create(request).ok());
  ASSERT_TRUE(Create(Named("docs")).ok());
  v1::ListCollectionsRequest list;
  EXPECT_EQ(List(list)->collections_size(), 1);
  list.set_tenant("*");
  EXPECT_EQ(List(list)->collections_size(), 2);
}

TEST_F(CatalogTest, SettingsAreReplacedWithAVersion) {
  const std::string id = NewCollection();
  v1::UpdateCollectionRequest request;
  *request.mutable_collection() = ById(id);
  request.mutable_settings()->set_max_backlog_bytes(1000);
  request.set_expected_version(1);
  const auto updated = Update(request);
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(updated->collection().version(), 2u);
  // The log has followed when the call answers.
  ExpectRefused(Push(id, {UpsertOf("a", std::string(2000, 'x'))}).status(), Reason::BACKLOG);
  EXPECT_EQ(Text(*Update(request)), Text(*updated));
  request.mutable_settings()->set_max_backlog_bytes(2000);
  const auto refused = Update(request);
  ExpectRefused(refused.status(), Reason::VERSION_MISMATCH);
  EXPECT_EQ(ErrorMetadata(refused.status(), "version"), "2");
}

TEST_F(CatalogTest, ADeletedCollectionRefusesEverythingAndFreesItsName) {
  const std::string id = Create(Named("docs"))->collection().id();
  ASSERT_TRUE(Push(id, {UpsertOf("a")}).ok());
  const auto deleted = Delete(ByName("docs"));
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_EQ(deleted->collection().id(), id);
  ExpectRefused(Push(id, {UpsertOf("a")}).status(), Reason::COLLECTION_DELETED);
  v1::PullLogsRequest pull;
  pull.set_collection_id(id);
  ExpectRefused(Pull(pull).status(), Reason::COLLECTION_DELETED);
  ExpectRefused(Describe(id).status(), Reason::COLLECTION_DELETED);
  ExpectRefused(Get(ById(id)).status(), Reason::COLLECTION_DELETED);
  ExpectRefused(Get(ByName("docs")).status(), Reason::COLLECTION_NOT_FOUND);
  ExpectRefused(Delete(ByName("docs")).status(), Reason::COLLECTION_NOT_FOUND);
  EXPECT_TRUE(Delete(ById(id)).ok());
  const auto again = Create(Named("docs"));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_NE(again->collection().id(), id);
}

TEST_F(CatalogTest, UnknownCollectionsAreNotFound) {
  ExpectRefused(Get(ById(Uuid::Random().ToString())).status(), Reason::COLLECTION_NOT_FOUND);
  ExpectRefused(Get(ByName("nobody")).status(), Reason::COLLECTION_NOT_FOUND);
  ExpectRefused(Get(ById("x")).status(), Reason::INVALID_REQUEST);
  ExpectRefused(Get(v1::CollectionRef()).status(), Reason::INVALID_REQUEST);
}

TEST_F(CatalogTest, ACreateThatACrashCutShortIsFinishedAtStart) {  // invariant 5
  Stop();
  const CollectionId id(Uuid::Random());
  pb::Command command;
  v1::Collection& collection = *command.mutable_create_collection()->mutable_collection();
  collection.set_id(id.ToString());
  collection.set_tenant("default_tenant");
  collection.set_database("default_database");
  collection.set_name("docs");
  ProposeBetweenRuns(command);
  Start();
  AwaitState(id.ToString(), /*active=*/true);
  EXPECT_TRUE(Push(id.ToString(), {UpsertOf("a")}).ok());
}

TEST_F(CatalogTest, ARepeatedCreateFinishesWhatACrashCutShort) {
  auto request = Named("docs");
  request.set_collection_id(Uuid::Random().ToString());
  Stop();
  pb::Command command;
  v1::Collection& collection = *command.mutable_create_collection()->mutable_collection();
  collection.set_id(request.collection_id());
  collection.set_tenant("default_tenant");
  collection.set_database("default_database");
  collection.set_name("docs");
  ProposeBetweenRuns(command);
  Start();
  // The scan at start-up may have come first: either way it ends in one collection with a log.
  const auto again = Create(request);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->created());
  EXPECT_EQ(again->collection().state(), v1::COLLECTION_STATE_ACTIVE);
  EXPECT_TRUE(Push(request.collection_id(), {UpsertOf("a")}).ok());
}

// The log was opened by a create that was then cut short, and the settings changed before it was
// finished.
TEST_F(CatalogTest, SettlingACreateGivesTheLogTheNewestSettings) {
  Stop();
  auto shard = Shard::Open(settings_.Shard());
  ASSERT_TRUE(shard.ok()) << shard.status();
  const CollectionId id(Uuid::Random());
  pb::Command create;
  v1::Collection& collection = *create.mutable_create_collection()->mutable_collection();
  collection.set_id(id.ToString());
  collection.set_tenant("default_tenant");
  collection.set_database("default_database");
  collection.set_name("docs");
  ASSERT_TRUE((*shard)->ProposeAndWait(Command(create)).ok());
  pb::Command open;
  open.mutable_open_log()->set_collection_id(std::string(id.view()));
  open.mutable_open_log()->set_settings_version(1);
  ASSERT_TRUE((*shard)->ProposeAndWait(Command(open)).ok());
  pb::Command update;
  update.mutable_update_settings()->set_collection_id(std::string(id.view()));
  update.mutable_update_settings()->mutable_settings()->set_max_backlog_bytes(10);
  const Result updated = (*shard)->ProposeAndWait(Command(update));
  ASSERT_TRUE(updated.ok()) << updated.status();
  ASSERT_TRUE(Settle(**shard, std::get<CollectionAnswer>(*updated).collection).ok());
  const auto log = ReadLog(Snapshot((*shard)->store()), id);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_EQ(log->settings().max_backlog_bytes(), 10u);
}

TEST_F(CatalogTest, ADeleteThatACrashCutShortIsFinishedAtStart) {
  const std::string id = NewCollection();
  ASSERT_TRUE(Push(id, {UpsertOf("a")}).ok());
  Stop();
  pb::Command command;
  command.mutable_begin_delete()->set_collection_id(
      std::string(Uuid::Parse(id).value_or(Uuid()).view()));
  ProposeBetweenRuns(command);
  Start();
  AwaitState(id, /*active=*/false);
  v1::ListCollectionsRequest all;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!Create(Named("c1")).ok()) ASSERT_LT(std::chrono::steady_clock::now(), until);
  ExpectRefused(Push(id, {UpsertOf("a")}).status(), Reason::COLLECTION_DELETED);
}

TEST_F(CatalogTest, ALogThatMissedItsSettingsGetsThemAtStart) {
  const std::string id = NewCollection();
  Stop();
  pb::Command command;
  command.mutable_update_settings()->set_collection_id(
      std::string(Uuid::Parse(id).value_or(Uuid()).view()));
  command.mutable_update_settings()->mutable_settings()->set_max_backlog_bytes(10);
  ProposeBetweenRuns(command);
  Start();
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  absl::Status last;
  while (ReasonOf(last) != Reason::BACKLOG) {
    ASSERT_LT(std::chrono::steady_clock::now(), until);
    last = Push(id, {UpsertOf("a")}).status();
  }
}

}  // namespace
}  // namespace sluice::log

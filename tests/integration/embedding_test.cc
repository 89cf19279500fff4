// Log, compactor and frontend as processes, with an embedder that is served elsewhere: each
// protocol end to end, and what becomes of collections when the embedder fails (invariant 7).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/client/client.h"
#include "tests/embedder/embedder_server.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using testing::Behaviour;
using ::testing::Contains;
using testing::EmbedderServer;
using ::testing::HasSubstr;
using testing::Process;

constexpr uint32_t kDimension = 32;

template <class T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) ADD_FAILURE() << value.status();
  return *std::move(value);
}

class EmbeddingTest : public ::testing::Test {
 protected:
  void StartServices(const std::string& protocol = "tei", const std::string& of_compactor = "") {
    embedder_ = std::make_unique<EmbedderServer>();
    const std::string endpoint =
        protocol == "openai" ? embedder_->url() : embedder_->grpc_address();
    log_ = Start("sluice-log", "log", absl::StrCat("  data: ", (folder_.path() / "log").string()));
    const auto of_worker = [&](const std::string& more) {
      return absl::StrCat("  log_address: ", log_->grpc_address(),
                          "\n  objects: ", (folder_.path() / "objects").string(), more,
                          "\n  embedders:\n    served:\n      protocol: ", protocol,
                          "\n      endpoints: ", endpoint, "\n      deadline_ms: 1000\n");
    };
    compactor_ = Start(
        "sluice-compactor", "compactor",
        of_worker(absl::StrCat("\n  claim_wait_ms: 100\n  embed_patience_ms: 300\n  vector_cache: ",
                               (folder_.path() / "vectors").string(), of_compactor)));
    frontend_ = Start("sluice-frontend", "frontend", of_worker(""));
    client_ = std::make_unique<client::Frontend>(client::Connect(frontend_->grpc_address()));
    log_client_ = std::make_unique<client::Log>(client::Connect(log_->grpc_address()));
  }
  void TearDown() override {
    for (const auto* process : {&frontend_, &compactor_, &log_}) {
      if (!*process) continue;
      EXPECT_EQ((*process)->Stop(), 0) << (*process)->ErrorOutput();
    }
  }

  std::unique_ptr<Process> Start(const std::string& program, const std::string& section,
                                 const std::string& settings) {
    const auto config = folder_.path() / (section + ".yaml");
    std::ofstream(config)
        << section << ":\n"
        << settings << "\nserver:\n  grpc_address: 127.0.0.1:0\n  http_address: 127.0.0.1:0\n";
    testing::ProcessOptions options;
    options.program = testing::BinaryPath(program);
    options.arguments = {"--config", config};
    return Must(Process::Start(std::move(options)));
  }

  CollectionId Create(const std::string& name, const std::string& kind = "served",
                      uint32_t dimension = kDimension) {
    v1::CreateCollectionRequest request;
    request.set_name(name);
    request.mutable_schema()->set_dimension(dimension);
    v1::Embedder& embedder = *request.mutable_schema()->mutable_embedder();
    embedder.set_kind(kind);
    if (kind != "hashing") {
      embedder.set_model("test-model");
      embedder.set_document_prefix("passage: ");
      embedder.set_query_prefix("query: ");
    }
    request.mutable_settings()->mutable_compaction()->set_max_age_ms(10);
    client::Catalog catalog(client::Connect(frontend_->grpc_address()));
    return *ParseCollectionId(Must(catalog.Create(request)).collection().id());
  }
  // Returns the last SeqId.
  uint64_t Upsert(const std::string& collection,
                  const std::vector<std::pair<std::string, std::string>>& documents) {
    v1::WriteRequest request;
    request.mutable_collection()->set_name(collection);
    for (const auto& [id, document] : documents) {
      v1::OperationRecord& record = *request.add_records();
      record.set_id(id);
      record.set_document(document);
    }
    return Must(client_->Upsert(request)).tail_seq_id();
  }
  static v1::ReadLevel Once(uint64_t applied) {
    v1::ReadLevel level;
    level.set_kind(v1::ReadLevel::KIND_AT_LEAST);
    level.set_seq_id(applied);
    return level;
  }
  v1::QueryResponse Query(const std::string& collection, const std::string& text,
                          const v1::ReadLevel& level = {}) {
    v1::QueryRequest request;
    request.mutable_collection()->set_name(collection);
    request.set_text(text);
    *request.mutable_level() = level;
    return Must(client_->Query(request));
  }
  v1::DescribeLogResponse AwaitLog(
      const CollectionId& collection,
      const std::function<bool(const v1::DescribeLogResponse&)>& done) {
    const auto until = std::chrono::steady_clock::now() + 60s;
    for (;;) {
      v1::DescribeLogResponse log = Must(log_client_->Describe(collection));
      if (done(log)) return log;
      if (std::chrono::steady_clock::now() > until) {
        ADD_FAILURE() << "still: " << log.ShortDebugString() << "\n" << compactor_->ErrorOutput();
        return log;
      }
    }
  }
  v1::DescribeLogResponse AwaitApplied(const CollectionId& collection) {
    return AwaitLog(collection, [](const v1::DescribeLogResponse& log) {
      return log.applied_seq_id() == log.tail_seq_id();
    });
  }
  std::vector<v1::MissingVector> Missing(const CollectionId& collection) {
    v1::ListMissingVectorsRequest request;
    request.set_collection_id(collection.ToString());
    client::Compaction compaction(client::Connect(log_->grpc_address()));
    const v1::ListMissingVectorsResponse listed = Must(compaction.ListMissingVectors(request));
    return {listed.missing().begin(), listed.missing().end()};
  }
  static uint64_t Vectors(const v1::DescribeLogResponse& log) {
    uint64_t vectors = 0;
    for (const v1::SegmentInfo& segment : log.segments()) vectors += segment.vectors();
    return vectors;
  }

  testing::TempFolder folder_;
  std::unique_ptr<EmbedderServer> embedder_;
  std::unique_ptr<Process> log_;
  std::unique_ptr<Process> compactor_;
  std::unique_ptr<Process> frontend_;
  std::unique_ptr<client::Frontend> client_;
  std::unique_ptr<client::Log> log_client_;
};

class EachProtocol : public EmbeddingTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(EachProtocol, DocumentsAndQueriesAreEmbeddedWithTheirPrefixes) {
  StartServices(GetParam());
  Create("notes");
  const uint64_t last = Upsert("notes", {{"chess", "a game of chess for two"},
                                         {"editor", "an editor for texts"},
                                         {"server", "a server of web pages"}});
  const v1::QueryResponse found = Query("notes", "chess game", Once(last));
  ASSERT_EQ(found.hits_size(), 3);
  EXPECT_EQ(found.hits(0).row().id(), "chess");
  EXPECT_FALSE(found.hits(0).row().pending_embedding());
  EXPECT_THAT(embedder_->embedded(), Contains("passage: a game of chess for two"));
  EXPECT_THAT(embedder_->embedded(), Contains("query: chess game"));
  // A change of the document moves the row.
  const uint64_t changed = Upsert("notes", {{"server", "chess game"}});
  EXPECT_EQ(Query("notes", "chess game", Once(changed)).hits(0).row().id(), "server");
}

INSTANTIATE_TEST_SUITE_P(All, EachProtocol, ::testing::Values("tei", "oip", "openai"),
                         [](const auto& one) { return std::string(one.param); });

TEST_F(EmbeddingTest, WhileTheEmbedderIsAwayNobodyIsBlamedAndOthersGoOn) {
  StartServices();
  Behaviour away;
  away.wrong = Behaviour::Wrong::kUnavailable;
  embedder_->Set(away);
  const CollectionId waiting = Create("waiting");
  const CollectionId other = Create("other", "hashing");
  Upsert("waiting", {{"a", "some words"}});
  // It was tried, and its lease given back.
  AwaitLog(waiting,
           [](const v1::DescribeLogResponse& log) { return log.compaction_lease().token() > 1; });
  Upsert("other", {{"a", "some words"}});
  AwaitApplied(other);
  const v1::DescribeLogResponse log = Must(log_client_->Describe(waiting));
  EXPECT_EQ(log.applied_seq_id(), 0u);
  EXPECT_EQ(log.failures(), 0u) << log.last_failure();

  embedder_->Set({});
  EXPECT_EQ(Vectors(AwaitApplied(waiting)), 1u);
}

TEST_F(EmbeddingTest, AnEmbedderThatTakesLittleAtOnceGetsItAllTheSame) {
  StartServices();
  Behaviour busy;
  busy.calls_at_once = 1;
  embedder_->Set(busy);
  std::vector<CollectionId> collections;
  for (int c = 0; c < 5; ++c) {
    const std::string name = absl::StrCat("c", c);
    collections.push_back(Create(name));
    std::vector<std::pair<std::string, std::string>> documents;
    documents.reserve(100);
    for (int i = 0; i < 100; ++i) {
      documents.emplace_back(absl::StrCat(i), absl::StrCat("number ", i, " of ", name));
    }
    Upsert(name, documents);
  }
  for (const CollectionId& collection : collections) {
    const v1::DescribeLogResponse log = AwaitApplied(collection);
    EXPECT_EQ(Vectors(log), 100u);
    EXPECT_EQ(log.failures(), 0u) << log.last_failure();
  }
}

// Invariant 7: whichever way a text is bad, the others of its batch are embedded, and it is listed.
class APoisonedText : public EmbeddingTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(APoisonedText, IsListedAloneAndSettledByAnotherDocument) {
  StartServices("oip");
  const CollectionId notes = Create("notes");
  std::vector<std::pair<std::string, std::string>> documents;
  documents.reserve(40);
  for (int i = 0; i < 40; ++i) documents.emplace_back(absl::StrCat(i), absl::StrCat("number ", i));
  documents[17].second += GetParam();
  Upsert("notes", documents);
  const v1::DescribeLogResponse log = AwaitApplied(notes);
  EXPECT_EQ(Vectors(log), 39u);
  EXPECT_EQ(log.live_count(), 40u);
  EXPECT_EQ(log.failures(), 0u) << log.last_failure();
  EXPECT_EQ(log.missing_vectors(), 1u);
  const auto missing = Missing(notes);
  ASSERT_EQ(missing.size(), 1u);
  EXPECT_EQ(missing[0].id(), "17");
  EXPECT_EQ(missing[0].reason(), GetParam() == std::string_view(testing::kRefusedMark)
                                     ? v1::MISSING_REASON_REFUSED
                                     : v1::MISSING_REASON_FAILING);
  EXPECT_FALSE(missing[0].words().empty());
  // Its document is there all the same.
  v1::GetRequest get;
  get.mutable_collection()->set_name("notes");
  get.add_ids("17");
  get.mutable_include()->set_document(true);
  const v1::GetResponse got = Must(client_->Get(get));
  ASSERT_EQ(got.rows_size(), 1);
  EXPECT_EQ(got.rows(0).document(), documents[17].second);
  EXPECT_TRUE(got.rows(0).pending_embedding());

  Upsert("notes", {{"17", "seventeen"}});
  AwaitLog(notes, [](const v1::DescribeLogResponse& now) { return now.missing_vectors() == 0; });
  EXPECT_EQ(Query("notes", "seventeen").hits(0).row().id(), "17");
}

INSTANTIATE_TEST_SUITE_P(Each, APoisonedText,
                         ::testing::Values(testing::kRefusedMark, testing::kFailingMark,
                                           testing::kHangingMark),
                         [](const auto& one) {
                           const std::string mark = one.param;
                           return mark.substr(1, mark.size() - 2);
                         });

TEST_F(EmbeddingTest, ARefusedDocumentIsEmbeddedOnceItIsRetriedAndTaken) {
  StartServices("oip");
  const CollectionId notes = Create("notes");
  Behaviour strict;
  strict.refuses = "some words";
  embedder_->Set(strict);
  Upsert("notes", {{"a", "some words"}});
  AwaitApplied(notes);
  ASSERT_EQ(Missing(notes).size(), 1u);
  embedder_->Set({});
  client::Compaction compaction(client::Connect(log_->grpc_address()));
  v1::RetryMissingVectorsRequest retry;
  retry.set_collection_id(notes.ToString());
  retry.add_ids("a");
  ASSERT_TRUE(compaction.RetryMissingVectors(retry).ok());
  AwaitLog(notes, [](const v1::DescribeLogResponse& log) { return log.missing_vectors() == 0; });
  EXPECT_EQ(Query("notes", "some words").hits(0).row().id(), "a");
  EXPECT_THAT(Missing(notes), ::testing::IsEmpty());
}

// Invariants 7 and 8: what is owed is there but for its vector, and gets that later.
TEST_F(EmbeddingTest, VectorsAreOwedWhileTheEmbedderIsAwayForLongAndFilledInOnceItIsBack) {
  StartServices("tei", "\n  owe_after_ms: 100");
  const CollectionId notes = Create("notes");
  const uint64_t first = Upsert("notes", {{"a", "a game of chess"}});
  Query("notes", "chess", Once(first));
  Behaviour away;
  away.wrong = Behaviour::Wrong::kUnavailable;
  embedder_->Set(away);
  Upsert("notes", {{"a", "a text editor"}, {"b", "a database"}});
  const v1::DescribeLogResponse owing = AwaitApplied(notes);
  EXPECT_EQ(owing.owed_vectors(), 2u);
  EXPECT_EQ(owing.live_count(), 2u);
  EXPECT_EQ(owing.failures(), 0u) << owing.last_failure();
  embedder_->Set({});
  client::Compaction compaction(client::Connect(log_->grpc_address()));
  v1::RetryMissingVectorsRequest soon;
  soon.set_collection_id(notes.ToString());
  soon.add_ids("a");
  ASSERT_TRUE(compaction.RetryMissingVectors(soon).ok());
  const v1::DescribeLogResponse filled = AwaitLog(
      notes, [](const v1::DescribeLogResponse& log) { return log.missing_vectors() == 0; });
  EXPECT_EQ(filled.applied_seq_id(), owing.applied_seq_id());
  EXPECT_EQ(Query("notes", "text editor").hits(0).row().id(), "a");
  EXPECT_EQ(Query("notes", "database").hits(0).row().id(), "b");
  EXPECT_FALSE(Query("notes", "database").hits(0).row().pending_embedding());
}

TEST_F(EmbeddingTest, AModelOfAnotherDimensionIsAFailureOfTheCollection) {
  StartServices();
  const CollectionId wrong = Create("wrong", "served", 48);
  const CollectionId right = Create("right");
  Upsert("wrong", {{"a", "some words"}});
  const v1::DescribeLogResponse log = AwaitLog(
      wrong, [](const v1::DescribeLogResponse& described) { return described.failures() > 0; });
  EXPECT_THAT(log.last_failure(), HasSubstr("48"));
  EXPECT_EQ(log.applied_seq_id(), 0u);
  // The embedder is well for others.
  Upsert("right", {{"a", "some words"}});
  EXPECT_EQ(Vectors(AwaitApplied(right)), 1u);
}

}  // namespace
}  // namespace sluice

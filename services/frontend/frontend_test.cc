// The frontend as a caller meets it, in front of a log that a test holds in its hands.
#include "services/frontend/frontend.h"

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <fstream>
#include <future>
#include <latch>
#include <sstream>

#include "common/embed/hashing_embedder.h"
#include "common/errors/errors.h"
#include "common/objects/folder_store.h"
#include "common/server/metrics.h"
#include "services/frontend/fake_log.h"
#include "sluice/v1/catalog.grpc.pb.h"
#include "sluice/v1/frontend.grpc.pb.h"
#include "tests/embedder/embedder_server.h"
#include "tests/support/temp_folder.h"

namespace sluice::frontend {
namespace {

using ::testing::HasSubstr;

// Knows one collection, "notes".
class FakeCatalog final : public v1::CatalogService::Service {
 public:
  explicit FakeCatalog(std::string id) : id_(std::move(id)) {}

 private:
  grpc::Status GetCollection(grpc::ServerContext* context, const v1::GetCollectionRequest* request,
                             v1::GetCollectionResponse* response) override {
    if (request->collection().name() != "notes") {
      return ToGrpc(MakeError(Reason::COLLECTION_NOT_FOUND, "no such name"), context);
    }
    response->mutable_collection()->set_id(id_);
    return grpc::Status::OK;
  }

  const std::string id_;
};

class FrontendTest : public ::testing::Test {
 protected:
  explicit FrontendTest(uint32_t dimension = 3, const std::string& embedder = "hashing")
      : collection_(&objects_, dimension, embedder) {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&log_);
    builder.RegisterService(&catalog_);
    log_server_ = builder.BuildAndStart();

    server::Settings declared;
    settings_.Declare(declared, "127.0.0.1:" + std::to_string(port));
    settings_.objects = folder_.path();
    server_settings_.Declare(declared, "127.0.0.1:0", "127.0.0.1:0");
    server_settings_.drain_ms = 5'000;
  }
  ~FrontendTest() override {
    server_.reset();
    log_server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  }

  // Once the settings are as the test wants them.
  void Start(Frontend::Catalog catalog = Frontend::Catalog::kPassedThrough) {
    frontend_ = std::make_unique<Frontend>(settings_, catalog, *registry_);
    auto server =
        server::Server::Start("sluice-frontend", server_settings_, registry_, {frontend_.get()});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    stub_ = v1::FrontendService::NewStub(server_->Channel());
  }

  static v1::WriteRequest Notes(const std::string& id = "a") {
    v1::WriteRequest request;
    request.mutable_collection()->set_name("notes");
    request.add_records()->set_id(id);
    return request;
  }

  absl::StatusOr<v1::WriteResponse> Add(const v1::WriteRequest& request) {
    grpc::ClientContext context;
    v1::WriteResponse response;
    const grpc::Status status = stub_->Add(&context, request, &response);
    if (!status.ok()) return FromGrpc(status, context);
    return response;
  }

  absl::StatusOr<uint64_t> Count(v1::ReadLevel::Kind kind = v1::ReadLevel::KIND_TAIL,
                                 uint64_t seq_id = 0,
                                 std::chrono::milliseconds within = std::chrono::seconds(30)) {
    v1::CountRequest request;
    request.mutable_collection()->set_name("notes");
    request.mutable_level()->set_kind(kind);
    request.mutable_level()->set_seq_id(seq_id);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + within);
    v1::CountResponse response;
    const grpc::Status status = stub_->Count(&context, request, &response);
    if (!status.ok()) return FromGrpc(status, context);
    return response.count();
  }

  // Any bytes to any method.
  absl::Status CallRaw(const std::string& method, const std::string& bytes) {
    grpc::GenericStub stub(server_->Channel());
    grpc::ClientContext context;
    const grpc::Slice slice(bytes);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer response;
    std::promise<grpc::Status> status;
    stub.UnaryCall(&context, "/sluice.v1." + method, {}, &request, &response,
                   [&](grpc::Status s) { status.set_value(s); });
    return FromGrpc(status.get_future().get(), context);
  }

  testing::TempFolder folder_;
  FolderStore objects_ = *FolderStore::Open(folder_.path());
  FakeCollection collection_;
  FakeLogService log_{&collection_};
  FakeCatalog catalog_{collection_.id().ToString()};
  std::unique_ptr<grpc::Server> log_server_;

  FrontendSettings settings_;
  server::ServerSettings server_settings_;
  std::shared_ptr<prometheus::Registry> registry_ = std::make_shared<prometheus::Registry>();
  std::unique_ptr<Frontend> frontend_;
  std::unique_ptr<server::Server> server_;
  std::unique_ptr<v1::FrontendService::Stub> stub_;
};

TEST_F(FrontendTest, AWriteByNameIsPushedToTheCollectionOfThatName) {
  Start();
  v1::WriteRequest request = Notes("a");
  request.add_records()->set_id("b");
  request.set_request_id("0191f3a0-0000-7000-8000-000000000002");
  const absl::StatusOr<v1::WriteResponse> response = Add(request);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->first_seq_id(), 1u);
  EXPECT_EQ(response->count(), 2u);
  EXPECT_EQ(response->tail_seq_id(), 2u);
  EXPECT_EQ(response->incarnation(), 1u);
  EXPECT_EQ(response->commit_time_us(), 7);
  EXPECT_TRUE(response->duplicate());
  EXPECT_EQ(response->collection_id(), collection_.id().ToString());
  EXPECT_EQ(log_.last_push().request_id(), request.request_id());
  EXPECT_EQ(log_.last_push().records(1).id(), "b");
  EXPECT_EQ(log_.last_push().records(1).operation(), v1::OPERATION_ADD);
}

// Invariant 8.
TEST_F(FrontendTest, WhatWasWrittenIsSeenByTheNextRead) {
  Start();
  for (uint64_t i = 1; i <= 5; ++i) {
    ASSERT_TRUE(Add(Notes(std::to_string(i))).ok());
    EXPECT_EQ(*Count(), i);
  }
  v1::DeleteRequest request;
  request.mutable_collection()->set_id(collection_.id().ToString());
  request.add_ids("3");
  grpc::ClientContext context;
  v1::WriteResponse response;
  ASSERT_TRUE(stub_->Delete(&context, request, &response).ok());
  EXPECT_EQ(*Count(), 4u);
  EXPECT_EQ(*Count(v1::ReadLevel::KIND_APPLIED), 0u);
}

// Invariant 10 (honest errors): what was refused before the log was asked is not in.
TEST_F(FrontendTest, AWriteThatIsRefusedBeforeTheLogSaysNotIn) {
  Start();
  v1::WriteRequest request = Notes("");
  absl::Status error = Add(request).status();
  EXPECT_EQ(ReasonOf(error), Reason::INVALID_RECORD);
  EXPECT_EQ(ErrorMetadata(error, "record"), "0");
  EXPECT_EQ(OutcomeOf(error), Outcome::kNotIn);

  request = Notes();
  request.mutable_collection()->set_name("unknown");
  error = Add(request).status();
  EXPECT_EQ(ReasonOf(error), Reason::COLLECTION_NOT_FOUND);
  EXPECT_EQ(OutcomeOf(error), Outcome::kNotIn);

  request.mutable_collection()->set_id("not a uuid");
  EXPECT_EQ(Add(request).status().code(), absl::StatusCode::kInvalidArgument);

  request.clear_collection();
  error = Add(request).status();
  EXPECT_EQ(ReasonOf(error), Reason::INVALID_REQUEST);
  EXPECT_EQ(ErrorMetadata(error, "field"), "collection");
  EXPECT_EQ(log_.pushes(), 0);
}

// Invariant 10: the log's word is passed on; without one, nothing is claimed.
TEST_F(FrontendTest, AnErrorOfThePushIsPassedOnAsTheLogSaidIt) {
  Start();
  log_.OnPush([](grpc::ServerContext* context) {
    return ToGrpc(
        WithOutcome(MakeRetryableError(Reason::BACKLOG, "slow down", std::chrono::milliseconds(70)),
                    Outcome::kNotIn),
        context);
  });
  absl::Status error = Add(Notes()).status();
  EXPECT_EQ(ReasonOf(error), Reason::BACKLOG);
  EXPECT_EQ(RetryAfter(error), std::chrono::milliseconds(70));
  EXPECT_EQ(OutcomeOf(error), Outcome::kNotIn);

  log_.OnPush(
      [](grpc::ServerContext*) { return grpc::Status(grpc::StatusCode::UNAVAILABLE, "cut off"); });
  error = Add(Notes()).status();
  EXPECT_TRUE(absl::IsUnavailable(error));
  EXPECT_EQ(OutcomeOf(error), Outcome::kUnknown);
  EXPECT_THAT(std::string(error.message()), HasSubstr("log: cut off"));
}

TEST_F(FrontendTest, BytesThatAreNotARequestGetAnErrorThatSaysSo) {
  Start();
  for (const char* method : {"Add", "Update", "Upsert", "Delete", "Get", "Count", "Query"}) {
    EXPECT_EQ(ReasonOf(CallRaw(std::string("FrontendService/") + method, "\x0a\xff")),
              Reason::MALFORMED_REQUEST)
        << method;
  }
  // An id that is not UTF-8.
  EXPECT_EQ(ReasonOf(CallRaw("FrontendService/Get", "\x12\x01\xff")), Reason::MALFORMED_REQUEST);
}

TEST_F(FrontendTest, AReadThatWaitsEndsAtItsDeadlineAndHoldsNobodyUp) {
  settings_.max_pending_reads = 1;
  Start();
  ASSERT_TRUE(Add(Notes()).ok());
  const absl::Status error =
      Count(v1::ReadLevel::KIND_AT_LEAST, 99, std::chrono::milliseconds(50)).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(error)) << error;
  // Its place becomes free once the frontend has noticed, too.
  absl::StatusOr<uint64_t> count = Count();
  while (!count.ok() && ReasonOf(count.status()) == Reason::OVERLOADED) count = Count();
  EXPECT_EQ(*count, 1u);
}

// Invariant 9 (bounded).
TEST_F(FrontendTest, ReadsBeyondTheBoundAreRefusedAtOnce) {
  settings_.max_pending_reads = 1;
  Start();
  std::latch arrived(1), go_on(1);
  log_.OnReadView([&](const v1::ReadViewRequest&) {
    arrived.count_down();
    go_on.wait();
    return grpc::Status::OK;
  });
  auto first = std::async(std::launch::async, [&] { return Count(); });
  arrived.wait();
  const absl::Status error = Count().status();
  EXPECT_EQ(ReasonOf(error), Reason::OVERLOADED);
  EXPECT_TRUE(RetryAfter(error));
  go_on.count_down();
  EXPECT_TRUE(first.get().ok());
}

// Invariant 9.
TEST_F(FrontendTest, WritesBeyondTheBoundAreRefusedAndNotIn) {
  settings_.max_pending_write_bytes = 60;
  Start();
  const absl::Status error = Add(Notes(std::string(100, 'x'))).status();
  EXPECT_EQ(ReasonOf(error), Reason::OVERLOADED);
  EXPECT_EQ(OutcomeOf(error), Outcome::kNotIn);
  EXPECT_TRUE(Add(Notes()).ok());
  // What was written no longer counts.
  EXPECT_TRUE(Add(Notes()).ok());
}

TEST_F(FrontendTest, ADrainFinishesWhatBeganAndRefusesWhatComes) {
  Start();
  std::latch arrived(1), go_on(1);
  log_.OnPush([&](grpc::ServerContext*) {
    arrived.count_down();
    go_on.wait();
    return grpc::Status::OK;
  });
  auto write = std::async(std::launch::async, [&] { return Add(Notes()); });
  arrived.wait();
  frontend_->BeginDrain();
  const absl::Status refused = Add(Notes()).status();
  EXPECT_EQ(ReasonOf(refused), Reason::DRAINING);
  EXPECT_EQ(OutcomeOf(refused), Outcome::kNotIn);
  EXPECT_EQ(ReasonOf(Count().status()), Reason::DRAINING);
  go_on.count_down();
  frontend_->FinishDrain(std::chrono::steady_clock::now() + std::chrono::seconds(30));
  EXPECT_TRUE(write.get().ok());
}

TEST_F(FrontendTest, CatalogCallsArePassedThrough) {
  Start();
  const auto catalog = v1::CatalogService::NewStub(server_->Channel());
  v1::GetCollectionRequest request;
  v1::GetCollectionResponse response;
  {
    grpc::ClientContext context;
    request.mutable_collection()->set_name("notes");
    ASSERT_TRUE(catalog->GetCollection(&context, request, &response).ok());
    EXPECT_EQ(response.collection().id(), collection_.id().ToString());
  }
  {
    grpc::ClientContext context;
    request.mutable_collection()->set_name("unknown");
    const grpc::Status status = catalog->GetCollection(&context, request, &response);
    EXPECT_EQ(ReasonOf(FromGrpc(status, context)), Reason::COLLECTION_NOT_FOUND);
  }
}

TEST_F(FrontendTest, TheCatalogIsLeftToTheLogWhereThatServesInTheSameProcess) {
  Start(Frontend::Catalog::kElsewhere);
  EXPECT_EQ(CallRaw("CatalogService/GetCollection", "").code(), absl::StatusCode::kUnimplemented);
}

TEST_F(FrontendTest, IsReadyOnceItIsConnectedToTheLogAndOnlyThen) {
  Start();
  ASSERT_TRUE(Add(Notes()).ok());
  EXPECT_TRUE(frontend_->Ready().ok());
  EXPECT_TRUE(frontend_->Alive().ok());
  log_server_->Shutdown();
  while (frontend_->Ready().ok()) {
    EXPECT_FALSE(Add(Notes()).ok());
  }
  EXPECT_THAT(std::string(frontend_->Ready().message()), HasSubstr(settings_.log_address));
}

TEST_F(FrontendTest, NeedsTheAddressOfALog) {
  settings_.log_address = "";
  frontend_ = std::make_unique<Frontend>(settings_, Frontend::Catalog::kPassedThrough, *registry_);
  const auto server =
      server::Server::Start("sluice-frontend", server_settings_, registry_, {frontend_.get()});
  EXPECT_THAT(std::string(server.status().message()), HasSubstr("frontend.log_address"));
}

// Queries are answered from the view at hand while the log is asked whether it still holds.
class QueryAheadTest : public FrontendTest {
 protected:
  void AddVector(const std::string& id, float x) {
    log_.Change([&](FakeCollection& collection) {
      v1::OperationRecord record;
      record.set_id(id);
      record.set_operation(v1::OPERATION_ADD);
      SetVector(std::vector<float>{x, 0, 0}, record.mutable_vector());
      collection.Push(record);
    });
  }

  // The nearest to 0.
  absl::StatusOr<std::string> Nearest() {
    v1::QueryRequest request;
    request.mutable_collection()->set_name("notes");
    SetVector(std::vector<float>{0, 0, 0}, request.mutable_vector());
    request.set_limit(1);
    grpc::ClientContext context;
    v1::QueryResponse response;
    const grpc::Status status = stub_->Query(&context, request, &response);
    if (!status.ok()) return FromGrpc(status, context);
    if (response.hits().empty()) return absl::NotFoundError("no hits");
    return response.hits(0).row().id();
  }

  double Counted(const std::string& result) {
    for (const prometheus::MetricFamily& family : registry_->Collect()) {
      if (family.name != "sluice_frontend_answers_ahead_total") continue;
      for (const prometheus::ClientMetric& metric : family.metric) {
        if (metric.label[0].value == result) return metric.counter.value;
      }
    }
    return -1;
  }

  // Until an answer was made ahead: only threads that have nothing to do make them.
  void AwaitAhead(const std::string& result, const std::function<void()>& query) {
    for (const double before = Counted(result); Counted(result) == before;) query();
  }
};

TEST_F(QueryAheadTest, TheAnswerMadeAheadIsUsedWhileNothingChanges) {
  AddVector("a", 2);
  Start();
  AwaitAhead("used", [&] { EXPECT_EQ(*Nearest(), "a"); });
  EXPECT_EQ(Counted("discarded"), 0);
}

// Invariant 8.
TEST_F(QueryAheadTest, AQuerySeesWhatWasWrittenBeforeItThoughItWasAnsweredAhead) {
  AddVector("a", 1000);
  Start();
  float x = 1000;
  AwaitAhead("discarded", [&] {
    ASSERT_EQ(*Nearest(), x == 1000 ? "a" : std::to_string(x));
    ASSERT_TRUE(Nearest().ok());
    x /= 2;
    AddVector(std::to_string(x), x);
    ASSERT_EQ(*Nearest(), std::to_string(x));
  });
}

TEST_F(QueryAheadTest, AnAnswerMadeAheadIsNotGivenIfTheLogDoesNotAnswer) {
  AddVector("a", 2);
  Start();
  AwaitAhead("used", [&] { ASSERT_TRUE(Nearest().ok()); });
  log_.OnReadView([](const v1::ReadViewRequest&) {
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "away");
  });
  AwaitAhead("discarded", [&] { EXPECT_TRUE(absl::IsUnavailable(Nearest().status())); });
}

// A collection whose embedder is a server.
class QueryByTextTest : public FrontendTest {
 protected:
  static constexpr uint32_t kDimension = 32;

  QueryByTextTest() : FrontendTest(kDimension, "served") {
    server::Settings declared;
    settings_.embedders["served"].Declare(declared, "frontend.embedders.served");
    settings_.embedders["served"].endpoints = embedder_.grpc_address();
    settings_.embedders["served"].deadline_ms = 5'000;
  }

  absl::StatusOr<v1::QueryResponse> Query(const std::string& text) {
    v1::QueryRequest request;
    request.mutable_collection()->set_name("notes");
    request.set_text(text);
    grpc::ClientContext context;
    v1::QueryResponse response;
    const grpc::Status status = stub_->Query(&context, request, &response);
    if (!status.ok()) return FromGrpc(status, context);
    return response;
  }
  Reason ReasonOfQuery(const std::string& text) {
    const absl::Status status = Query(text).status();
    EXPECT_EQ(ErrorMetadata(status, "embedder"), "served") << status;
    return ReasonOf(status).value_or(Reason::INVALID_REQUEST);
  }

  sluice::testing::EmbedderServer embedder_;
};

TEST_F(QueryByTextTest, TheTextIsEmbeddedByTheCollectionsEmbedder) {
  const HashingEmbedder same(kDimension);
  for (const char* text : {"a game of chess", "a database"}) {
    v1::OperationRecord record;
    record.set_id(text);
    record.set_operation(v1::OPERATION_ADD);
    SetVector(same.Embed(text), record.mutable_vector());
    collection_.Push(record);
  }
  Start();
  const auto response = Query("a game of chess");
  ASSERT_TRUE(response.ok()) << response.status();
  ASSERT_EQ(response->hits_size(), 2);
  EXPECT_EQ(response->hits(0).row().id(), "a game of chess");
  EXPECT_FLOAT_EQ(response->hits(0).distance(), 0);
  EXPECT_EQ(embedder_.embedded(), std::vector<std::string>{"a game of chess"});
}

TEST_F(QueryByTextTest, WhatTheEmbedderSaysIsSaid) {
  Start();
  ASSERT_TRUE(Query("fine").ok());
  EXPECT_EQ(ReasonOfQuery(std::string("a ") + sluice::testing::kRefusedMark), Reason::TEXT_REFUSED);
  sluice::testing::Behaviour behaviour;
  behaviour.wrong = sluice::testing::Behaviour::Wrong::kUnavailable;
  embedder_.Set(behaviour);
  const absl::Status away = Query("text").status();
  EXPECT_EQ(ReasonOf(away), Reason::EMBEDDER_UNAVAILABLE) << away;
  EXPECT_TRUE(RetryAfter(away));
}

TEST_F(QueryByTextTest, AModelOfAnotherDimensionIsAMisfit) {
  sluice::testing::Behaviour behaviour;
  behaviour.dimension = 16;
  embedder_.Set(behaviour);
  Start();
  EXPECT_EQ(ReasonOfQuery("text"), Reason::EMBEDDER_MISFIT);
}

TEST_F(QueryByTextTest, AnEmbedderThatThisFrontendDoesNotHaveIsNamed) {
  settings_.embedders.clear();
  Start();
  EXPECT_EQ(ReasonOfQuery("text"), Reason::UNKNOWN_EMBEDDER);
}

TEST_F(FrontendTest, TheReadmeHoldsEverySettingAndMetric) {
  Start();
  ASSERT_TRUE(Add(Notes()).ok());
  ASSERT_TRUE(Count().ok());
  std::ifstream file(SLUICE_SOURCE_DIR "/services/frontend/README.md");
  std::stringstream readme;
  readme << file.rdbuf();
  server::Settings declared;
  FrontendSettings settings;
  settings.Declare(declared, "127.0.0.1:7701");
  EXPECT_THAT(readme.str(), HasSubstr(declared.Reference()));
  for (const prometheus::MetricFamily& family : registry_->Collect()) {
    EXPECT_THAT(readme.str(), HasSubstr("`" + family.name + "`"));
  }
  EXPECT_THAT(server::LintMetrics(*registry_, "frontend"), ::testing::IsEmpty());
}

}  // namespace
}  // namespace sluice::frontend

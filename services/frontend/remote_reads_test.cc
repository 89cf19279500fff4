// Reads of segments that are in S3 and not on the local disk yet.
#include <gmock/gmock.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <latch>
#include <optional>
#include <random>
#include <set>

#include "common/errors/errors.h"
#include "common/objects/fake_s3.h"
#include "common/objects/settings.h"
#include "services/frontend/backend.h"
#include "services/frontend/fake_log.h"
#include "services/frontend/frontend.h"
#include "sluice/v1/frontend.grpc.pb.h"
#include "tests/support/temp_folder.h"

namespace sluice::frontend {
namespace {

using Fault = FakeS3::Fault;

bool IsOfAWholeObject(const FakeS3::Request& request) {
  return request.method == "GET" && !request.headers.contains("range");
}
bool IsOfAPiece(const FakeS3::Request& request) { return request.headers.contains("range"); }

class RemoteReadsTest : public ::testing::Test {
 protected:
  RemoteReadsTest() {
    setenv("AWS_ACCESS_KEY_ID", "key", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    server::Settings declared;
    settings_.store.Declare(declared);
    settings_.store.endpoint = s3_.endpoint();
    settings_.store.cache = folder_.path() / "cache";
    settings_.store.timeout_ms = 30'000;
    settings_.objects = kPlace;
    written_ = *OpenObjectStore(kPlace, settings_.store, "compactor");
    collection_.emplace(written_.get(), kDimension, "hashing");
    log_.emplace(&*collection_);

    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&*log_);
    log_server_ = builder.BuildAndStart();
    settings_.Declare(declared, "127.0.0.1:" + std::to_string(port));
    settings_.objects = kPlace;
    server_settings_.Declare(declared, "127.0.0.1:0", "127.0.0.1:0");
    server_settings_.drain_ms = 5'000;
  }
  ~RemoteReadsTest() override {
    if (!release_.try_wait()) release_.count_down();
    Stop();
    log_server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  }

  // A frontend that starts with an empty disk.
  void Start() {
    frontend_ =
        std::make_unique<Frontend>(settings_, Frontend::Catalog::kPassedThrough, *registry_);
    auto server =
        server::Server::Start("sluice-frontend", server_settings_, registry_, {frontend_.get()});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    stub_ = v1::FrontendService::NewStub(server_->Channel());
  }
  void Stop() {
    server_.reset();
    frontend_.reset();
  }

  // Rows "0" up to `rows`, of random text of so many bytes each, as one more segment.
  void AddSegment(int rows, size_t bytes, bool vectors = true) {
    log_->Change([&](FakeCollection& collection) {
      for (int i = 0; i < rows; ++i) {
        v1::OperationRecord record;
        record.set_id(std::to_string(i));
        record.set_operation(v1::OPERATION_UPSERT);
        record.set_document(Text(i, bytes));
        const std::vector<float> vector(kDimension, static_cast<float>(i));
        if (vectors) SetVector(vector, record.mutable_vector());
        collection.Push(record);
      }
      collection.Compact(collection.tail());
    });
  }
  // Of 8 MiB.
  void AddLargeSegment() { AddSegment(8, 1 << 20); }
  // That nothing compresses.
  static std::string Text(size_t i, size_t bytes) {
    static const std::string random_text = [] {
      std::mt19937 random(1);
      std::string text(16 << 20, '\0');
      for (char& c : text) c = static_cast<char>('0' + random() % 64);
      return text;
    }();
    return random_text.substr(i * bytes % (random_text.size() - bytes), bytes);
  }

  template <class Request>
  void Prepare(Request* request, grpc::ClientContext* context,
               std::chrono::milliseconds within) const {
    request->mutable_collection()->set_id(collection_->id().ToString());
    context->set_deadline(std::chrono::system_clock::now() + within);
  }
  absl::StatusOr<v1::GetResponse> Get(v1::GetRequest request,
                                      std::chrono::milliseconds within = std::chrono::seconds(60)) {
    request.mutable_include()->set_document(true);
    grpc::ClientContext context;
    Prepare(&request, &context, within);
    v1::GetResponse response;
    const grpc::Status status = stub_->Get(&context, request, &response);
    if (!status.ok()) return FromGrpc(status, context);
    return response;
  }
  absl::StatusOr<v1::GetResponse> Get(const std::string& id, bool vector = false) {
    v1::GetRequest request;
    request.add_ids(id);
    request.mutable_include()->set_vector(vector);
    return Get(std::move(request));
  }
  // How many of the rows "0" up to `rows` there are.
  absl::StatusOr<int> GetMany(int rows,
                              std::chrono::milliseconds within = std::chrono::seconds(60)) {
    v1::GetRequest request;
    for (int i = 0; i < rows; ++i) request.add_ids(std::to_string(i));
    const absl::StatusOr<v1::GetResponse> response = Get(std::move(request), within);
    if (!response.ok()) return response.status();
    return response->rows_size();
  }
  absl::StatusOr<v1::QueryResponse> Query(
      float near, std::chrono::milliseconds within = std::chrono::seconds(60)) {
    v1::QueryRequest request;
    SetVector(std::vector<float>(kDimension, near), request.mutable_vector());
    grpc::ClientContext context;
    Prepare(&request, &context, within);
    v1::QueryResponse response;
    const grpc::Status status = stub_->Query(&context, request, &response);
    if (!status.ok()) return FromGrpc(status, context);
    return response;
  }
  absl::StatusOr<uint64_t> Count() {
    v1::CountRequest request;
    grpc::ClientContext context;
    Prepare(&request, &context, std::chrono::seconds(60));
    v1::CountResponse response;
    const grpc::Status status = stub_->Count(&context, request, &response);
    if (!status.ok()) return FromGrpc(status, context);
    return response.count();
  }
  static void ExpectRow(const absl::StatusOr<v1::GetResponse>& response, int i, size_t bytes) {
    ASSERT_TRUE(response.ok()) << response.status();
    ASSERT_EQ(response->rows_size(), 1);
    EXPECT_EQ(response->rows(0).id(), std::to_string(i));
    EXPECT_TRUE(response->rows(0).document() == Text(i, bytes));
  }
  static void ExpectFirst(const absl::StatusOr<v1::QueryResponse>& response,
                          const std::string& id) {
    ASSERT_TRUE(response.ok()) << response.status();
    ASSERT_GT(response->hits_size(), 0);
    EXPECT_EQ(response->hits(0).row().id(), id);
  }
  size_t Pieces() {
    const auto gets = s3_.Requests("GET");
    return static_cast<size_t>(std::count_if(gets.begin(), gets.end(), IsOfAPiece));
  }
  size_t Wholes() { return s3_.Requests("GET").size() - Pieces(); }
  // What asks for a whole object waits from now on, until release_ is counted down.
  void HoldWholeObjects() {
    s3_.OnRequest([this](const FakeS3::Request& request) {
      if (IsOfAWholeObject(request)) release_.wait();
      return Fault::kNone;
    });
  }

  static constexpr uint32_t kDimension = 8;
  static constexpr char kPlace[] = "s3://bucket/segments";

  testing::TempFolder folder_;
  // What the server's threads may still look at while it ends.
  std::latch release_{1};
  std::atomic_flag merged_;
  std::atomic<bool> fault_on_ = false;
  std::atomic<int> pieces_asked_for_ = 0;
  std::promise<void> asked_;
  FakeS3 s3_;
  FrontendSettings settings_;
  std::unique_ptr<ObjectStore> written_;
  std::optional<FakeCollection> collection_;
  std::optional<FakeLogService> log_;
  std::unique_ptr<grpc::Server> log_server_;

  server::ServerSettings server_settings_;
  std::shared_ptr<prometheus::Registry> registry_ = std::make_shared<prometheus::Registry>();
  std::unique_ptr<Frontend> frontend_;
  std::unique_ptr<server::Server> server_;
  std::unique_ptr<v1::FrontendService::Stub> stub_;
};

TEST_F(RemoteReadsTest, ARowOfALargeSegmentTakesASmallPartOfIt) {
  AddSegment(64'000, 1'000);
  const uint64_t bytes = collection_->segments()[0].bytes();
  ASSERT_GT(bytes, 50u << 20);
  HoldWholeObjects();
  Start();
  ExpectRow(Get("4711"), 4711, 1'000);
  // Of which the id index is the most.
  EXPECT_LT(s3_.bytes_sent(), bytes / 20);
  const uint64_t opened = s3_.bytes_sent();
  ExpectRow(Get("17"), 17, 1'000);
  // A block.
  EXPECT_LT(s3_.bytes_sent() - opened, 20'000u);
  release_.count_down();
}

TEST_F(RemoteReadsTest, WhatNeedsNoVectorsIsAnsweredBeforeTheSegmentIsLocal) {
  AddLargeSegment();
  HoldWholeObjects();
  Start();
  auto query = std::async(std::launch::async, [&] { return Query(3); });
  auto vector = std::async(std::launch::async, [&] { return Get("2", true); });
  ExpectRow(Get("5"), 5, 1 << 20);
  EXPECT_EQ(*Count(), 8u);
  // Read over the segment, which is still remote.
  log_->Change([](FakeCollection& collection) {
    v1::OperationRecord record;
    record.set_id("5");
    record.set_operation(v1::OPERATION_UPDATE);
    record.set_uri("u");
    collection.Push(record);
    record.set_id("6");
    record.set_operation(v1::OPERATION_DELETE);
    collection.Push(record);
  });
  ExpectRow(Get("5"), 5, 1 << 20);
  EXPECT_EQ(*Count(), 7u);
  EXPECT_EQ(query.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  EXPECT_EQ(vector.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  release_.count_down();
  ExpectFirst(query.get(), "3");
  const auto row = vector.get();
  ExpectRow(row, 2, 1 << 20);
  EXPECT_EQ(VectorOf(row->rows(0).vector()), std::vector<float>(kDimension, 2));
}

TEST_F(RemoteReadsTest, ASegmentIsLoadedOnceForAllAndReadLocallyFromThenOn) {
  AddLargeSegment();
  Start();
  std::vector<std::future<absl::StatusOr<v1::QueryResponse>>> queries;
  for (int i = 0; i < 6; ++i) {
    queries.push_back(std::async(std::launch::async, [&] { return Query(3); }));
    ExpectRow(Get(std::to_string(i)), i, 1 << 20);
  }
  for (auto& query : queries) ExpectFirst(query.get(), "3");
  EXPECT_EQ(Wholes(), 1u);
  const size_t pieces = Pieces();
  for (int i = 0; i < 8; ++i) ExpectRow(Get(std::to_string(i)), i, 1 << 20);
  ExpectFirst(Query(7), "7");
  EXPECT_EQ(Pieces(), pieces);
  EXPECT_EQ(Wholes(), 1u);
}

TEST_F(RemoteReadsTest, ASmallSegmentIsFetchedWhole) {
  AddSegment(10, 100);
  Start();
  ExpectRow(Get("3"), 3, 100);
  EXPECT_EQ(Pieces(), 0u);
  EXPECT_EQ(Wholes(), 1u);
}

TEST_F(RemoteReadsTest, ASmallSegmentDoesNotWaitForLargeOnes) {
  for (int i = 0; i < 4; ++i) AddLargeSegment();
  s3_.OnRequest([&](const FakeS3::Request& request) {
    if (IsOfAWholeObject(request) && !request.uri.ends_with("/5/1")) release_.wait();
    return Fault::kNone;
  });
  Start();
  ExpectRow(Get("5"), 5, 1 << 20);
  AddSegment(1, 100);
  ExpectRow(Get("0"), 0, 100);
  release_.count_down();
  ExpectFirst(Query(3), "3");
}

// Invariant 9 (bounded): who is gone holds no place.
TEST_F(RemoteReadsTest, AQueryThatIsGivenUpLeavesWhileTheSegmentIsOnItsWay) {
  AddLargeSegment();
  HoldWholeObjects();
  settings_.max_pending_reads = 1;
  Start();
  EXPECT_TRUE(absl::IsDeadlineExceeded(Query(3, std::chrono::milliseconds(300)).status()));
  // The frontend may notice a little later; and that the next has its answer.
  const auto is_overloaded = [](const auto& response) {
    return ReasonOf(response.status()) == Reason::OVERLOADED;
  };
  absl::StatusOr<uint64_t> count = Count();
  while (is_overloaded(count)) count = Count();
  EXPECT_EQ(*count, 8u);
  release_.count_down();
  absl::StatusOr<v1::QueryResponse> query = Query(3);
  while (is_overloaded(query)) query = Query(3);
  ExpectFirst(query, "3");
}

TEST_F(RemoteReadsTest, ARowIsReadFromWhatTookItsSegmentsPlaceMeanwhile) {
  AddLargeSegment();
  AddLargeSegment();
  HoldWholeObjects();
  Start();
  EXPECT_EQ(*Count(), 8u);
  // As the row is asked for, its segment is merged with the other, and both are deleted.
  s3_.OnRequest([&](const FakeS3::Request& request) {
    if (IsOfAPiece(request) && !merged_.test_and_set()) {
      log_->Change([](FakeCollection& collection) { collection.Merge(0, 2); });
    } else if (IsOfAWholeObject(request) && !request.uri.ends_with("/3/1")) {
      release_.wait();
    }
    return Fault::kNone;
  });
  ExpectRow(Get("5"), 5, 1 << 20);
  EXPECT_TRUE(merged_.test());
  release_.count_down();
}

TEST_F(RemoteReadsTest, AQueryIsAnsweredFromWhatTookItsSegmentsPlaceMeanwhile) {
  AddLargeSegment();
  AddLargeSegment();
  s3_.OnRequest([&](const FakeS3::Request& request) {
    if (IsOfAWholeObject(request) && !merged_.test_and_set()) {
      log_->Change([](FakeCollection& collection) { collection.Merge(0, 2); });
    }
    return Fault::kNone;
  });
  Start();
  ExpectFirst(Query(3), "3");
}

TEST_F(RemoteReadsTest, APieceThatIsDamagedIsNotServed) {
  AddLargeSegment();
  s3_.OnRequest([&](const FakeS3::Request& request) {
    return IsOfAPiece(request) || fault_on_ ? Fault::kWrongBytes : Fault::kNone;
  });
  Start();
  // The whole arrives as it was put.
  ExpectRow(Get("5"), 5, 1 << 20);
  Stop();
  std::filesystem::remove_all(settings_.store.cache);
  fault_on_ = true;
  registry_ = std::make_shared<prometheus::Registry>();
  Start();
  EXPECT_EQ(ReasonOf(Get("5").status()), Reason::SEGMENT_CORRUPT);
}

TEST_F(RemoteReadsTest, ARowThatIsDamagedOnItsWayIsReadOnceTheSegmentIsLocal) {
  AddLargeSegment();
  HoldWholeObjects();
  Start();
  EXPECT_EQ(*Count(), 8u);
  s3_.OnRequest([this](const FakeS3::Request& request) {
    if (!IsOfAPiece(request)) {
      release_.wait();
      return Fault::kNone;
    }
    if (!fault_on_.exchange(true)) asked_.set_value();
    return Fault::kWrongBytes;
  });
  auto row = std::async(std::launch::async, [&] { return Get("5"); });
  // The segment is not local before its row was asked for.
  asked_.get_future().wait();
  release_.count_down();
  ExpectRow(row.get(), 5, 1 << 20);
}

TEST_F(RemoteReadsTest, AnS3ThatIsAwayIsSaidAndForgotten) {
  AddLargeSegment();
  settings_.store.timeout_ms = 1'000;
  s3_.OnRequest([](const FakeS3::Request& request) {
    return IsOfAWholeObject(request) ? Fault::k500 : Fault::kNone;
  });
  Start();
  EXPECT_TRUE(absl::IsUnavailable(Query(3).status()));
  ExpectRow(Get("5"), 5, 1 << 20);
  s3_.OnRequest(nullptr);
  // A load that failed is not begun again at once.
  absl::StatusOr<v1::QueryResponse> query = Query(3);
  while (absl::IsUnavailable(query.status())) query = Query(3);
  ExpectFirst(query, "3");
}

TEST_F(RemoteReadsTest, WhatFailedToLoadIsLeftAloneForAWhile) {
  AddLargeSegment();
  s3_.OnRequest([](const FakeS3::Request& request) {
    return IsOfAWholeObject(request) ? Fault::kDenied : Fault::kNone;
  });
  Start();
  for (int i = 0; i < 50; ++i) {
    EXPECT_TRUE(absl::IsUnavailable(Query(3).status()));
    ExpectRow(Get("5"), 5, 1 << 20);
  }
  // The pauses double from 1 s on.
  EXPECT_GE(Wholes(), 1u);
  EXPECT_LT(Wholes(), 8u);
}

TEST_F(RemoteReadsTest, AQueryThatWaitsForItsSegmentsEndsAtTheFrontendsTimeout) {
  AddLargeSegment();
  HoldWholeObjects();
  settings_.timeout_ms = 2'000;
  Start();
  EXPECT_EQ(*Count(), 8u);
  EXPECT_TRUE(absl::IsDeadlineExceeded(Query(3).status()));
  // The load goes on.
  release_.count_down();
  ExpectFirst(Query(3), "3");
}

TEST_F(RemoteReadsTest, WhatIsWrongWithAQueryIsSaidBeforeItsSegmentsAreLocal) {
  AddLargeSegment();
  HoldWholeObjects();
  Start();
  v1::QueryRequest request;
  SetVector(std::vector<float>(kDimension + 1, 0), request.mutable_vector());
  grpc::ClientContext context;
  Prepare(&request, &context, std::chrono::seconds(60));
  v1::QueryResponse response;
  const grpc::Status status = stub_->Query(&context, request, &response);
  EXPECT_EQ(ReasonOf(FromGrpc(status, context)), Reason::DIMENSION_MISMATCH);
}

TEST_F(RemoteReadsTest, AGetOfManyRowsWaitsForTheirSegmentOrReadsThemRemotely) {
  AddSegment(64, 128 << 10);
  HoldWholeObjects();
  Start();
  EXPECT_EQ(*Count(), 64u);
  const size_t opened = Pieces();
  auto rows = std::async(std::launch::async, [&] { return GetMany(64); });
  ExpectRow(Get("5"), 5, 128 << 10);
  release_.count_down();
  EXPECT_EQ(*rows.get(), 64);
  // That of the one row.
  EXPECT_LT(Pieces() - opened, 8u);

  Stop();
  std::filesystem::remove_all(settings_.store.cache);
  s3_.OnRequest([](const FakeS3::Request& request) {
    return IsOfAWholeObject(request) ? Fault::kDenied : Fault::kNone;
  });
  registry_ = std::make_shared<prometheus::Registry>();
  Start();
  EXPECT_EQ(*GetMany(64), 64);
}

TEST_F(RemoteReadsTest, RowsOfAGetAreReadSeveralAtOnce) {
  AddSegment(32, 256 << 10);
  s3_.OnRequest([this](const FakeS3::Request& request) {
    if (IsOfAWholeObject(request)) return Fault::kDenied;
    // Until there are four at once.
    if (fault_on_ && ++pieces_asked_for_ == 4) release_.count_down();
    if (fault_on_) release_.wait();
    return Fault::kNone;
  });
  Start();
  EXPECT_EQ(*Count(), 32u);
  const size_t opened = Pieces();
  fault_on_ = true;
  v1::GetRequest request;
  for (int i = 31; i >= 0; --i) {
    request.add_ids(std::to_string(i));
    request.add_ids("none " + std::to_string(i));
  }
  const absl::StatusOr<v1::GetResponse> rows = Get(request);
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->rows_size(), 32);
  for (int i = 0; i < 32; ++i) {
    EXPECT_EQ(rows->rows(i).id(), std::to_string(31 - i));
    EXPECT_TRUE(rows->rows(i).document() == Text(31 - i, 256 << 10));
  }
  EXPECT_LE(Pieces() - opened, 32u);
}

TEST_F(RemoteReadsTest, WhoNeedsVectorsDoesNotWaitForSegmentsWithoutAny) {
  AddSegment(64, 128 << 10, false);
  s3_.OnRequest([this](const FakeS3::Request& request) {
    if (IsOfAWholeObject(request) && request.uri.ends_with("/1/1")) release_.wait();
    return Fault::kNone;
  });
  Start();
  AddLargeSegment();
  const auto push = [this](const std::string& id, float at) {
    log_->Change([&](FakeCollection& collection) {
      v1::OperationRecord record;
      record.set_id(id);
      record.set_operation(v1::OPERATION_UPSERT);
      record.set_uri("u");
      SetVector(std::vector<float>(kDimension, at), record.mutable_vector());
      collection.Push(record);
    });
  };
  // The one's row is in the segment that stays remote.
  push("17", 17);
  push("new", 29);
  ExpectFirst(Query(3), "3");
  ExpectFirst(Query(17), "17");
  EXPECT_EQ(Query(17)->hits_size(), 10);
  ExpectRow(Get("17", true), 17, 128 << 10);
  EXPECT_FALSE(Get("18", true)->rows(0).has_vector());
  EXPECT_EQ(Wholes(), 1u);
  // So many rows are not read one by one.
  for (int i = 8; i < 48; ++i) push(std::to_string(i), static_cast<float>(i));
  EXPECT_TRUE(absl::IsDeadlineExceeded(Query(17, std::chrono::milliseconds(300)).status()));
  release_.count_down();
  ExpectFirst(Query(17), "17");
}

TEST_F(RemoteReadsTest, ARowOfAHitThatCannotBeReadRemotelyIsReadOnceItsSegmentIsLocal) {
  AddSegment(64, 128 << 10, false);
  HoldWholeObjects();
  Start();
  log_->Change([](FakeCollection& collection) {
    v1::OperationRecord record;
    record.set_id("7");
    record.set_operation(v1::OPERATION_UPDATE);
    SetVector(std::vector<float>(kDimension, 7), record.mutable_vector());
    collection.Push(record);
  });
  EXPECT_EQ(*Count(), 64u);
  s3_.OnRequest([this](const FakeS3::Request& request) {
    if (!IsOfAPiece(request)) {
      release_.wait();
      return Fault::kNone;
    }
    if (!fault_on_.exchange(true)) asked_.set_value();
    return Fault::kWrongBytes;
  });
  auto query = std::async(std::launch::async, [&] { return Query(7); });
  asked_.get_future().wait();
  release_.count_down();
  ExpectFirst(query.get(), "7");
}

TEST_F(RemoteReadsTest, APageTakesFewRequests) {
  constexpr int kRows = 10'000;
  AddSegment(kRows, 1'000);
  AddSegment(kRows / 2, 1'000);
  HoldWholeObjects();
  Start();
  EXPECT_EQ(*Count(), uint64_t{kRows});
  v1::GetRequest request;
  request.mutable_include()->set_document(true);
  request.set_page_size(1'000);
  std::set<std::string> ids;
  do {
    const size_t pieces = Pieces();
    const uint64_t bytes = s3_.bytes_sent();
    const v1::GetResponse page = *Get(request);
    for (const v1::Row& row : page.rows()) {
      EXPECT_TRUE(ids.insert(row.id()).second);
      EXPECT_TRUE(row.document() == Text(std::stoi(row.id()), 1'000));
    }
    // Of each segment one or two.
    EXPECT_LE(Pieces() - pieces, 4u);
    EXPECT_LE(s3_.bytes_sent() - bytes, 4u << 20);
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(ids.size(), size_t{kRows});
  // A small one is not paid for by what it does not need.
  request.set_page_size(1);
  const uint64_t bytes = s3_.bytes_sent();
  EXPECT_EQ(Get(request)->rows_size(), 1);
  EXPECT_LE(s3_.bytes_sent() - bytes, 50'000u);
}

TEST_F(RemoteReadsTest, AGetThatIsGivenUpReadsNoFurtherRows) {
  AddSegment(32, 256 << 10);
  s3_.OnRequest([this](const FakeS3::Request& request) {
    if (IsOfAWholeObject(request)) return Fault::kDenied;
    if (fault_on_ && IsOfAPiece(request)) release_.wait();
    return Fault::kNone;
  });
  settings_.max_pending_reads = 1;
  Start();
  EXPECT_EQ(*Count(), 32u);
  const size_t opened = Pieces();
  fault_on_ = true;
  absl::Status got;
  // Until the Count has left.
  do {
    got = GetMany(32, std::chrono::milliseconds(500)).status();
  } while (ReasonOf(got) == Reason::OVERLOADED);
  EXPECT_TRUE(absl::IsDeadlineExceeded(got)) << got;
  release_.count_down();
  // Until the Get has.
  while (ReasonOf(Count().status()) == Reason::OVERLOADED) continue;
  // Of 32, those that were asked for at once.
  EXPECT_LE(Pieces() - opened, Backend::kRowReaders + 1);
}

TEST_F(RemoteReadsTest, AfterARestartWhatIsOnTheDiskNeedsNoS3) {
  AddLargeSegment();
  Start();
  ExpectFirst(Query(3), "3");
  Stop();
  s3_.OnRequest([](const FakeS3::Request&) { return Fault::k500; });
  registry_ = std::make_shared<prometheus::Registry>();
  Start();
  const size_t requests = s3_.Requests("GET").size();
  ExpectRow(Get("5"), 5, 1 << 20);
  ExpectFirst(Query(3), "3");
  EXPECT_EQ(s3_.Requests("GET").size(), requests);
}

TEST_F(RemoteReadsTest, AStopDoesNotWaitForWhatIsOnItsWay) {
  AddLargeSegment();
  s3_.OnRequest([](const FakeS3::Request& request) {
    return IsOfAWholeObject(request) ? Fault::kHang : Fault::kNone;
  });
  // Without this, the stop would wait for ever.
  settings_.store.timeout_ms = 3'600'000;
  settings_.store.stall_ms = 600'000;
  Start();
  ExpectRow(Get("5"), 5, 1 << 20);
  Stop();
}

}  // namespace
}  // namespace sluice::frontend

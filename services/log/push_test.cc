// PushLogs and PullLogs through a real server: what is accepted, and what each kind of bad input
// gets; a refused push changes nothing.
#include <grpcpp/generic/generic_stub.h>

#include <cmath>
#include <future>
#include <map>

#include "common/record/fold.h"
#include "services/log/service_harness.h"

namespace sluice::log {
namespace {

class PushTest : public ServiceTest {
 protected:
  // The request is refused for `reason`, as not in, and the log is as before.
  void ExpectPushRefused(const v1::PushLogsRequest& request, Reason reason,
                         const std::map<std::string, std::string>& metadata = {}) {
    const std::string before = Text(*Describe(collection_));
    const auto response = Push(request);
    ExpectRefused(response.status(), reason);
    EXPECT_EQ(OutcomeOf(response.status()), Outcome::kNotIn) << response.status();
    for (const auto& [key, value] : metadata) {
      EXPECT_EQ(ErrorMetadata(response.status(), key), value) << key;
    }
    EXPECT_EQ(Text(*Describe(collection_)), before);
  }
  v1::PushLogsRequest RequestOf(const std::vector<v1::OperationRecord>& records) const {
    v1::PushLogsRequest request;
    request.set_collection_id(collection_);
    for (const auto& record : records) *request.add_records() = record;
    return request;
  }
  // The second of two records is refused, for its `field`.
  void ExpectRecordRefused(const v1::OperationRecord& bad, const std::string& field) {
    ExpectPushRefused(RequestOf({UpsertOf("good"), bad}), Reason::INVALID_RECORD,
                      {{"record", "1"}, {"field", field}});
  }

  // As above, of bytes that no generated client would send.
  void ExpectBytesRefused(const std::string& bytes, Reason reason) {
    const std::string before = Text(*Describe(collection_));
    grpc::ClientContext context;
    const grpc::Slice slice(bytes);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer response;
    std::promise<grpc::Status> status;
    grpc::GenericStub(server_->Channel())
        .UnaryCall(&context, "/sluice.v1.LogService/PushLogs", {}, &request, &response,
                   [&](grpc::Status s) { status.set_value(std::move(s)); });
    const absl::Status error = FromGrpc(status.get_future().get(), context);
    ExpectRefused(error, reason);
    EXPECT_EQ(OutcomeOf(error), Outcome::kNotIn);
    EXPECT_EQ(Text(*Describe(collection_)), before);
  }

  void SetUp() override {
    ServiceTest::SetUp();
    collection_ = NewCollection();
  }
  std::string collection_;
};

v1::OperationRecord WithVector(const std::string& id, const std::vector<float>& components) {
  v1::OperationRecord record = UpsertOf(id);
  SetVector(components, record.mutable_vector());
  return record;
}

TEST_F(PushTest, AppendsGetDenseSeqIdsInOrder) {  // invariant 2
  const auto first = Push(collection_, {UpsertOf("a"), UpsertOf("b")});
  const auto second = Push(collection_, {UpsertOf("c")});
  ASSERT_TRUE(first.ok() && second.ok()) << first.status() << second.status();
  EXPECT_EQ(first->first_seq_id(), 1u);
  EXPECT_EQ(first->count(), 2u);
  EXPECT_EQ(first->tail_seq_id(), 2u);
  EXPECT_EQ(second->first_seq_id(), 3u);
  EXPECT_NE(first->incarnation(), 0u);
  EXPECT_LE(first->commit_time_us(), second->commit_time_us());
  EXPECT_FALSE(first->duplicate());
}

TEST_F(PushTest, RecordsComeBackByteForByte) {
  v1::OperationRecord rich = WithVector("a", {1, 2.5, -3});
  rich.set_uri("https://example.org/");
  auto* entry = rich.add_metadata();
  entry->set_key("k");
  entry->mutable_value()->set_int_value(-7);
  ASSERT_TRUE(Push(collection_, {rich, UpsertOf("b", std::string(300'000, 'x'))}).ok());
  v1::PullLogsRequest request;
  request.set_collection_id(collection_);
  const auto pulled = Pull(request);
  ASSERT_TRUE(pulled.ok()) << pulled.status();
  ASSERT_EQ(pulled->appends_size(), 1);
  EXPECT_EQ(pulled->appends(0).first_seq_id(), 1u);
  EXPECT_EQ(pulled->appends(0).records(0).SerializeAsString(), rich.SerializeAsString());
  EXPECT_EQ(pulled->appends(0).records(1).document().size(), 300'000u);
  EXPECT_EQ(pulled->tail_seq_id(), 2u);
}

TEST_F(PushTest, WhatWasAcknowledgedIsThereAfterARestart) {  // invariant 1
  ASSERT_TRUE(Push(collection_, {UpsertOf("a")}).ok());
  const std::string before = Text(*Describe(collection_));
  Restart();
  EXPECT_EQ(Text(*Describe(collection_)), before);
}

TEST_F(PushTest, AnAppendWhoseConditionDoesNotHoldIsRefusedWithTheStateOfTheLog) {
  ASSERT_TRUE(Push(collection_, {UpsertOf("a"), UpsertOf("b")}).ok());
  v1::PushLogsRequest request = RequestOf({UpsertOf("b")});
  request.set_if_tail_seq_id(1);
  ExpectPushRefused(request, Reason::TAIL_MOVED, {{"tail_seq_id", "2"}});
  request.clear_if_tail_seq_id();
  request.mutable_if_ids_unchanged()->set_since_seq_id(1);
  ExpectPushRefused(request, Reason::IDS_CHANGED, {{"id", "b"}, {"seq_id", "2"}});
  request.clear_if_ids_unchanged();
  request.set_predecessor_request_id(NewRequestId());
  ExpectPushRefused(request, Reason::PREDECESSOR_MISSING);
  request.set_predecessor_request_id("no UUID");
  ExpectPushRefused(request, Reason::INVALID_REQUEST, {{"field", "predecessor_request_id"}});
}

TEST_F(PushTest, AnAppendWhoseConditionsHoldIsIn) {
  v1::PushLogsRequest first = RequestOf({UpsertOf("a")});
  first.set_request_id(NewRequestId());
  first.set_if_tail_seq_id(0);
  ASSERT_TRUE(Push(first).ok());
  v1::PushLogsRequest second = RequestOf({UpsertOf("a"), UpsertOf("b")});
  second.set_predecessor_request_id(first.request_id());
  second.set_if_tail_seq_id(1);
  second.mutable_if_ids_unchanged()->set_since_seq_id(1);
  const auto pushed = Push(second);
  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_EQ(pushed->tail_seq_id(), 3u);
}

TEST_F(PushTest, ARepeatedAppendGetsItsFirstSeqIds) {  // invariant 3
  v1::PushLogsRequest request = RequestOf({UpsertOf("a"), UpsertOf("b")});
  request.set_request_id(NewRequestId());
  const auto first = Push(request);
  ASSERT_TRUE(Push(collection_, {UpsertOf("c")}).ok());
  Restart();
  const auto again = Push(request);
  ASSERT_TRUE(first.ok() && again.ok()) << first.status() << again.status();
  EXPECT_TRUE(again->duplicate());
  EXPECT_EQ(again->first_seq_id(), first->first_seq_id());
  EXPECT_EQ(again->commit_time_us(), first->commit_time_us());
  EXPECT_EQ(again->tail_seq_id(), 3u);
}

TEST_F(PushTest, ARequestIdWithOtherContentIsRefused) {  // invariant 3
  v1::PushLogsRequest request = RequestOf({UpsertOf("a")});
  request.set_request_id(NewRequestId());
  ASSERT_TRUE(Push(request).ok());
  request.mutable_records(0)->set_document("another");
  ExpectPushRefused(request, Reason::REQUEST_ID_REUSED);
}

TEST_F(PushTest, AnExpiredRequestIdIsRefused) {  // invariant 3
  v1::PushLogsRequest request = RequestOf({UpsertOf("a")});
  request.set_request_id(NewRequestId(std::chrono::minutes(16)));
  ExpectPushRefused(request, Reason::REQUEST_ID_EXPIRED);
}

TEST_F(PushTest, ARequestIdFromTheFutureIsRefused) {
  v1::PushLogsRequest request = RequestOf({UpsertOf("a")});
  request.set_request_id(NewRequestId(std::chrono::minutes(-2)));
  ExpectPushRefused(request, Reason::REQUEST_ID_IN_FUTURE);
}

TEST_F(PushTest, ARequestIdMustBeAUuidOfVersion7) {
  v1::PushLogsRequest request = RequestOf({UpsertOf("a")});
  request.set_request_id(Uuid::Random().ToString());
  ExpectPushRefused(request, Reason::INVALID_REQUEST, {{"field", "request_id"}});
}

TEST_F(PushTest, AnotherIncarnationIsRefused) {
  v1::PushLogsRequest request = RequestOf({UpsertOf("a")});
  request.set_incarnation(Describe(collection_)->incarnation());
  EXPECT_TRUE(Push(request).ok());
  request.set_incarnation(request.incarnation() + 1);
  ExpectPushRefused(request, Reason::INCARNATION_CHANGED);
}

TEST_F(PushTest, AWrongDimensionIsRefused) {
  ASSERT_TRUE(Push(collection_, {WithVector("a", {1, 2, 3})}).ok());
  EXPECT_EQ(Describe(collection_)->dimension(), 3u);
  ExpectPushRefused(RequestOf({UpsertOf("x"), WithVector("b", {1, 2})}), Reason::DIMENSION_MISMATCH,
                    {{"record", "1"}, {"expected", "3"}, {"actual", "2"}});
}

TEST_F(PushTest, NanAndInfinityAreRefused) {
  ExpectRecordRefused(WithVector("b", {1, std::nanf("")}), "vector.data");
  ExpectRecordRefused(WithVector("b", {INFINITY, 1}), "vector.data");
}

TEST_F(PushTest, EmptyAndOverlongIdsAreRefused) {
  ExpectRecordRefused(UpsertOf(""), "id");
  ExpectRecordRefused(UpsertOf(std::string(kMaxIdBytes + 1, 'x')), "id");
}

TEST_F(PushTest, InvalidUtf8IsRefused) {
  std::string bytes = RequestOf({UpsertOf("a")}).SerializeAsString();
  bytes[bytes.find("text")] = '\xff';
  ExpectBytesRefused(bytes, Reason::INVALID_RECORD);
}

TEST_F(PushTest, AnUnspecifiedOperationIsRefused) {
  v1::OperationRecord record = UpsertOf("b");
  record.clear_operation();
  ExpectRecordRefused(record, "operation");
}

TEST_F(PushTest, UnknownMetadataTypesAreRefused) {
  v1::OperationRecord record = UpsertOf("b");
  auto* entry = record.add_metadata();
  entry->set_key("k");
  // Field 5 of MetadataValue is not one that this version knows.
  entry->mutable_value()
      ->GetReflection()
      ->MutableUnknownFields(entry->mutable_value())
      ->AddVarint(5, 1);
  ExpectPushRefused(RequestOf({record}), Reason::INVALID_RECORD, {{"record", "0"}});
}

TEST_F(PushTest, TooManyRecordsAreRefused) {
  std::vector<v1::OperationRecord> records(kMaxRecordsPerAppend + 1, UpsertOf("a", "x"));
  ExpectPushRefused(RequestOf(records), Reason::TOO_LARGE);
  records.pop_back();
  EXPECT_TRUE(Push(RequestOf(records)).ok());
}

TEST_F(PushTest, AnAppendOfAsManyBytesAsAllowedIsTakenAndOneByteMoreIsRefused) {
  v1::PushLogsRequest request = LargestPush(collection_);
  ASSERT_EQ(RecordBytes(request), kMaxBytesPerAppend);
  // Through a socket, so that gRPC's own limits are met too.
  const auto over_tcp = OverTcp(server_->grpc_address());
  const auto taken = Call(*over_tcp, &v1::LogService::Stub::PushLogs, request);
  EXPECT_TRUE(taken.ok()) << taken.status();
  *request.mutable_records(15)->mutable_document() += 'x';
  const auto refused = Call(*over_tcp, &v1::LogService::Stub::PushLogs, request);
  ExpectRefused(refused.status(), Reason::TOO_LARGE);
  EXPECT_EQ(ErrorMetadata(refused.status(), "max"), "16777216");
  EXPECT_EQ(ErrorMetadata(refused.status(), "actual"), "16777217");
}

TEST_F(PushTest, AnEmptyPushIsRefused) {
  ExpectPushRefused(RequestOf({}), Reason::INVALID_REQUEST);
}

TEST_F(PushTest, AnUnknownCollectionIsRefused) {
  v1::PushLogsRequest request = RequestOf({UpsertOf("a")});
  request.set_collection_id(Uuid::Random().ToString());
  ExpectPushRefused(request, Reason::COLLECTION_NOT_FOUND);
  request.set_collection_id("not a uuid");
  ExpectPushRefused(request, Reason::INVALID_REQUEST, {{"field", "collection_id"}});
}

TEST_F(PushTest, BrokenFramingIsRefused) {
  std::string bytes = RequestOf({UpsertOf("a")}).SerializeAsString();
  bytes.resize(bytes.size() - 2);
  ExpectBytesRefused(bytes, Reason::MALFORMED_REQUEST);
}

TEST_F(PushTest, ABacklogBeyondTheLimitIsRefused) {  // invariant 9
  const std::string id = NewCollection([](v1::CreateCollectionRequest& request) {
    request.mutable_settings()->set_max_backlog_bytes(1000);
  });
  ASSERT_TRUE(Push(id, {UpsertOf("a", std::string(900, 'x'))}).ok());
  const std::string before = Text(*Describe(id));
  const auto refused = Push(id, {UpsertOf("b", std::string(200, 'x'))});
  ExpectRefused(refused.status(), Reason::BACKLOG);
  EXPECT_EQ(OutcomeOf(refused.status()), Outcome::kNotIn);
  EXPECT_EQ(Text(*Describe(id)), before);
}

class PullTest : public PushTest {
 protected:
  void SetUp() override {
    PushTest::SetUp();
    ASSERT_TRUE(Push(collection_, {UpsertOf("1"), UpsertOf("2"), UpsertOf("3")}).ok());
    ASSERT_TRUE(Push(collection_, {UpsertOf("4"), UpsertOf("5")}).ok());
  }
  v1::PullLogsRequest From(uint64_t start, uint64_t end = 0) const {
    v1::PullLogsRequest request;
    request.set_collection_id(collection_);
    request.set_start_seq_id(start);
    request.set_end_seq_id(end);
    return request;
  }
  // The ids of a reply's records, each checked to stand at its SeqId.
  static std::string Ids(const absl::StatusOr<v1::PullLogsResponse>& response) {
    if (!response.ok()) return response.status().ToString();
    std::string ids;
    for (const auto& append : response->appends()) {
      for (int i = 0; i < append.records_size(); ++i) {
        EXPECT_EQ(append.records(i).id(),
                  std::to_string(append.first_seq_id() + static_cast<uint64_t>(i)));
        ids += append.records(i).id() + " ";
      }
    }
    return ids;
  }
};

TEST_F(PullTest, ARangeIsCutAtRecords) {
  EXPECT_EQ(Ids(Pull(From(0))), "1 2 3 4 5 ");
  EXPECT_EQ(Ids(Pull(From(1, 4))), "2 3 4 ");
  EXPECT_EQ(Ids(Pull(From(4, 99))), "5 ");
}

TEST_F(PullTest, AReadAtTheTailIsEmpty) { EXPECT_EQ(Ids(Pull(From(5))), ""); }

TEST_F(PullTest, LimitsOnRecordsAndBytesHold) {
  v1::PullLogsRequest request = From(0);
  request.set_max_records(4);
  EXPECT_EQ(Ids(Pull(request)), "1 2 3 4 ");
  request.set_max_records(0);
  request.set_max_bytes(1);
  EXPECT_EQ(Ids(Pull(request)), "1 ");
}

TEST_F(PullTest, ABatchOfManyBytesStaysBelowTheLimit) {
  std::vector<v1::OperationRecord> records;
  for (int i = 6; i <= 25; ++i) {
    records.push_back(UpsertOf(std::to_string(i), std::string(400'000, 'x')));
  }
  ASSERT_TRUE(Push(collection_, records).ok());
  v1::PullLogsRequest request = From(5);
  request.set_max_bytes(4 << 20);
  const auto response = Pull(request);
  EXPECT_EQ(Ids(response), "6 7 8 9 10 11 12 13 14 15 ");
  EXPECT_LE(response->ByteSizeLong(), 4u << 20);
}

TEST_F(PullTest, AStartBeyondTheTailIsRefused) {
  const auto response = Pull(From(6));
  ExpectRefused(response.status(), Reason::BEYOND_TAIL);
  EXPECT_EQ(ErrorMetadata(response.status(), "tail_seq_id"), "5");
}

TEST_F(PullTest, AnEndBeforeTheStartIsRefused) {
  const auto response = Pull(From(3, 2));
  ExpectRefused(response.status(), Reason::INVALID_REQUEST);
  EXPECT_EQ(ErrorMetadata(response.status(), "field"), "end_seq_id");
}

TEST_F(PullTest, BadLimitsAndUnknownCollectionsAreRefused) {
  v1::PullLogsRequest request = From(0);
  request.set_max_records(10'001);
  ExpectRefused(Pull(request).status(), Reason::INVALID_REQUEST);
  request = From(0);
  request.set_max_bytes((4 << 20) + 1);
  ExpectRefused(Pull(request).status(), Reason::INVALID_REQUEST);
  request = From(0);
  request.set_collection_id(Uuid::Random().ToString());
  ExpectRefused(Pull(request).status(), Reason::COLLECTION_NOT_FOUND);
  request = From(0);
  request.set_incarnation(1);
  ExpectRefused(Pull(request).status(), Reason::INCARNATION_CHANGED);
}

}  // namespace
}  // namespace sluice::log

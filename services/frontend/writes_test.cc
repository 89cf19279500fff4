#include "services/frontend/writes.h"

#include <gtest/gtest.h>

#include <limits>

#include "common/errors/errors.h"
#include "common/record/fold.h"
#include "sluice/v1/frontend.pb.h"
#include "sluice/v1/log.pb.h"

namespace sluice::frontend {
namespace {

const char kCollection[] = "0191f3a0-0000-7000-8000-000000000001";

v1::OperationRecord Full(const std::string& id) {
  v1::OperationRecord record;
  record.set_id(id);
  const float components[] = {1, 2, 3};
  SetVector(components, record.mutable_vector());
  record.set_document("text of " + id);
  record.set_uri("http://" + id);
  v1::MetadataEntry* entry = record.add_metadata();
  entry->set_key("k");
  entry->mutable_value()->set_int_value(7);
  return record;
}

v1::WriteRequest Request() {
  v1::WriteRequest request;
  request.mutable_collection()->set_name("c");
  *request.add_records() = Full("a");
  request.add_records()->set_id("b");
  request.set_request_id("0191f3a0-0000-7000-8000-000000000002");
  return request;
}

// What goes to the log, as a message.
v1::PushLogsRequest Sent(Push push) {
  push.SetCollection(*ParseCollectionId(kCollection));
  v1::PushLogsRequest message;
  EXPECT_TRUE(message.ParseFromString(push.message));
  return message;
}

absl::Status ErrorOf(const v1::WriteRequest& request) {
  return PushOf(v1::OPERATION_ADD, request.SerializeAsString()).status();
}

TEST(PushOfTest, PutsTheOperationIntoEachRecordAsATypedSerialiserWould) {
  const v1::WriteRequest request = Request();
  absl::StatusOr<Push> push = PushOf(v1::OPERATION_UPSERT, request.SerializeAsString());
  ASSERT_TRUE(push.ok()) << push.status();
  EXPECT_EQ(push->collection.name(), "c");
  EXPECT_EQ(push->records, 2u);

  v1::PushLogsRequest expected;
  expected.set_collection_id(kCollection);
  expected.set_request_id(request.request_id());
  for (const v1::OperationRecord& record : request.records()) {
    *expected.add_records() = record;
    expected.mutable_records()->rbegin()->set_operation(v1::OPERATION_UPSERT);
  }
  push->SetCollection(*ParseCollectionId(kCollection));
  EXPECT_EQ(push->message, expected.SerializeAsString());
  EXPECT_GT(push->record_bytes, 0u);
}

TEST(PushOfTest, TakesRecordsThatSayTheSameOperation) {
  v1::WriteRequest request = Request();
  request.mutable_records(0)->set_operation(v1::OPERATION_ADD);
  absl::StatusOr<Push> push = PushOf(v1::OPERATION_ADD, request.SerializeAsString());
  ASSERT_TRUE(push.ok()) << push.status();
  const v1::PushLogsRequest sent = Sent(*std::move(push));
  EXPECT_EQ(sent.records(0).SerializeAsString(), request.records(0).SerializeAsString());
  EXPECT_EQ(sent.records(1).operation(), v1::OPERATION_ADD);
}

TEST(PushOfTest, ReplacesAnOperationThatIsWrittenAsUnspecified) {
  v1::OperationRecord record = Full("a");
  record.set_operation(v1::OPERATION_ADD);
  std::string bytes = record.SerializeAsString();
  bytes[bytes.find("\x10\x01") + 1] = 0;
  std::string request(1, 0x12);
  request += static_cast<char>(bytes.size());
  request += bytes;
  absl::StatusOr<Push> push = PushOf(v1::OPERATION_ADD, request);
  ASSERT_TRUE(push.ok()) << push.status();
  EXPECT_EQ(Sent(*std::move(push)).records(0).SerializeAsString(), record.SerializeAsString());
}

TEST(PushOfTest, RefusesAnotherOperationAndNamesTheRecord) {
  v1::WriteRequest request = Request();
  request.mutable_records(1)->set_operation(v1::OPERATION_DELETE);
  const absl::Status error = ErrorOf(request);
  EXPECT_EQ(ReasonOf(error), Reason::INVALID_RECORD);
  EXPECT_EQ(ErrorMetadata(error, "record"), "1");
  EXPECT_EQ(ErrorMetadata(error, "field"), "operation");
}

TEST(PushOfTest, LeavesOtherChecksToTheScannerOfTheLog) {
  v1::WriteRequest request = Request();
  const float bad[] = {1, std::numeric_limits<float>::quiet_NaN(), 3};
  SetVector(bad, request.mutable_records(0)->mutable_vector());
  absl::Status error = ErrorOf(request);
  EXPECT_EQ(ReasonOf(error), Reason::INVALID_RECORD);
  EXPECT_EQ(ErrorMetadata(error, "record"), "0");
  EXPECT_EQ(ErrorMetadata(error, "field"), "vector.data");

  request = Request();
  request.mutable_records(1)->set_id("");
  error = ErrorOf(request);
  EXPECT_EQ(ErrorMetadata(error, "record"), "1");
  EXPECT_EQ(ErrorMetadata(error, "field"), "id");

  request.clear_records();
  EXPECT_EQ(ReasonOf(ErrorOf(request)), Reason::INVALID_REQUEST);

  for (int i = 0; i < 10'001; ++i) request.add_records()->set_id(std::to_string(i));
  EXPECT_EQ(ReasonOf(ErrorOf(request)), Reason::TOO_LARGE);
}

TEST(PushOfTest, RefusesWhatIsNotAWriteRequest) {
  const std::string good = Request().SerializeAsString();
  EXPECT_EQ(ReasonOf(PushOf(v1::OPERATION_ADD, good.substr(0, good.size() - 1)).status()),
            Reason::MALFORMED_REQUEST);
  // A record whose own framing is broken: its last field is longer than the record.
  EXPECT_EQ(ReasonOf(PushOf(v1::OPERATION_ADD, std::string("\x12\x02\x0a\x05", 4)).status()),
            Reason::MALFORMED_REQUEST);
  // A collection that is not a message.
  EXPECT_EQ(ReasonOf(PushOf(v1::OPERATION_ADD, std::string("\x0a\x01\x0a", 3)).status()),
            Reason::MALFORMED_REQUEST);
}

TEST(PushOfTest, MakesRecordsOfTheIdsToDelete) {
  v1::DeleteRequest request;
  request.mutable_collection()->set_id(kCollection);
  request.add_ids("a");
  request.add_ids("b");
  absl::StatusOr<Push> push = PushOf(v1::OPERATION_DELETE, request.SerializeAsString());
  ASSERT_TRUE(push.ok()) << push.status();
  const v1::PushLogsRequest sent = Sent(*std::move(push));
  EXPECT_EQ(sent.collection_id(), kCollection);
  ASSERT_EQ(sent.records_size(), 2);
  EXPECT_EQ(sent.records(1).id(), "b");
  EXPECT_EQ(sent.records(1).operation(), v1::OPERATION_DELETE);
}

TEST(PushOfTest, RefusesToDeleteNothingAndAnEmptyId) {
  v1::DeleteRequest request;
  absl::Status error = PushOf(v1::OPERATION_DELETE, request.SerializeAsString()).status();
  EXPECT_EQ(ReasonOf(error), Reason::INVALID_REQUEST);
  EXPECT_EQ(ErrorMetadata(error, "field"), "ids");
  request.add_ids("a");
  request.add_ids("");
  error = PushOf(v1::OPERATION_DELETE, request.SerializeAsString()).status();
  EXPECT_EQ(ReasonOf(error), Reason::INVALID_RECORD);
  EXPECT_EQ(ErrorMetadata(error, "record"), "1");
}

}  // namespace
}  // namespace sluice::frontend

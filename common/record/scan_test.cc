// Issue: bad input gets a clear error of the right code that names record and field.
#include "common/record/scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "common/errors/errors.h"
#include "common/record/fold.h"
#include "common/record/limits.h"
#include "sluice/v1/log.pb.h"

namespace sluice {
namespace {

using testing::HasSubstr;
using v1::OperationRecord;
using v1::PushLogsRequest;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

absl::Status Scan(const std::string& message) {
  ScannedPush push;
  return ScanPush(message, &push);
}

struct Expected {
  Reason reason;
  std::string record;
  std::string field;
  std::string message;
};

void ExpectError(const absl::Status& error, const Expected& expected) {
  EXPECT_EQ(error.code(), absl::StatusCode::kInvalidArgument) << error;
  EXPECT_EQ(ReasonOf(error), expected.reason) << error;
  EXPECT_EQ(ErrorMetadata(error, "record"), expected.record) << error;
  EXPECT_EQ(ErrorMetadata(error, "field"), expected.field) << error;
  EXPECT_THAT(std::string(error.message()), HasSubstr(expected.message));
}

// A field of type bytes, as encoded.
std::string BytesField(int number, const std::string& value) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  for (size_t size = value.size();; size >>= 7) {
    if (size < 0x80) return out + static_cast<char>(size) + value;
    out += static_cast<char>(size | 0x80);
  }
}

// A push of four good records, one of which a test spoils.
class ScanTest : public testing::Test {
 protected:
  ScanTest() {
    request_.set_collection_id("01234567-89ab-cdef-0123-456789abcdef");
    request_.set_request_id("01890000-0000-7000-8000-000000000000");
    request_.set_incarnation(77);
    for (int i = 0; i < 4; ++i) {
      OperationRecord* record = request_.add_records();
      record->set_id("id" + std::to_string(i));
      record->set_operation(v1::OPERATION_ADD);
    }
    SetVector(std::vector<float>(20, 0.5f), request_.mutable_records(1)->mutable_vector());
  }
  OperationRecord& record() { return *request_.mutable_records(3); }
  v1::MetadataEntry& entry(const std::string& key) {
    v1::MetadataEntry* entry = record().add_metadata();
    entry->set_key(key);
    entry->mutable_value()->set_int_value(1);
    return *entry;
  }
  // The push with `bytes` appended to the encoded form of its last record.
  std::string WithRawRecord(const std::string& bytes) const {
    PushLogsRequest others = request_;
    others.mutable_records()->RemoveLast();
    return others.SerializeAsString() +
           BytesField(2, request_.records(3).SerializeAsString() + bytes);
  }
  void ExpectInvalid(const std::string& field, const std::string& message) {
    ExpectError(Scan(request_.SerializeAsString()),
                {Reason::INVALID_RECORD, "3", field, "records[3]." + field + ": " + message});
  }
  void ExpectAccepted() { EXPECT_TRUE(Scan(request_.SerializeAsString()).ok()); }

  PushLogsRequest request_;
};

TEST_F(ScanTest, AGoodPushIsDescribed) {
  const std::string message = request_.SerializeAsString();
  ScannedPush push;
  ASSERT_TRUE(ScanPush(message, &push).ok());
  EXPECT_EQ(push.collection_id, request_.collection_id());
  EXPECT_EQ(push.request_id, request_.request_id());
  EXPECT_EQ(push.incarnation, 77u);
  EXPECT_EQ(push.shape.count, 4u);
  EXPECT_EQ(push.shape.dimension, 20u);
  EXPECT_EQ(push.shape.first_vector_record, 1u);
  EXPECT_TRUE(push.gathered.empty());
  ASSERT_EQ(push.shape.offsets.size(), 4u);
  for (int i = 0; i < 4; ++i) {
    const std::string encoded = BytesField(2, request_.records(i).SerializeAsString());
    EXPECT_EQ(push.records.substr(push.shape.offsets[i], encoded.size()), encoded);
    EXPECT_EQ(push.shape.id_hashes[i], IdHash64(request_.records(i).id()));
  }
}

TEST_F(ScanTest, TheRegionParsesAsAppendAndScansToTheSameShape) {
  const std::string message = request_.SerializeAsString();
  ScannedPush push;
  ASSERT_TRUE(ScanPush(message, &push).ok());
  v1::Append append;
  ASSERT_TRUE(append.ParseFromString(std::string(push.records)));
  EXPECT_EQ(append.records_size(), 4);
  RecordsShape shape;
  ASSERT_TRUE(ScanRecords(push.records, &shape).ok());
  EXPECT_EQ(shape.offsets, push.shape.offsets);
  EXPECT_EQ(shape.id_hashes, push.shape.id_hashes);
  EXPECT_EQ(shape.dimension, 20u);
}

TEST_F(ScanTest, RecordsWithOtherFieldsBetweenThemAreGathered) {
  std::string message;
  std::string region;
  for (int i = 0; i < 4; ++i) {
    const std::string record = BytesField(2, request_.records(i).SerializeAsString());
    message += record;
    region += record;
    if (i == 0) message += BytesField(1, request_.collection_id());
    if (i == 2) message += BytesField(3, request_.request_id());
  }
  ScannedPush push;
  ASSERT_TRUE(ScanPush(message, &push).ok());
  EXPECT_EQ(push.records, region);
  RecordsShape shape;
  ASSERT_TRUE(ScanRecords(region, &shape).ok());
  EXPECT_EQ(push.shape.offsets, shape.offsets);
  EXPECT_EQ(push.collection_id, request_.collection_id());
}

TEST_F(ScanTest, EachOperationMayCarryWhatItsTableAllows) {
  record().set_operation(v1::OPERATION_UPDATE);
  record().set_document("");
  record().set_uri("");
  entry("a").clear_value();
  entry("b").mutable_value()->clear_value();
  ExpectAccepted();
  record().set_operation(v1::OPERATION_UPSERT);
  ExpectAccepted();
  record().Clear();
  record().set_id("x");
  record().set_operation(v1::OPERATION_DELETE);
  ExpectAccepted();
}

// Ids

TEST_F(ScanTest, AnEmptyIdIsRefused) {
  record().clear_id();
  ExpectInvalid("id", "is empty");
}

TEST_F(ScanTest, AnOverlongIdIsRefused) {
  record().set_id(std::string(kMaxIdBytes, 'x'));
  ExpectAccepted();
  record().set_id(std::string(kMaxIdBytes + 1, 'x'));
  ExpectInvalid("id", "513 bytes; at most 512 are allowed");
}

TEST_F(ScanTest, InvalidUtf8IsRefusedInEveryString) {
  const std::string bad = "caf\xc3";
  const OperationRecord good = record();
  record() = OperationRecord(good);
  record().set_id(bad);
  ExpectInvalid("id", "is not valid UTF-8");
  record() = good;
  record().set_document(bad);
  ExpectInvalid("document", "is not valid UTF-8");
  record() = good;
  record().set_uri(bad);
  ExpectInvalid("uri", "is not valid UTF-8");
  record() = good;
  entry(bad);
  ExpectInvalid("metadata[0].key", "is not valid UTF-8");
  record() = good;
  entry("k").mutable_value()->set_string_value(bad);
  ExpectInvalid("metadata[0].value.string_value", "is not valid UTF-8");
}

// Operations

TEST_F(ScanTest, AnUnspecifiedOperationIsRefused) {
  record().clear_operation();
  ExpectInvalid("operation", "is not specified");
}

TEST_F(ScanTest, AnUnknownOperationIsRefused) {
  record().set_operation(static_cast<v1::Operation>(5));
  ExpectInvalid("operation", "5 is not a known operation");
}

TEST_F(ScanTest, ADeleteCarriesItsIdAlone) {
  record().set_operation(v1::OPERATION_DELETE);
  const OperationRecord good = record();
  record().set_document("");
  ExpectInvalid("document", "a DELETE carries its id alone");
  record() = good;
  record().set_uri("u");
  ExpectInvalid("uri", "a DELETE carries its id alone");
  record() = good;
  SetVector(std::vector<float>(20), record().mutable_vector());
  ExpectInvalid("vector", "a DELETE carries its id alone");
  record() = good;
  entry("k");
  ExpectInvalid("metadata", "a DELETE carries its id alone");
}

// Vectors

TEST_F(ScanTest, ComponentsThatAreNotFiniteAreNamed) {
  for (const float bad : {kNan, -kNan, kInfinity, -kInfinity}) {
    for (const uint32_t at : {0u, 17u, 19u, 20u}) {
      std::vector<float> vector(21, std::numeric_limits<float>::max());
      vector[at] = bad;
      request_.mutable_records(1)->clear_vector();
      SetVector(vector, record().mutable_vector());
      ExpectInvalid("vector.data", "component " + std::to_string(at) + " is not finite");
    }
  }
}

TEST_F(ScanTest, ExtremeFiniteComponentsAreAccepted) {
  std::vector<float> vector(20, std::numeric_limits<float>::lowest());
  vector[3] = std::numeric_limits<float>::denorm_min();
  vector[4] = -0.0f;
  SetVector(vector, record().mutable_vector());
  ExpectAccepted();
}

TEST_F(ScanTest, VectorsOfOnePushHaveOneDimension) {
  SetVector(std::vector<float>(21), record().mutable_vector());
  const absl::Status error = Scan(request_.SerializeAsString());
  ExpectError(error, {Reason::DIMENSION_MISMATCH, "3", "vector.dimension",
                      "records[3].vector.dimension: 21, but records[1] has 20"});
  EXPECT_EQ(ErrorMetadata(error, "expected"), "20");
  EXPECT_EQ(ErrorMetadata(error, "actual"), "21");
}

TEST_F(ScanTest, TheDimensionHasARange) {
  request_.mutable_records(1)->clear_vector();
  record().mutable_vector();
  ExpectInvalid("vector.dimension", "0 is not within 1..8192");
  SetVector(std::vector<float>(kMaxDimension), record().mutable_vector());
  ExpectAccepted();
  SetVector(std::vector<float>(kMaxDimension + 1), record().mutable_vector());
  ExpectInvalid("vector.dimension", "8193 is not within 1..8192");
}

TEST_F(ScanTest, DimensionAndDataMustAgree) {
  SetVector(std::vector<float>(20), record().mutable_vector());
  record().mutable_vector()->set_dimension(21);
  ExpectInvalid("vector.data", "80 bytes, but 21 components of 4 bytes take 84");
  record().mutable_vector()->mutable_data()->append(3, '\0');
  ExpectInvalid("vector.data", "83 bytes, but 21");
}

TEST_F(ScanTest, AnUnknownEncodingIsRefused) {
  SetVector(std::vector<float>(20), record().mutable_vector());
  record().mutable_vector()->set_encoding(static_cast<v1::ScalarEncoding>(1));
  ExpectInvalid("vector.encoding", "1 is not a known encoding");
}

// Documents and uris

TEST_F(ScanTest, AnOverlongDocumentIsRefused) {
  record().set_document(std::string(kMaxDocumentBytes, 'x'));
  ExpectAccepted();
  record().mutable_document()->push_back('x');
  ExpectInvalid("document", "1048577 bytes; at most 1048576 are allowed");
}

TEST_F(ScanTest, AnOverlongUriIsRefused) {
  record().set_uri(std::string(kMaxUriBytes, 'x'));
  ExpectAccepted();
  record().mutable_uri()->push_back('x');
  ExpectInvalid("uri", "8193 bytes; at most 8192 are allowed");
}

// Metadata

TEST_F(ScanTest, MetadataKeysHaveARange) {
  entry(std::string(kMaxMetadataKeyBytes, 'k'));
  ExpectAccepted();
  record().mutable_metadata(0)->mutable_key()->push_back('k');
  ExpectInvalid("metadata[0].key", "513 bytes; at most 512 are allowed");
  record().mutable_metadata(0)->clear_key();
  ExpectInvalid("metadata[0].key", "is empty");
}

TEST_F(ScanTest, MetadataIsSortedAndEachKeyIsGivenOnce) {
  entry("a");
  entry("b");
  entry("a");
  ExpectInvalid("metadata[2].key", "is not greater than the key before");
  record().mutable_metadata(2)->set_key("b");
  ExpectInvalid("metadata[2].key", "is not greater than the key before");
  // Bytewise: the first byte of U+00E9 is above every letter's.
  record().mutable_metadata(2)->set_key("é");
  ExpectAccepted();
}

TEST_F(ScanTest, MetadataEntriesAreLimited) {
  for (uint64_t i = 0; i < kMaxMetadataEntries; ++i) entry(std::to_string(1000 + i));
  ExpectAccepted();
  entry("x");
  ExpectInvalid("metadata", "more than 256 entries");
}

TEST_F(ScanTest, MetadataStringsAreLimited) {
  v1::MetadataValue* value = entry("k").mutable_value();
  value->set_string_value(std::string(kMaxMetadataStringBytes, 'x'));
  ExpectAccepted();
  value->mutable_string_value()->push_back('x');
  ExpectInvalid("metadata[0].value.string_value", "32769 bytes; at most 32768 are allowed");
}

TEST_F(ScanTest, MetadataFloatsAreFinite) {
  entry("k");
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    record().mutable_metadata(0)->mutable_value()->set_float_value(bad);
    ExpectInvalid("metadata[0].value.float_value", "is not finite");
  }
}

TEST_F(ScanTest, AnAddHasNoKeyToRemove) {
  entry("a");
  entry("b").clear_value();
  ExpectInvalid("metadata[1].value", "is not set");
}

TEST_F(ScanTest, AMetadataValueOfAnUnknownTypeIsRefused) {
  const std::string value = BytesField(5, "sparse");
  const std::string message =
      WithRawRecord(BytesField(6, BytesField(1, "k") + BytesField(2, value)));
  ASSERT_TRUE(PushLogsRequest().ParseFromString(message));
  ExpectError(Scan(message),
              {Reason::INVALID_RECORD, "3", "metadata[0].value",
               "records[3].metadata[0].value: has a value of an unknown type (field 5)"});
}

TEST_F(ScanTest, AMetadataValueHasOneType) {
  const std::string value = BytesField(1, "text") + std::string("\x10\x07", 2);
  ExpectError(Scan(WithRawRecord(BytesField(6, BytesField(1, "k") + BytesField(2, value)))),
              {Reason::INVALID_RECORD, "3", "metadata[0].value", "has more than one value"});
}

// What protobuf would merge, drop or keep

TEST_F(ScanTest, ASingularFieldGivenTwiceIsRefused) {
  ExpectError(Scan(WithRawRecord(BytesField(1, "again"))),
              {Reason::INVALID_RECORD, "3", "id", "records[3].id: is given twice"});
}

TEST_F(ScanTest, ASecondVectorIsRefusedRatherThanMerged) {
  SetVector(std::vector<float>(20), record().mutable_vector());
  ExpectError(Scan(WithRawRecord(BytesField(3, ""))),
              {Reason::INVALID_RECORD, "3", "vector", "records[3].vector: is given twice"});
}

TEST_F(ScanTest, ARequestFieldGivenTwiceIsRefused) {
  ExpectError(Scan(request_.SerializeAsString() + BytesField(1, request_.collection_id())),
              {Reason::INVALID_REQUEST, "", "collection_id", "collection_id: is given twice"});
}

TEST_F(ScanTest, ReservedFieldsAreRefused) {
  ExpectError(Scan(WithRawRecord(BytesField(7, "later"))),
              {Reason::INVALID_RECORD, "3", "", "records[3]: this version does not know field 7"});
  ExpectError(Scan(request_.SerializeAsString() + BytesField(8, "later")),
              {Reason::INVALID_REQUEST, "", "", "this version does not know field 8"});
  ExpectError(Scan(request_.SerializeAsString() + BytesField(7, BytesField(3, "later"))),
              {Reason::INVALID_REQUEST, "", "if_ids_unchanged",
               "if_ids_unchanged: this version does not know field 3"});
}

// Conditions

TEST_F(ScanTest, ConditionsAreDescribed) {
  request_.set_predecessor_request_id("before");
  request_.set_if_tail_seq_id(0);
  request_.mutable_if_ids_unchanged()->set_since_seq_id(300);
  request_.mutable_if_ids_unchanged()->add_ids("a");
  request_.mutable_if_ids_unchanged()->add_ids("b");
  const std::string message = request_.SerializeAsString();
  ScannedPush push;
  ASSERT_TRUE(ScanPush(message, &push).ok());
  EXPECT_EQ(push.predecessor_request_id, "before");
  EXPECT_EQ(push.if_tail_seq_id, 0u) << "0, the empty log, is a condition too";
  ASSERT_TRUE(push.if_ids_unchanged);
  EXPECT_EQ(push.if_ids_unchanged->since_seq_id, 300u);
  EXPECT_THAT(push.if_ids_unchanged->ids, testing::ElementsAre("a", "b"));
}

TEST_F(ScanTest, IdsOfAConditionAreCheckedAsThoseOfRecords) {
  auto& ids = *request_.mutable_if_ids_unchanged()->mutable_ids();
  *ids.Add() = "good";
  ids.Add();
  ExpectError(Scan(request_.SerializeAsString()),
              {Reason::INVALID_REQUEST, "", "if_ids_unchanged.ids[1]",
               "if_ids_unchanged.ids[1]: 0 bytes is not within 1..512"});
  ids[1] = std::string(513, 'x');
  ExpectError(Scan(request_.SerializeAsString()),
              {Reason::INVALID_REQUEST, "", "if_ids_unchanged.ids[1]", "513 bytes"});
  ids[1] = "good too";
  ExpectError(Scan(request_.SerializeAsString().append(BytesField(7, ""))),
              {Reason::INVALID_REQUEST, "", "if_ids_unchanged", "is given twice"});
  request_.clear_if_ids_unchanged();
  ExpectError(Scan(request_.SerializeAsString().append(BytesField(7, BytesField(2, "\xff")))),
              {Reason::INVALID_REQUEST, "", "if_ids_unchanged.ids[0]", "is not valid UTF-8"});
}

TEST_F(ScanTest, AConditionOfMoreIdsOrBytesThanAllowedIsRefused) {
  auto& ids = *request_.mutable_if_ids_unchanged()->mutable_ids();
  for (uint64_t i = 0; i < kMaxConditionIds; ++i) *ids.Add() = "x";
  ExpectAccepted();
  *ids.Add() = "x";
  const Expected too_many{Reason::INVALID_REQUEST, "", "if_ids_unchanged.ids",
                          "more than 10000 ids or 1048576 bytes of them"};
  ExpectError(Scan(request_.SerializeAsString()), too_many);
  ids.Clear();
  for (uint64_t i = 0; i < kMaxConditionIdBytes / kMaxIdBytes; ++i) {
    *ids.Add() = std::string(kMaxIdBytes, 'x');
  }
  ExpectAccepted();
  *ids.Add() = "x";
  ExpectError(Scan(request_.SerializeAsString()), too_many);
}

TEST_F(ScanTest, TheIdOfARecordIsFoundInItsField) {
  const std::string field = BytesField(2, record().SerializeAsString());
  EXPECT_EQ(IdOfRecord(field), "id3");
  for (size_t n = 0; n < 6; ++n) EXPECT_EQ(IdOfRecord(field.substr(0, n)), std::nullopt) << n;
  EXPECT_EQ(IdOfRecord(BytesField(2, "")), std::nullopt);
}

TEST_F(ScanTest, FreeFieldsOfARecordAreKept) {
  const std::string extra = std::string("\x82\x01", 2) + "\x05hello";  // field 16
  const std::string message = WithRawRecord(extra);
  ScannedPush push;
  ASSERT_TRUE(ScanPush(message, &push).ok());
  EXPECT_THAT(std::string(push.records), HasSubstr("hello"));
}

// Framing

TEST_F(ScanTest, ATruncatedMessageIsRefused) {
  request_.clear_incarnation();
  const std::string message = request_.SerializeAsString();
  ExpectError(Scan(message + "\x12\x09record"),
              {Reason::MALFORMED_REQUEST, "4", "", "records[4]: is cut off"});
  ExpectError(Scan(message + "\x21short"),
              {Reason::MALFORMED_REQUEST, "", "incarnation", "incarnation: is cut off"});
  ExpectError(Scan(message + "\x80"),
              {Reason::MALFORMED_REQUEST, "", "", "a field's tag is broken"});
}

TEST_F(ScanTest, BrokenFramingInsideARecordIsRefused) {
  ExpectError(Scan(WithRawRecord("\x22\x7f"
                                 "abc")),
              {Reason::MALFORMED_REQUEST, "3", "document", "records[3].document: is cut off"});
  ExpectError(Scan(WithRawRecord(std::string("\x00", 1))),
              {Reason::MALFORMED_REQUEST, "3", "", "records[3]: a field's tag is broken"});
  ExpectError(
      Scan(WithRawRecord("\x1a\x02\x12\x09")),
      {Reason::MALFORMED_REQUEST, "3", "vector.data", "records[3].vector.data: is cut off"});
}

TEST_F(ScanTest, AKnownFieldOfAnotherWireTypeIsRefused) {
  ExpectError(Scan(WithRawRecord(std::string("\x20\x01", 2))),
              {Reason::MALFORMED_REQUEST, "3", "document",
               "records[3].document: has the wire type of another field"});
}

TEST_F(ScanTest, GroupsAndOverflowingNumbersAreRefused) {
  // Field 16 as a group, started and ended.
  ExpectError(Scan(WithRawRecord("\x83\x01\x84\x01")),
              {Reason::MALFORMED_REQUEST, "3", "", "field 16 is cut off, or of no known type"});
  const std::string overflowing(9, '\xff');
  ExpectError(Scan(WithRawRecord(BytesField(3, '\x08' + overflowing + '\x02'))),
              {Reason::MALFORMED_REQUEST, "3", "vector.dimension", "overflows"});
}

// Sizes

TEST_F(ScanTest, APushWithoutRecordsIsRefused) {
  request_.clear_records();
  ExpectError(Scan(request_.SerializeAsString()),
              {Reason::INVALID_REQUEST, "", "records", "records: is empty"});
  RecordsShape shape;
  ExpectError(ScanRecords("", &shape), {Reason::INVALID_REQUEST, "", "records", "is empty"});
}

TEST_F(ScanTest, TooManyRecordsAreRefused) {
  std::string records;
  for (uint64_t i = 0; i < kMaxRecordsPerAppend; ++i) {
    records += BytesField(2, request_.records(0).SerializeAsString());
  }
  RecordsShape shape;
  ASSERT_TRUE(ScanRecords(records, &shape).ok());
  const absl::Status error =
      ScanRecords(records + BytesField(2, request_.records(0).SerializeAsString()), &shape);
  ExpectError(error, {Reason::TOO_LARGE, "", "", "at most 10000 are allowed"});
  EXPECT_EQ(ErrorMetadata(error, "limit"), "append.records");
  EXPECT_EQ(ErrorMetadata(error, "max"), "10000");
  EXPECT_EQ(ErrorMetadata(error, "actual"), "10001");
}

TEST_F(ScanTest, TooManyBytesAreRefused) {
  record().set_document(std::string(kMaxDocumentBytes, 'x'));
  const std::string one = BytesField(2, record().SerializeAsString());
  std::string records;
  while (records.size() + one.size() <= kMaxBytesPerAppend) records += one;
  RecordsShape shape;
  ASSERT_TRUE(ScanRecords(records, &shape).ok());
  const absl::Status error = ScanRecords(records + one, &shape);
  ExpectError(error, {Reason::TOO_LARGE, "", "", "at most 16777216 are allowed"});
  EXPECT_EQ(ErrorMetadata(error, "limit"), "append.bytes");
}

TEST_F(ScanTest, ARegionHoldsRecordsAlone) {
  RecordsShape shape;
  ExpectError(ScanRecords(request_.SerializeAsString(), &shape),
              {Reason::MALFORMED_REQUEST, "", "records", "field 1 among them"});
}

// Hashes are stored: these values must never change.
TEST(HashTest, IdHashAndFingerprintAreThoseOfXxh3) {
  EXPECT_EQ(IdHash64("id0"), 13431840789382573206u);
  const Fingerprint fingerprint = FingerprintOf("0123456789abcdef", "records");
  EXPECT_EQ(fingerprint.high, 11855512904765124131u);
  EXPECT_EQ(fingerprint.low, 9234274862711122023u);
  EXPECT_NE(FingerprintOf("0123456789abcdeg", "records"), fingerprint);
}

}  // namespace
}  // namespace sluice

#include "tools/sluicectl/json_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "common/record/fold.h"

namespace sluice::ctl {
namespace {

absl::StatusOr<v1::OperationRecord> Parse(std::string line) {
  const size_t size = line.size();
  line.append(kLinePadding, '#');
  v1::OperationRecord record;
  const absl::Status status = RecordParser().Parse({line.data(), size}, &record);
  if (!status.ok()) return status;
  return record;
}

std::string ErrorOf(const std::string& line) { return std::string(Parse(line).status().message()); }

TEST(JsonRecordTest, EveryFieldIsRead) {
  const auto record = Parse(
      R"({"id":"a","document":"two\nlines","uri":"u:v","metadata":{"s":"x","i":-3,"f":1.5,"b":true},)"
      R"("vector":[1,-0.5]})");
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_EQ(record->id(), "a");
  EXPECT_EQ(record->document(), "two\nlines");
  EXPECT_EQ(record->uri(), "u:v");
  ASSERT_EQ(record->metadata_size(), 4);
  EXPECT_TRUE(record->metadata(0).value().bool_value());
  EXPECT_EQ(record->metadata(1).value().float_value(), 1.5);
  EXPECT_EQ(record->metadata(2).value().int_value(), -3);
  EXPECT_EQ(record->metadata(3).value().string_value(), "x");
  EXPECT_THAT(VectorOf(record->vector()), testing::ElementsAre(1.0f, -0.5f));
}

TEST(JsonRecordTest, MetadataIsSortedByKey) {
  const auto record = Parse(R"({"id":"a","metadata":{"b":1,"é":1,"B":1,"a":1}})");
  ASSERT_TRUE(record.ok());
  std::vector<std::string> keys;
  for (const auto& entry : record->metadata()) keys.push_back(entry.key());
  EXPECT_THAT(keys, testing::ElementsAre("B", "a", "b", "é"));
}

TEST(JsonRecordTest, NullRemovesAMetadataKeyAndElsewhereSaysNothing) {
  const auto record = Parse(R"({"id":"a","document":null,"vector":null,"metadata":{"gone":null}})");
  ASSERT_TRUE(record.ok());
  EXPECT_FALSE(record->has_document());
  EXPECT_FALSE(record->has_vector());
  ASSERT_EQ(record->metadata_size(), 1);
  EXPECT_EQ(record->metadata(0).value().value_case(), v1::MetadataValue::VALUE_NOT_SET);
}

TEST(JsonRecordTest, AnEmptyDocumentIsADocument) {
  const auto record = Parse(R"({"id":"a","document":""})");
  ASSERT_TRUE(record.ok());
  EXPECT_TRUE(record->has_document());
}

TEST(JsonRecordTest, ABadLineNamesItsField) {
  EXPECT_EQ(ErrorOf(R"({"document":"x"})"), "id: is missing or empty");
  EXPECT_EQ(ErrorOf(R"({"id":7})"), "id: expected a string");
  EXPECT_EQ(ErrorOf(R"({"id":null})"), "id: expected a string");
  EXPECT_EQ(ErrorOf(R"({"id":"a","id":"b"})"), "id: is given twice");
  EXPECT_EQ(ErrorOf(R"({"id":"a","document":["x"]})"), "document: expected a string");
  EXPECT_EQ(ErrorOf(R"({"id":"a","metadata":[]})"), "metadata: expected an object");
  EXPECT_EQ(ErrorOf(R"({"id":"a","metadata":{"k":[1]}})"),
            "metadata.k: expected a string, a number, true, false or null");
  EXPECT_EQ(ErrorOf(R"({"id":"a","metadata":{"k":1,"k":2}})"), "metadata.k: is given twice");
  EXPECT_EQ(ErrorOf(R"({"id":"a","metadata":{"k":18446744073709551615}})"),
            "metadata.k: is beyond the range of int64");
  EXPECT_EQ(ErrorOf(R"({"id":"a","vector":"x"})"), "vector: expected an array of numbers");
  EXPECT_EQ(ErrorOf(R"({"id":"a","vector":[]})"), "vector: has no components");
  EXPECT_EQ(ErrorOf(R"({"id":"a","vector":[0,"x"]})"),
            "vector: component 1 is not a number that a float can hold");
  EXPECT_EQ(ErrorOf(R"({"id":"a","vector":[1e39]})"),
            "vector: component 0 is not a number that a float can hold");
  EXPECT_EQ(ErrorOf(R"({"id":"a","docment":"x"})"),
            "docment: is not a field of a record (id, document, uri, metadata, vector)");
}

TEST(JsonRecordTest, WhatIsNotOneJsonObjectIsRefused) {
  EXPECT_EQ(ErrorOf("[1]"), "not a JSON object");
  for (const char* line :
       {"{\"id\":\"a\"", "{\"id\":\"a\"} {\"id\":\"b\"}", "{\"id\":\"\xff\"}", "x"}) {
    EXPECT_TRUE(ErrorOf(line).starts_with("not JSON: ")) << line;
  }
}

}  // namespace
}  // namespace sluice::ctl

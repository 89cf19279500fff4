// Pushes as clients send them: scanner and reference must agree on any bytes.
#include "common/base/check.h"
#include "common/record/fold.h"
#include "common/record/reference.h"
#include "sluice/v1/log.pb.h"
#include "tests/support/fuzz.h"

namespace sluice::testing {

void FuzzOne(std::string_view input) {
  SLUICE_CHECK(CompareWithReference(std::string(input)).empty());
}

std::vector<std::string> FuzzSeeds() {
  v1::PushLogsRequest push;
  push.set_collection_id("00112233-4455-6677-8899-aabbccddeeff");
  push.set_request_id("018f0000-0000-7000-8000-000000000001");
  push.set_incarnation(7);
  std::vector<std::string> seeds{push.SerializeAsString()};
  v1::OperationRecord* record = push.add_records();
  record->set_id("a");
  record->set_operation(v1::OPERATION_UPSERT);
  record->set_document("caf\u00e9");
  record->set_uri("file:///x");
  SetVector(std::vector<float>{1.0F, -0.5F}, record->mutable_vector());
  for (const char* key : {"b", "f", "i", "s"}) record->add_metadata()->set_key(key);
  record->mutable_metadata(0)->mutable_value()->set_bool_value(true);
  record->mutable_metadata(1)->mutable_value()->set_float_value(1.5);
  record->mutable_metadata(2)->mutable_value()->set_int_value(-2);
  record->mutable_metadata(3)->mutable_value()->set_string_value("v");
  seeds.push_back(push.SerializeAsString());
  record = push.add_records();
  record->set_id("b");
  record->set_operation(v1::OPERATION_DELETE);
  seeds.push_back(push.SerializeAsString());
  // A record, and a vector within one, that say they are 4 GiB long.
  seeds.push_back(std::string("\x12\xff\xff\xff\xff\x0f", 6));
  seeds.push_back(std::string("\x12\x10\x0a\x01\x61\x1a\xff\xff\xff\xff\x0f", 11));
  return seeds;
}

}  // namespace sluice::testing

// Random pushes, valid and spoiled: the scanner's verdict is that of parsing with protobuf and
// checking each rule on messages. SLUICE_TEST_SEED replays a run.
#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <limits>
#include <random>

#include "absl/strings/escaping.h"
#include "common/record/fold.h"
#include "common/record/limits.h"
#include "common/record/reference.h"
#include "common/record/scan.h"
#include "sluice/v1/log.pb.h"

namespace sluice {
namespace {

class PushGenerator {
 public:
  explicit PushGenerator(uint64_t seed) : random_(seed) {}

  // Mostly valid; now and then a rule is broken in the message itself.
  v1::PushLogsRequest Push() {
    v1::PushLogsRequest push;
    push.set_collection_id(Text(4));
    if (OneIn(2)) push.set_request_id(Text(4));
    if (OneIn(2)) push.set_incarnation(random_());
    if (OneIn(4)) push.set_predecessor_request_id(Text(4));
    if (OneIn(4)) push.set_if_tail_seq_id(Below(300));
    if (OneIn(4)) {
      push.mutable_if_ids_unchanged()->set_since_seq_id(Below(300));
      for (uint64_t i = Below(3); i > 0; --i) push.mutable_if_ids_unchanged()->add_ids(Text(4));
    }
    const int count = static_cast<int>(Below(4) + (OneIn(50) ? 0 : 1));
    dimension_ = 1 + static_cast<uint32_t>(Below(6));
    for (int i = 0; i < count; ++i) Fill(push.add_records());
    return push;
  }

  // Spoils encoded bytes a little.
  std::string Spoil(std::string bytes) {
    for (uint64_t changes = 1 + Below(3); changes > 0 && !bytes.empty(); --changes) {
      const size_t at = Below(bytes.size());
      const size_t size = 1 + Below(8);
      switch (Below(6)) {
        case 0:
          bytes[at] = static_cast<char>(random_());
          break;
        case 1:
          bytes[at] = static_cast<char>(bytes[at] ^ 1 << Below(8));
          break;
        case 2:
          bytes.erase(at, size);
          break;
        case 3:
          bytes.insert(at, bytes.substr(Below(bytes.size()), size));
          break;
        case 4:
          bytes.resize(at);
          break;
        case 5:
          bytes += bytes.substr(at);
          break;
      }
    }
    return bytes;
  }

  // Adds a field, known or not, right or wrong, to a random message within the push.
  std::string WithStrangeField(v1::PushLogsRequest push) {
    std::string field;
    AppendVarint(Below(20) << 3 | Below(8), &field);
    if (OneIn(2)) {
      const std::string value = Text(6);
      AppendVarint(value.size(), &field);
      field += value;
    } else {
      AppendVarint(OneIn(2) ? Below(300) : random_(), &field);
    }
    if (push.records_size() == 0 || OneIn(4)) return push.SerializeAsString() + field;
    v1::OperationRecord* record =
        push.mutable_records(static_cast<int>(Below(push.records_size())));
    google::protobuf::Message* message = record;
    if (record->has_vector() && OneIn(2)) message = record->mutable_vector();
    if (record->metadata_size() > 0 && OneIn(2)) {
      message = record->mutable_metadata(0);
      if (OneIn(2)) message = record->mutable_metadata(0)->mutable_value();
    }
    // Unknown fields are written as they are: the way to put raw bytes into a nested message.
    message->GetReflection()->MutableUnknownFields(message)->AddLengthDelimited(
        1 + static_cast<int>(Below(20)), field);
    return OneIn(2) ? push.SerializeAsString() : Splice(push, field);
  }

 private:
  uint64_t Below(uint64_t n) { return random_() % n; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

  static void AppendVarint(uint64_t value, std::string* out) {
    for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
    out->push_back(static_cast<char>(value));
  }

  // The push with `field` appended to its last record.
  static std::string Splice(v1::PushLogsRequest push, const std::string& field) {
    const std::string last = push.records(push.records_size() - 1).SerializeAsString() + field;
    push.mutable_records()->RemoveLast();
    std::string bytes = push.SerializeAsString();
    bytes.push_back(0x12);
    AppendVarint(last.size(), &bytes);
    return bytes + last;
  }

  std::string Text(size_t characters) {
    static constexpr const char* kCharacters[] = {"a", "b", "z", " ", "é", "東", "\U0001F600"};
    std::string text;
    for (uint64_t i = Below(characters + 1); i > 0; --i) text += kCharacters[Below(7)];
    if (OneIn(200)) text += '\xff';
    return text;
  }

  void Fill(v1::OperationRecord* record) {
    record->set_id("i" + Text(5));
    if (OneIn(60)) record->set_id(std::string(kMaxIdBytes + Below(2), 'i'));
    if (OneIn(100)) record->clear_id();
    record->set_operation(static_cast<v1::Operation>(OneIn(80) ? Below(8) : 1 + Below(4)));
    if (record->operation() == v1::OPERATION_DELETE && !OneIn(20)) return;
    if (OneIn(2)) FillVector(record->mutable_vector());
    if (OneIn(2)) record->set_document(Text(40));
    if (OneIn(3)) record->set_uri(OneIn(50) ? std::string(kMaxUriBytes + Below(2), 'u') : Text(10));
    std::string key;
    for (uint64_t i = Below(4); i > 0; --i) {
      key += OneIn(50) ? "" : "k" + Text(2);
      FillEntry(record->operation(), key, record->add_metadata());
    }
  }

  void FillVector(v1::Vector* vector) {
    std::vector<float> components(OneIn(50) ? Below(8) : dimension_);
    for (float& c : components) c = static_cast<float>(Below(1000)) / 7;
    if (!components.empty() && OneIn(60)) {
      components[Below(components.size())] = OneIn(2) ? std::numeric_limits<float>::quiet_NaN()
                                                      : -std::numeric_limits<float>::infinity();
    }
    SetVector(components, vector);
    if (OneIn(80)) vector->set_dimension(static_cast<uint32_t>(Below(8)));
    if (OneIn(80)) vector->set_encoding(static_cast<v1::ScalarEncoding>(Below(3)));
  }

  void FillEntry(v1::Operation operation, const std::string& key, v1::MetadataEntry* entry) {
    entry->set_key(key);
    v1::MetadataValue* value = entry->mutable_value();
    switch (operation == v1::OPERATION_ADD && !OneIn(60) ? Below(4) : Below(6)) {
      case 0:
        return value->set_string_value(Text(10));
      case 1:
        return value->set_int_value(static_cast<int64_t>(random_()));
      case 2:
        return value->set_float_value(OneIn(40) ? HUGE_VAL : static_cast<double>(Below(9)) / 3);
      case 3:
        return value->set_bool_value(OneIn(2));
      case 4:
        return entry->clear_value();
    }
  }

  std::mt19937_64 random_;
  uint32_t dimension_ = 1;
};

uint64_t Seed() {
  const char* given = std::getenv("SLUICE_TEST_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
}

TEST(ScanDifferentialTest, TheScannerAgreesWithParsingAndCheckingMessages) {
  google::protobuf::LogSilencer no_complaints_about_utf8;
  const uint64_t seed = Seed();
  SCOPED_TRACE("replay with SLUICE_TEST_SEED=" + std::to_string(seed));
  PushGenerator generator(seed);
  int accepted = 0;
  constexpr int kRounds = 20'000;
  for (int round = 0; round < kRounds; ++round) {
    const v1::PushLogsRequest push = generator.Push();
    const std::string good = push.SerializeAsString();
    accepted += ReferenceAccepts(good);
    for (const std::string& bytes :
         {good, generator.Spoil(good), generator.WithStrangeField(push)}) {
      ASSERT_EQ(CompareWithReference(bytes), "") << absl::CHexEscape(bytes);
    }
  }
  // Both sides of the verdict are tried.
  EXPECT_GT(accepted, kRounds / 2);
  EXPECT_LT(accepted, kRounds);
}

}  // namespace
}  // namespace sluice

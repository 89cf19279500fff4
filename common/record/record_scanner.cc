#include "common/record/record_scanner.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "common/record/fields.h"
#include "common/record/limits.h"
#include "sluice/v1/record.pb.h"

namespace sluice {
namespace {

using v1::MetadataEntry;
using v1::MetadataValue;
using v1::OperationRecord;

// The first of `count` little-endian floats that is NaN or infinite, or `count`. Such a float's
// exponent bits are all ones: adding one to them carries into the sign bit. Two floats at a time.
size_t FirstNonFinite(const char* data, size_t count) {
  constexpr uint64_t kExponents = 0x7f8000007f800000;
  constexpr uint64_t kOnes = 0x0080000000800000;
  constexpr uint64_t kCarries = 0x8000000080000000;
  uint64_t carries = 0;
  for (size_t i = 0; i + 2 <= count; i += 2) {
    uint64_t pair;
    std::memcpy(&pair, data + 4 * i, sizeof(pair));
    carries |= (pair & kExponents) + kOnes;
  }
  const bool all_pairs_finite = (carries & kCarries) == 0;
  for (size_t i = all_pairs_finite ? count & ~size_t{1} : 0; i < count; ++i) {
    float component;
    std::memcpy(&component, data + 4 * i, sizeof(component));
    if (!std::isfinite(component)) return i;
  }
  return count;
}

absl::Status ScanVector(std::string_view bytes, uint32_t record, uint32_t* dimension) {
  const Place place{.record = record, .message = "vector"};
  Fields fields(bytes, place);
  uint64_t components = 0;
  uint64_t encoding = v1::SCALAR_ENCODING_FLOAT32;
  std::string_view data;
  while (!fields.done()) {
    SLUICE_RETURN_IF_ERROR(fields.Next());
    switch (fields.number()) {
      case v1::Vector::kDimensionFieldNumber:
        SLUICE_RETURN_IF_ERROR(fields.Varint("dimension", &components));
        break;
      case v1::Vector::kDataFieldNumber:
        SLUICE_RETURN_IF_ERROR(fields.Bytes("data", &data));
        break;
      case v1::Vector::kEncodingFieldNumber:
        SLUICE_RETURN_IF_ERROR(fields.Varint("encoding", &encoding));
        break;
      default:
        SLUICE_RETURN_IF_ERROR(fields.Unknown());
    }
  }
  // As protobuf reads them.
  encoding = static_cast<uint32_t>(encoding);
  components = static_cast<uint32_t>(components);
  if (encoding != v1::SCALAR_ENCODING_FLOAT32) {
    return InvalidField(place, "encoding", absl::StrCat(encoding, " is not a known encoding"));
  }
  if (components == 0 || components > kMaxDimension) {
    return InvalidField(place, "dimension",
                        absl::StrCat(components, " is not within 1..", kMaxDimension));
  }
  if (data.size() != 4 * components) {
    return InvalidField(place, "data",
                        absl::StrCat(data.size(), " bytes, but ", components,
                                     " components of 4 bytes take ", 4 * components));
  }
  const size_t bad = FirstNonFinite(data.data(), components);
  if (bad != components) {
    return InvalidField(place, "data", absl::StrCat("component ", bad, " is not finite"));
  }
  *dimension = static_cast<uint32_t>(components);
  return absl::OkStatus();
}

absl::Status ScanValue(std::string_view bytes, uint32_t record, uint32_t entry, bool* is_set) {
  const Place place{.record = record, .entry = entry, .message = "value"};
  Fields fields(bytes, place);
  *is_set = false;
  while (!fields.done()) {
    SLUICE_RETURN_IF_ERROR(fields.Next());
    if (*is_set) return InvalidField(place, "", "has more than one value");
    *is_set = true;
    std::string_view text;
    uint64_t number = 0;
    switch (fields.number()) {
      case MetadataValue::kStringValueFieldNumber:
        SLUICE_RETURN_IF_ERROR(fields.Text("string_value", kMaxMetadataStringBytes, &text));
        break;
      case MetadataValue::kIntValueFieldNumber:
        SLUICE_RETURN_IF_ERROR(fields.Varint("int_value", &number));
        break;
      case MetadataValue::kFloatValueFieldNumber:
        SLUICE_RETURN_IF_ERROR(fields.Fixed64("float_value", &number));
        if (!std::isfinite(std::bit_cast<double>(number))) {
          return InvalidField(place, "float_value", "is not finite");
        }
        break;
      case MetadataValue::kBoolValueFieldNumber:
        SLUICE_RETURN_IF_ERROR(fields.Varint("bool_value", &number));
        break;
      default:
        return InvalidField(
            place, "",
            absl::StrCat("has a value of an unknown type (field ", fields.number(), ")"));
    }
  }
  return absl::OkStatus();
}

// `last_key`: of the entry before; set to this one's.
absl::Status ScanEntry(std::string_view bytes, uint32_t record, uint32_t entry,
                       std::string_view* last_key, bool* is_set) {
  const Place place{.record = record, .entry = entry};
  Fields fields(bytes, place);
  std::string_view key;
  std::string_view value;
  *is_set = false;
  while (!fields.done()) {
    SLUICE_RETURN_IF_ERROR(fields.Next());
    switch (fields.number()) {
      case MetadataEntry::kKeyFieldNumber:
        SLUICE_RETURN_IF_ERROR(fields.Text("key", kMaxMetadataKeyBytes, &key));
        break;
      case MetadataEntry::kValueFieldNumber:
        SLUICE_RETURN_IF_ERROR(fields.Bytes("value", &value));
        SLUICE_RETURN_IF_ERROR(ScanValue(value, record, entry, is_set));
        break;
      default:
        SLUICE_RETURN_IF_ERROR(fields.Unknown());
    }
  }
  if (key.empty()) return InvalidField(place, "key", "is empty");
  if (entry > 0 && key <= *last_key) {
    return InvalidField(
        place, "key",
        "is not greater than the key before (keys are sorted bytewise, each given once)");
  }
  *last_key = key;
  return absl::OkStatus();
}

const char* NameOf(uint32_t field) {
  switch (field) {
    case OperationRecord::kVectorFieldNumber:
      return "vector";
    case OperationRecord::kDocumentFieldNumber:
      return "document";
    case OperationRecord::kUriFieldNumber:
      return "uri";
    default:
      return "metadata";
  }
}

}  // namespace

absl::Status ScanRecord(std::string_view bytes, uint32_t index, ScannedRecord* record) {
  *record = {};
  const Place place{.record = index};
  Fields fields(bytes, place);
  uint64_t operation = v1::OPERATION_UNSPECIFIED;
  uint32_t entries = 0;
  std::string_view last_key;
  std::optional<uint32_t> first_unset;
  std::string_view value;
  while (!fields.done()) {
    SLUICE_RETURN_IF_ERROR(fields.Next());
    switch (fields.number()) {
      case OperationRecord::kIdFieldNumber:
        SLUICE_RETURN_IF_ERROR(fields.Text("id", kMaxIdBytes, &record->id));
        break;
      case OperationRecord::kOperationFieldNumber:
        SLUICE_RETURN_IF_ERROR(fields.Varint("operation", &operation));
        break;
      case OperationRecord::kVectorFieldNumber:
        SLUICE_RETURN_IF_ERROR(fields.Bytes("vector", &value));
        SLUICE_RETURN_IF_ERROR(ScanVector(value, index, &record->dimension));
        break;
      case OperationRecord::kDocumentFieldNumber:
        SLUICE_RETURN_IF_ERROR(fields.Text("document", kMaxDocumentBytes, &value));
        break;
      case OperationRecord::kUriFieldNumber:
        SLUICE_RETURN_IF_ERROR(fields.Text("uri", kMaxUriBytes, &value));
        break;
      case OperationRecord::kMetadataFieldNumber: {
        SLUICE_RETURN_IF_ERROR(fields.Repeated({.record = index, .entry = entries}, &value));
        if (entries == kMaxMetadataEntries) {
          return InvalidField(place, "metadata",
                              absl::StrCat("more than ", kMaxMetadataEntries, " entries"));
        }
        bool is_set;
        SLUICE_RETURN_IF_ERROR(ScanEntry(value, index, entries, &last_key, &is_set));
        if (!is_set && !first_unset) first_unset = entries;
        ++entries;
        break;
      }
      default:
        SLUICE_RETURN_IF_ERROR(fields.Unknown());
    }
  }
  if (record->id.empty()) return InvalidField(place, "id", "is empty");
  switch (static_cast<uint32_t>(operation)) {  // as protobuf reads it
    case v1::OPERATION_ADD:
      if (first_unset) {
        return InvalidField({.record = index, .entry = *first_unset}, "value",
                            "is not set, and an ADD has no key to remove");
      }
      break;
    case v1::OPERATION_UPDATE:
    case v1::OPERATION_UPSERT:
      break;
    case v1::OPERATION_DELETE:
      for (const uint32_t field :
           {OperationRecord::kVectorFieldNumber, OperationRecord::kDocumentFieldNumber,
            OperationRecord::kUriFieldNumber}) {
        if (fields.Has(field))
          return InvalidField(place, NameOf(field), "a DELETE carries its id alone");
      }
      if (entries > 0) return InvalidField(place, "metadata", "a DELETE carries its id alone");
      break;
    case v1::OPERATION_UNSPECIFIED:
      return InvalidField(place, "operation", "is not specified");
    default:
      return InvalidField(place, "operation", absl::StrCat(operation, " is not a known operation"));
  }
  return absl::OkStatus();
}

}  // namespace sluice

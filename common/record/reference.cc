#include "common/record/reference.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/record/fold.h"
#include "common/record/limits.h"
#include "sluice/v1/log.pb.h"

namespace sluice {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;

// A varint of at most `max_bytes`, off the front of `bytes`; nullopt if there is none, or it does
// not fit in 64 bits.
std::optional<uint64_t> TakeVarint(std::string_view* bytes, size_t max_bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < std::min(max_bytes, bytes->size()); ++i) {
    const uint8_t byte = (*bytes)[i];
    if (i == 9 && byte > 1) return std::nullopt;
    value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      bytes->remove_prefix(i + 1);
      return value;
    }
  }
  return std::nullopt;
}

// The value of a field of type `wire_type`, off the front of `bytes`.
std::optional<std::string_view> TakeValue(std::string_view* bytes, int wire_type) {
  const std::string_view all = *bytes;
  size_t size = 0;
  if (wire_type == WireFormatLite::WIRETYPE_VARINT) {
    if (!TakeVarint(bytes, 10)) return std::nullopt;
    return all.substr(0, all.size() - bytes->size());
  }
  if (wire_type == WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
    const auto length = TakeVarint(bytes, 5);
    if (!length) return std::nullopt;
    size = *length;
  } else if (wire_type == WireFormatLite::WIRETYPE_FIXED64) {
    size = 8;
  } else if (wire_type == WireFormatLite::WIRETYPE_FIXED32) {
    size = 4;
  } else {
    return std::nullopt;
  }
  if (size > bytes->size()) return std::nullopt;
  const std::string_view value = bytes->substr(0, size);
  bytes->remove_prefix(size);
  return value;
}

// Where the scanner is stricter than protobuf: nothing twice, nothing unknown below 16, no other
// wire types, no overflow.
bool IsStrict(std::string_view bytes, const Descriptor& type) {
  std::set<std::string> seen;
  while (!bytes.empty()) {
    const auto tag = TakeVarint(&bytes, 5);
    if (!tag || *tag > UINT32_MAX || *tag < 8) return false;
    const int wire_type = *tag & 7;
    const auto value = TakeValue(&bytes, wire_type);
    if (!value) return false;
    const FieldDescriptor* field = type.FindFieldByNumber(static_cast<int>(*tag >> 3));
    if (field == nullptr) {
      if (*tag >> 3 < 16 || type.name() == "MetadataValue") return false;
      continue;
    }
    if (wire_type != WireFormatLite::WireTypeForFieldType(
                         static_cast<WireFormatLite::FieldType>(field->type()))) {
      return false;
    }
    const auto* oneof = field->real_containing_oneof();
    if (!field->is_repeated() && !seen.insert(oneof ? oneof->name() : field->name()).second) {
      return false;
    }
    if (field->message_type() != nullptr && !IsStrict(*value, *field->message_type())) return false;
  }
  return true;
}

bool IsValid(const v1::Vector& vector) {
  if (vector.encoding() != v1::SCALAR_ENCODING_FLOAT32) return false;
  if (vector.dimension() < 1 || vector.dimension() > kMaxDimension) return false;
  if (vector.data().size() != 4 * uint64_t{vector.dimension()}) return false;
  const std::vector<float> components = VectorOf(vector);
  return std::all_of(components.begin(), components.end(),
                     [](float f) { return std::isfinite(f); });
}

bool IsSet(const v1::MetadataEntry& entry) {
  return entry.value().value_case() != v1::MetadataValue::VALUE_NOT_SET;
}

bool IsValid(const v1::MetadataEntry& entry) {
  if (entry.key().empty() || entry.key().size() > kMaxMetadataKeyBytes) return false;
  return entry.value().string_value().size() <= kMaxMetadataStringBytes &&
         std::isfinite(entry.value().float_value());
}

bool IsValid(const v1::OperationRecord& record) {
  const auto& metadata = record.metadata();
  if (record.id().empty() || record.id().size() > kMaxIdBytes) return false;
  if (record.document().size() > kMaxDocumentBytes) return false;
  if (record.uri().size() > kMaxUriBytes) return false;
  if (metadata.size() > static_cast<int>(kMaxMetadataEntries)) return false;
  if (record.has_vector() && !IsValid(record.vector())) return false;
  for (int i = 0; i < metadata.size(); ++i) {
    if (!IsValid(metadata[i])) return false;
    if (i > 0 && metadata[i].key() <= metadata[i - 1].key()) return false;
  }
  switch (record.operation()) {
    case v1::OPERATION_ADD:
      return std::all_of(metadata.begin(), metadata.end(), IsSet);
    case v1::OPERATION_UPDATE:
    case v1::OPERATION_UPSERT:
      return true;
    case v1::OPERATION_DELETE:
      return !record.has_vector() && !record.has_document() && !record.has_uri() &&
             metadata.empty();
    default:
      return false;
  }
}

bool IsValid(const v1::IdsUnchanged& condition) {
  uint64_t bytes = 0;
  for (const std::string& id : condition.ids()) {
    if (id.empty() || id.size() > kMaxIdBytes) return false;
    bytes += id.size();
  }
  return condition.ids_size() <= static_cast<int>(kMaxConditionIds) &&
         bytes <= kMaxConditionIdBytes;
}

// The encoded size of all records, tags and lengths included.
uint64_t EncodedBytes(const v1::PushLogsRequest& push) {
  v1::PushLogsRequest records;
  *records.mutable_records() = push.records();
  return records.ByteSizeLong();
}

std::string DifferenceInShape(const ScannedPush& scanned, const v1::PushLogsRequest& push) {
  v1::PushLogsRequest region;
  if (!region.ParseFromArray(scanned.records.data(), static_cast<int>(scanned.records.size()))) {
    return "the region does not parse";
  }
  v1::PushLogsRequest records;
  *records.mutable_records() = push.records();
  if (region.SerializeAsString() != records.SerializeAsString()) return "the region's records";
  if (scanned.collection_id != push.collection_id()) return "collection_id";
  if (scanned.request_id != push.request_id()) return "request_id";
  if (scanned.incarnation != push.incarnation()) return "incarnation";
  if (scanned.predecessor_request_id != push.predecessor_request_id()) return "predecessor";
  if (scanned.if_tail_seq_id.has_value() != push.has_if_tail_seq_id() ||
      scanned.if_tail_seq_id.value_or(0) != push.if_tail_seq_id()) {
    return "if_tail_seq_id";
  }
  if (scanned.if_ids_unchanged.has_value() != push.has_if_ids_unchanged()) {
    return "if_ids_unchanged";
  }
  if (scanned.if_ids_unchanged) {
    const auto& ids = push.if_ids_unchanged().ids();
    if (scanned.if_ids_unchanged->since_seq_id != push.if_ids_unchanged().since_seq_id() ||
        !std::equal(ids.begin(), ids.end(), scanned.if_ids_unchanged->ids.begin(),
                    scanned.if_ids_unchanged->ids.end())) {
      return "if_ids_unchanged";
    }
  }
  const RecordsShape& shape = scanned.shape;
  if (shape.count != static_cast<uint32_t>(push.records_size())) return "count";
  uint32_t dimension = 0;
  for (uint32_t i = 0; i < shape.count; ++i) {
    if (shape.id_hashes[i] != IdHash64(push.records(i).id())) return "id_hashes";
    const uint64_t end = i + 1 < shape.count ? shape.offsets[i + 1] : scanned.records.size();
    v1::PushLogsRequest one;
    if (!one.ParseFromArray(scanned.records.data() + shape.offsets[i],
                            static_cast<int>(end - shape.offsets[i])) ||
        one.records_size() != 1 ||
        one.records(0).SerializeAsString() != push.records(i).SerializeAsString()) {
      return "offsets";
    }
    if (IdOfRecord(scanned.records.substr(shape.offsets[i], end - shape.offsets[i])) !=
        push.records(i).id()) {
      return "id";
    }
    if (dimension == 0 && push.records(i).has_vector()) {
      dimension = push.records(i).vector().dimension();
      if (shape.first_vector_record != i) return "first_vector_record";
    }
  }
  return shape.dimension == dimension ? "" : "dimension";
}

}  // namespace

bool ReferenceAccepts(const std::string& bytes) {
  v1::PushLogsRequest push;
  if (!push.ParseFromString(bytes)) return false;
  if (!IsStrict(bytes, *v1::PushLogsRequest::descriptor())) return false;
  if (push.records_size() < 1 || push.records_size() > static_cast<int>(kMaxRecordsPerAppend)) {
    return false;
  }
  if (EncodedBytes(push) > kMaxBytesPerAppend) return false;
  if (!IsValid(push.if_ids_unchanged())) return false;
  std::set<uint32_t> dimensions;
  for (const v1::OperationRecord& record : push.records()) {
    if (!IsValid(record)) return false;
    if (record.has_vector()) dimensions.insert(record.vector().dimension());
  }
  return dimensions.size() <= 1;
}

std::string CompareWithReference(const std::string& bytes) {
  ScannedPush scanned;
  const absl::Status verdict = ScanPush(bytes, &scanned);
  if (verdict.ok() != ReferenceAccepts(bytes)) {
    return absl::StrCat("the scanner says ", verdict.ToString(), ", the reference does not");
  }
  if (!verdict.ok()) return "";
  v1::PushLogsRequest push;
  push.ParseFromString(bytes);
  return DifferenceInShape(scanned, push);
}

}  // namespace sluice

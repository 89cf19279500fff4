#include "tools/sluicectl/json_record.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "common/record/fold.h"

namespace sluice::ctl {
namespace {

using simdjson::dom::element;
using simdjson::dom::element_type;

absl::string_view ToAbsl(std::string_view s) { return {s.data(), s.size()}; }

absl::Status Wrong(std::string_view field, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(ToAbsl(field), ": ", ToAbsl(what)));
}

absl::Status ReadString(std::string_view field, const element& value, std::string* out) {
  std::string_view text;
  if (value.get(text)) return Wrong(field, "expected a string");
  out->assign(text);
  return absl::OkStatus();
}

absl::Status ReadVector(const element& value, v1::Vector* out) {
  simdjson::dom::array array;
  if (value.get(array)) return Wrong("vector", "expected an array of numbers");
  std::vector<float> components;
  components.reserve(array.size());
  for (const element number : array) {
    double component;
    if (number.get(component) || std::fabs(component) > FLT_MAX) {
      return Wrong("vector", absl::StrCat("component ", components.size(),
                                          " is not a number that a float can hold"));
    }
    components.push_back(static_cast<float>(component));
  }
  if (components.empty()) return Wrong("vector", "has no components");
  SetVector(components, out);
  return absl::OkStatus();
}

absl::Status ReadMetadataValue(std::string_view key, const element& value, v1::MetadataValue* out) {
  switch (value.type()) {
    case element_type::STRING:
      out->set_string_value(std::string(value.get_string().value_unsafe()));
      return absl::OkStatus();
    case element_type::INT64:
      out->set_int_value(value.get_int64().value_unsafe());
      return absl::OkStatus();
    case element_type::DOUBLE:
      out->set_float_value(value.get_double().value_unsafe());
      return absl::OkStatus();
    case element_type::BOOL:
      out->set_bool_value(value.get_bool().value_unsafe());
      return absl::OkStatus();
    case element_type::NULL_VALUE:
      return absl::OkStatus();  // Unset: removes the key.
    case element_type::UINT64:
      return Wrong(absl::StrCat("metadata.", ToAbsl(key)), "is beyond the range of int64");
    default:
      return Wrong(absl::StrCat("metadata.", ToAbsl(key)),
                   "expected a string, a number, true, false or null");
  }
}

absl::Status ReadMetadata(const element& value, v1::OperationRecord* record) {
  simdjson::dom::object object;
  if (value.get(object)) return Wrong("metadata", "expected an object");
  std::vector<std::pair<std::string_view, element>> entries;
  for (const auto field : object) entries.emplace_back(field.key, field.value);
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  for (size_t i = 0; i < entries.size(); ++i) {
    const auto& [key, entry] = entries[i];
    if (i > 0 && entries[i - 1].first == key) {
      return Wrong(absl::StrCat("metadata.", ToAbsl(key)), "is given twice");
    }
    v1::MetadataEntry* out = record->add_metadata();
    out->set_key(std::string(key));
    SLUICE_RETURN_IF_ERROR(ReadMetadataValue(key, entry, out->mutable_value()));
  }
  return absl::OkStatus();
}

absl::Status ReadField(std::string_view name, const element& value, v1::OperationRecord* record) {
  if (name == "id") return ReadString(name, value, record->mutable_id());
  if (name == "document") return ReadString(name, value, record->mutable_document());
  if (name == "uri") return ReadString(name, value, record->mutable_uri());
  if (name == "metadata") return ReadMetadata(value, record);
  if (name == "vector") return ReadVector(value, record->mutable_vector());
  return Wrong(name, "is not a field of a record (id, document, uri, metadata, vector)");
}

bool IsSet(std::string_view name, const v1::OperationRecord& record) {
  return (name == "id" && !record.id().empty()) || (name == "document" && record.has_document()) ||
         (name == "uri" && record.has_uri()) ||
         (name == "metadata" && record.metadata_size() > 0) ||
         (name == "vector" && record.has_vector());
}

}  // namespace

absl::Status RecordParser::Parse(std::string_view line, v1::OperationRecord* record) {
  element root;
  if (const auto error = parser_.parse(line.data(), line.size(), false).get(root)) {
    return absl::InvalidArgumentError(absl::StrCat("not JSON: ", simdjson::error_message(error)));
  }
  simdjson::dom::object object;
  if (root.get(object)) return absl::InvalidArgumentError("not a JSON object");
  for (const auto field : object) {
    if (IsSet(field.key, *record)) return Wrong(field.key, "is given twice");
    if (field.value.is_null() && field.key != "id") continue;
    SLUICE_RETURN_IF_ERROR(ReadField(field.key, field.value, record));
  }
  if (record->id().empty()) return Wrong("id", "is missing or empty");
  return absl::OkStatus();
}

}  // namespace sluice::ctl

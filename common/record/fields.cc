#include "common/record/fields.h"

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "common/record/utf8.h"

namespace sluice {
namespace {

constexpr uint32_t kFirstFreeNumber = 16;

std::string Joined(std::string a, std::string_view b) {
  if (!a.empty() && !b.empty()) a += '.';
  a += b;
  return a;
}

absl::Status Error(Reason reason, const Place& place, std::string_view name,
                   std::string_view what) {
  const std::string path = place.Path(name);
  const std::string message =
      path.empty() ? std::string(what) : absl::StrCat(path, ": ", std::string(what));
  if (place.record == Place::kNone) {
    return MakeError(reason, message, {{"field", place.Field(name)}});
  }
  return MakeError(reason, message,
                   {{"record", absl::StrCat(place.record)}, {"field", place.Field(name)}});
}

}  // namespace

std::string Place::Field(std::string_view name) const {
  const std::string in_entry = Joined(message, name);
  return entry == kNone ? in_entry : Joined(absl::StrCat("metadata[", entry, "]"), in_entry);
}

std::string Place::Path(std::string_view name) const {
  return record == kNone ? Field(name) : Joined(absl::StrCat("records[", record, "]"), Field(name));
}

absl::Status InvalidField(const Place& place, std::string_view name, std::string_view what) {
  return Error(place.record == Place::kNone ? Reason::INVALID_REQUEST : Reason::INVALID_RECORD,
               place, name, what);
}

absl::Status Malformed(const Place& place, std::string_view name, std::string_view what) {
  return Error(Reason::MALFORMED_REQUEST, place, name, what);
}

absl::Status Fields::Next() {
  if (!in_.Tag(&number_, &type_)) return Malformed(place_, "", "a field's tag is broken");
  return absl::OkStatus();
}

absl::Status Fields::Once(std::string_view name, WireType type) {
  if (type_ != type) return Malformed(place_, name, "has the wire type of another field");
  if (Has(number_)) return InvalidField(place_, name, "is given twice");
  seen_ |= 1u << number_;
  return absl::OkStatus();
}

absl::Status Fields::Text(std::string_view name, uint64_t max_bytes, std::string_view* text) {
  SLUICE_RETURN_IF_ERROR(Bytes(name, text));
  if (text->size() > max_bytes) {
    return InvalidField(place_, name,
                        absl::StrCat(text->size(), " bytes; at most ", max_bytes, " are allowed"));
  }
  if (!IsValidUtf8(*text)) return InvalidField(place_, name, "is not valid UTF-8");
  return absl::OkStatus();
}

absl::Status Fields::Bytes(std::string_view name, std::string_view* bytes) {
  SLUICE_RETURN_IF_ERROR(Once(name, WireType::kBytes));
  if (!in_.Bytes(bytes)) return Malformed(place_, name, "is cut off");
  return absl::OkStatus();
}

absl::Status Fields::Varint(std::string_view name, uint64_t* value) {
  SLUICE_RETURN_IF_ERROR(Once(name, WireType::kVarint));
  if (!in_.Varint(value)) return Malformed(place_, name, "is cut off, or overflows");
  return absl::OkStatus();
}

absl::Status Fields::Fixed64(std::string_view name, uint64_t* value) {
  SLUICE_RETURN_IF_ERROR(Once(name, WireType::kFixed64));
  if (!in_.Fixed64(value)) return Malformed(place_, name, "is cut off");
  return absl::OkStatus();
}

absl::Status Fields::Repeated(const Place& element, std::string_view* bytes) {
  if (type_ != WireType::kBytes)
    return Malformed(element, "", "has the wire type of another field");
  if (!in_.Bytes(bytes)) return Malformed(element, "", "is cut off");
  return absl::OkStatus();
}

absl::Status Fields::Unknown() {
  if (number_ < kFirstFreeNumber) {
    return InvalidField(place_, "", absl::StrCat("this version does not know field ", number_));
  }
  if (!in_.Skip(type_)) {
    return Malformed(place_, "",
                     absl::StrCat("field ", number_, " is cut off, or of no known type"));
  }
  return absl::OkStatus();
}

}  // namespace sluice

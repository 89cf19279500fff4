// What a collection may be: names, schema and settings as a caller gives them, checked and
// completed with the defaults, so that what is stored says what is in force. Pure functions;
// thread-safe. Errors are INVALID_REQUEST and name the field.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sluice/v1/collection.pb.h"

namespace sluice::log {

inline constexpr std::string_view kDefaultTenant = "default_tenant";
inline constexpr std::string_view kDefaultDatabase = "default_database";

// `value`, or `otherwise` if it is empty; 1..512 bytes of [a-zA-Z0-9._-].
absl::StatusOr<std::string> CheckName(std::string_view field, std::string_view value,
                                      std::string_view otherwise);
absl::StatusOr<v1::CollectionSchema> CheckSchema(const v1::CollectionSchema& schema);
// Of a collection of this (checked) schema.
absl::StatusOr<v1::CollectionSettings> CheckSettings(const v1::CollectionSettings& settings,
                                                     const v1::CollectionSchema& schema);

}  // namespace sluice::log

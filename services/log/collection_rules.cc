#include "services/log/collection_rules.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "common/record/limits.h"
#include "services/log/due.h"
#include "services/log/request_checks.h"
#include "services/log/retention.h"

namespace sluice::log {
namespace {

constexpr size_t kMaxNameBytes = 512;
// Of the built-in embedder.
constexpr uint32_t kHashingDimension = 384;
// A hundred years.
constexpr uint64_t kMaxRetentionAgeMs = 3'153'600'000'000;
constexpr uint64_t kMinEraseWithinMs = 10'000;
constexpr std::string_view kHashing = "hashing";
constexpr size_t kMaxKindBytes = 64;
constexpr size_t kMaxModelBytes = 256;
constexpr size_t kMaxPrefixBytes = 1024;

bool IsNameCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
}

bool IsKindCharacter(char c) {
  return absl::ascii_islower(static_cast<unsigned char>(c)) ||
         absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '-';
}

absl::Status CheckEmbedder(const v1::Embedder& embedder, uint32_t dimension) {
  const std::string& kind = embedder.kind();
  if (kind.size() > kMaxKindBytes || !std::all_of(kind.begin(), kind.end(), IsKindCharacter)) {
    return InvalidField("schema.embedder.kind",
                        "not up to 64 lower-case letters, digits and hyphens");
  }
  const bool is_external = !kind.empty() && kind != kHashing;
  const auto check = [&](std::string_view field, const std::string& value, size_t max) {
    if (!is_external && !value.empty()) {
      return InvalidField(field, "only with an embedder other than \"hashing\"");
    }
    return value.size() <= max ? absl::OkStatus()
                               : InvalidField(field, absl::StrCat("longer than ", max, " bytes"));
  };
  SLUICE_RETURN_IF_ERROR(check("schema.embedder.model", embedder.model(), kMaxModelBytes));
  SLUICE_RETURN_IF_ERROR(
      check("schema.embedder.document_prefix", embedder.document_prefix(), kMaxPrefixBytes));
  SLUICE_RETURN_IF_ERROR(
      check("schema.embedder.query_prefix", embedder.query_prefix(), kMaxPrefixBytes));
  if (is_external && dimension == 0) {
    return InvalidField("schema.dimension", "required with this embedder: that of its model");
  }
  return absl::OkStatus();
}

// `value`, or `otherwise` if it is 0.
absl::StatusOr<uint64_t> CheckRange(std::string_view field, uint64_t value, uint64_t otherwise,
                                    uint64_t min, uint64_t max) {
  if (value == 0) return otherwise;
  if (value < min || value > max) {
    return InvalidField(field, absl::StrCat("not within ", min, " .. ", max));
  }
  return value;
}

// A default that is the log's own stays 0: what it is may change.
absl::Status CheckRetention(const v1::CollectionSchema& schema, v1::CollectionSettings* settings) {
  const uint64_t age_otherwise = schema.log_only() ? kDefaultLogOnlyAgeUs / 1000 : 0;
  const v1::Retention given = settings->retention();
  SLUICE_ASSIGN_OR_RETURN(const uint64_t age,
                          CheckRange("settings.retention.max_age_ms", given.max_age_ms(),
                                     age_otherwise, 1000, kMaxRetentionAgeMs));
  SLUICE_ASSIGN_OR_RETURN(
      const uint64_t bytes,
      CheckRange("settings.retention.max_bytes", given.max_bytes(), 0, 1 << 10, UINT64_MAX));
  settings->clear_retention();
  if (age != 0) settings->mutable_retention()->set_max_age_ms(age);
  if (bytes != 0) settings->mutable_retention()->set_max_bytes(bytes);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> CheckName(std::string_view field, std::string_view value,
                                      std::string_view otherwise) {
  if (value.empty()) value = otherwise;
  if (value.empty()) return InvalidField(field, "missing");
  if (value.size() > kMaxNameBytes) return InvalidField(field, "longer than 512 bytes");
  if (!std::all_of(value.begin(), value.end(), IsNameCharacter)) {
    return InvalidField(field, "only letters, digits, '.', '_' and '-' are allowed");
  }
  return std::string(value);
}

absl::StatusOr<v1::CollectionSchema> CheckSchema(const v1::CollectionSchema& schema) {
  v1::CollectionSchema checked = schema;
  if (schema.dimension() > kMaxDimension) {
    return InvalidField("schema.dimension", absl::StrCat("more than ", kMaxDimension));
  }
  if (!v1::Metric_IsValid(schema.metric())) return InvalidField("schema.metric", "unknown");
  if (schema.metric() == v1::METRIC_UNSPECIFIED) checked.set_metric(v1::METRIC_COSINE);
  if (schema.log_only() && !schema.embedder().kind().empty()) {
    return InvalidField("schema.embedder.kind", "a log_only collection has none");
  }
  SLUICE_RETURN_IF_ERROR(CheckEmbedder(schema.embedder(), schema.dimension()));
  if (schema.embedder().kind().empty()) {
    checked.clear_embedder();
  } else if (schema.dimension() == 0) {
    checked.set_dimension(kHashingDimension);
  }
  return checked;
}

absl::StatusOr<v1::CollectionSettings> CheckSettings(const v1::CollectionSettings& settings,
                                                     const v1::CollectionSchema& schema) {
  v1::CollectionSettings checked = settings;
  SLUICE_RETURN_IF_ERROR(CheckRetention(schema, &checked));
  SLUICE_RETURN_IF_ERROR(CheckRange("settings.erase_within_ms", settings.erase_within_ms(), 0,
                                    kMinEraseWithinMs, kMaxRetentionAgeMs)
                             .status());
  const v1::CompactionTrigger& trigger = settings.compaction();
  if (schema.log_only()) {
    if (trigger.max_bytes() != 0 || trigger.max_age_ms() != 0) {
      return InvalidField("settings.compaction", "a log_only collection has none");
    }
    if (settings.max_backlog_bytes() != 0) {
      return InvalidField("settings.max_backlog_bytes", "a log_only collection has none");
    }
    if (settings.erase_within_ms() != 0) {
      return InvalidField("settings.erase_within_ms", "a log_only collection has none");
    }
    checked.clear_compaction();
    return checked;
  }
  SLUICE_ASSIGN_OR_RETURN(const uint64_t bytes,
                          CheckRange("settings.compaction.max_bytes", trigger.max_bytes(),
                                     kDefaultCompactionBytes, 1 << 10, 1 << 30));
  checked.mutable_compaction()->set_max_bytes(bytes);
  SLUICE_ASSIGN_OR_RETURN(const uint64_t age,
                          CheckRange("settings.compaction.max_age_ms", trigger.max_age_ms(),
                                     kDefaultCompactionAgeUs / 1000, 10, 86'400'000));
  checked.mutable_compaction()->set_max_age_ms(age);
  if (settings.max_backlog_bytes() == 0) checked.set_max_backlog_bytes(kDefaultMaxBacklogBytes);
  return checked;
}

}  // namespace sluice::log

#include "common/record/scan.h"

#include <xxhash.h>
#if defined(__x86_64__)
// The same hashes by the widest vectors that the processor has: 15 GB/s instead of 4.
#include <xxh_x86dispatch.h>
#endif

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "common/record/fields.h"
#include "common/record/limits.h"
#include "common/record/record_scanner.h"
#include "common/record/utf8.h"
#include "common/record/wire.h"
#include "sluice/v1/log.pb.h"

namespace sluice {
namespace {

using v1::PushLogsRequest;

absl::Status TooLarge(std::string_view what, std::string_view limit, uint64_t max,
                      uint64_t actual) {
  return MakeError(Reason::TOO_LARGE,
                   absl::StrCat("records: ", std::string(what), "; at most ", max, " are allowed"),
                   {{"limit", std::string(limit)},
                    {"max", absl::StrCat(max)},
                    {"actual", absl::StrCat(actual)}});
}

// Adds one record, whose field ends `end` bytes into the region, to `shape`.
absl::Status AddRecord(std::string_view record, uint64_t offset, uint64_t end,
                       RecordsShape* shape) {
  const uint32_t index = shape->count;
  if (index == kMaxRecordsPerAppend) {
    return TooLarge("more records than fit in one append", "append.records", kMaxRecordsPerAppend,
                    index + 1);
  }
  if (end > kMaxBytesPerAppend) {
    return TooLarge("more bytes than fit in one append", "append.bytes", kMaxBytesPerAppend, end);
  }
  ScannedRecord scanned;
  SLUICE_RETURN_IF_ERROR(ScanRecord(record, index, &scanned));
  if (scanned.dimension != 0 && shape->dimension == 0) {
    shape->dimension = scanned.dimension;
    shape->first_vector_record = index;
  }
  if (scanned.dimension != 0 && scanned.dimension != shape->dimension) {
    return MakeError(
        Reason::DIMENSION_MISMATCH,
        absl::StrCat(Place{.record = index}.Path("vector.dimension"), ": ", scanned.dimension,
                     ", but records[", shape->first_vector_record, "] has ", shape->dimension),
        {{"record", absl::StrCat(index)},
         {"field", "vector.dimension"},
         {"expected", absl::StrCat(shape->dimension)},
         {"actual", absl::StrCat(scanned.dimension)}});
  }
  ++shape->count;
  shape->offsets.push_back(static_cast<uint32_t>(offset));
  shape->id_hashes.push_back(IdHash64(scanned.id));
  return absl::OkStatus();
}

absl::Status CheckNotEmpty(const RecordsShape& shape) {
  return shape.count > 0 ? absl::OkStatus() : InvalidField(Place{}, "records", "is empty");
}

absl::Status ScanIdsUnchanged(std::string_view bytes, ScannedIdsUnchanged* condition) {
  const Place place{.message = "if_ids_unchanged"};
  Fields fields(bytes, place);
  uint64_t total_bytes = 0;
  while (!fields.done()) {
    SLUICE_RETURN_IF_ERROR(fields.Next());
    switch (fields.number()) {
      case v1::IdsUnchanged::kSinceSeqIdFieldNumber:
        SLUICE_RETURN_IF_ERROR(fields.Varint("since_seq_id", &condition->since_seq_id));
        break;
      case v1::IdsUnchanged::kIdsFieldNumber: {
        std::string_view id;
        SLUICE_RETURN_IF_ERROR(fields.Repeated(place, &id));
        const std::string name = absl::StrCat("ids[", condition->ids.size(), "]");
        if (id.empty() || id.size() > kMaxIdBytes) {
          return InvalidField(place, name,
                              absl::StrCat(id.size(), " bytes is not within 1..", kMaxIdBytes));
        }
        if (!IsValidUtf8(id)) return InvalidField(place, name, "is not valid UTF-8");
        total_bytes += id.size();
        condition->ids.push_back(id);
        if (condition->ids.size() > kMaxConditionIds || total_bytes > kMaxConditionIdBytes) {
          return InvalidField(place, "ids",
                              absl::StrCat("more than ", kMaxConditionIds, " ids or ",
                                           kMaxConditionIdBytes, " bytes of them"));
        }
        break;
      }
      default:
        SLUICE_RETURN_IF_ERROR(fields.Unknown());
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ScanPush(std::string_view message, ScannedPush* push) {
  const Place request;
  Fields fields(message, request);
  // The records seen since something else stood between them; those before are in `gathered`.
  std::string_view run;
  while (!fields.done()) {
    const char* const begin = fields.position();
    SLUICE_RETURN_IF_ERROR(fields.Next());
    switch (fields.number()) {
      case PushLogsRequest::kRecordsFieldNumber: {
        std::string_view record;
        SLUICE_RETURN_IF_ERROR(fields.Repeated({.record = push->shape.count}, &record));
        const bool goes_on = run.data() != nullptr && begin == run.data() + run.size();
        if (!goes_on) push->gathered += run;
        const char* const from = goes_on ? run.data() : begin;
        const uint64_t offset = push->gathered.size() + static_cast<size_t>(begin - from);
        run = {from, static_cast<size_t>(fields.position() - from)};
        SLUICE_RETURN_IF_ERROR(
            AddRecord(record, offset, push->gathered.size() + run.size(), &push->shape));
        break;
      }
      case PushLogsRequest::kCollectionIdFieldNumber:
        SLUICE_RETURN_IF_ERROR(fields.Text("collection_id", UINT64_MAX, &push->collection_id));
        break;
      case PushLogsRequest::kRequestIdFieldNumber:
        SLUICE_RETURN_IF_ERROR(fields.Text("request_id", UINT64_MAX, &push->request_id));
        break;
      case PushLogsRequest::kIncarnationFieldNumber:
        SLUICE_RETURN_IF_ERROR(fields.Fixed64("incarnation", &push->incarnation));
        break;
      case PushLogsRequest::kPredecessorRequestIdFieldNumber:
        SLUICE_RETURN_IF_ERROR(
            fields.Text("predecessor_request_id", UINT64_MAX, &push->predecessor_request_id));
        break;
      case PushLogsRequest::kIfTailSeqIdFieldNumber:
        SLUICE_RETURN_IF_ERROR(fields.Varint("if_tail_seq_id", &push->if_tail_seq_id.emplace()));
        break;
      case PushLogsRequest::kIfIdsUnchangedFieldNumber: {
        std::string_view condition;
        SLUICE_RETURN_IF_ERROR(fields.Bytes("if_ids_unchanged", &condition));
        SLUICE_RETURN_IF_ERROR(ScanIdsUnchanged(condition, &push->if_ids_unchanged.emplace()));
        break;
      }
      default:
        SLUICE_RETURN_IF_ERROR(fields.Unknown());
    }
  }
  if (!push->gathered.empty()) {
    push->gathered += run;
    run = push->gathered;
  }
  push->records = run;
  return CheckNotEmpty(push->shape);
}

absl::Status ScanRecords(std::string_view records, RecordsShape* shape) {
  *shape = {};
  const Place region;
  Fields fields(records, region);
  while (!fields.done()) {
    const uint64_t offset = fields.position() - records.data();
    SLUICE_RETURN_IF_ERROR(fields.Next());
    if (fields.number() != PushLogsRequest::kRecordsFieldNumber) {
      return Malformed(region, "records", absl::StrCat("field ", fields.number(), " among them"));
    }
    std::string_view record;
    SLUICE_RETURN_IF_ERROR(fields.Repeated({.record = shape->count}, &record));
    SLUICE_RETURN_IF_ERROR(AddRecord(record, offset, fields.position() - records.data(), shape));
  }
  return CheckNotEmpty(*shape);
}

uint64_t IdHash64(std::string_view id) { return XXH3_64bits(id.data(), id.size()); }

std::optional<std::string_view> IdOfRecord(std::string_view field) {
  WireReader outer(field);
  uint32_t number = 0;
  WireType type = WireType::kVarint;
  std::string_view record;
  if (!outer.Tag(&number, &type) || type != WireType::kBytes || !outer.Bytes(&record)) {
    return std::nullopt;
  }
  WireReader in(record);
  while (!in.done() && in.Tag(&number, &type)) {
    std::string_view id;
    if (number == v1::OperationRecord::kIdFieldNumber && type == WireType::kBytes) {
      if (in.Bytes(&id)) return id;
      return std::nullopt;
    }
    if (!in.Skip(type)) return std::nullopt;
  }
  return std::nullopt;
}

Fingerprint FingerprintOf(std::string_view collection_id_bytes, std::string_view records) {
  const XXH128_hash_t hash =
      XXH3_128bits_withSeed(records.data(), records.size(), IdHash64(collection_id_bytes));
  return {.high = hash.high64, .low = hash.low64};
}

}  // namespace sluice

// Turns a write call into a push: the records' bytes are copied once, with the operation put in,
// and never parsed into messages. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "sluice/v1/collection.pb.h"
#include "sluice/v1/record.pb.h"

namespace sluice::frontend {

struct Push {
  // As the caller named it.
  v1::CollectionRef collection;
  // A serialised PushLogsRequest, its collection_id still to be set.
  std::string message;
  uint32_t records = 0;
  // Of the records, as encoded.
  uint64_t record_bytes = 0;

  void SetCollection(const CollectionId& id);
};

// `request`: a serialised WriteRequest; for OPERATION_DELETE, a DeleteRequest. Records without an
// operation get `operation`; another one is refused. The records are checked as the log does
// (common/record/scan.h), with the same errors; ids[i] of a DeleteRequest is records[i].id there.
absl::StatusOr<Push> PushOf(v1::Operation operation, std::string_view request);

}  // namespace sluice::frontend

// Validates the wire bytes of one record (sluice.v1.OperationRecord). Pure; thread-safe. scan.h is
// what others call.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"

namespace sluice {

struct ScannedRecord {
  std::string_view id;
  // Of its vector; 0 if it has none.
  uint32_t dimension = 0;
};

// `index`: the record's place in the push, for errors to name. On error `*record` is unspecified.
absl::Status ScanRecord(std::string_view bytes, uint32_t index, ScannedRecord* record);

}  // namespace sluice

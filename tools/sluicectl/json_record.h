// One line of JSON to one record:
//
//   {"id": "a", "document": "text", "uri": "https://...", "metadata": {"lang": "en", "old": null},
//   "vector": [0.1, 0.2]}
//
// `id` is required, the rest optional; null says the same as leaving out, except in metadata, where
// it removes the key. Metadata values are strings, whole numbers (int64), other numbers (double)
// and booleans. A field of another name, or given twice, is an error: it is more likely a slip than
// a wish.
#pragma once

#include <simdjson.h>

#include <string_view>

#include "absl/status/status.h"
#include "sluice/v1/record.pb.h"

namespace sluice::ctl {

// Bytes that must be readable after a line's end, whatever they are.
inline constexpr size_t kLinePadding = simdjson::SIMDJSON_PADDING;

// Keeps memory from line to line; used by one thread.
class RecordParser {
 public:
  // Fills `record` (but for its operation), which must be empty. INVALID_ARGUMENT names the field
  // and leaves `record` unspecified. Limits on sizes are the server's to check.
  absl::Status Parse(std::string_view line, v1::OperationRecord* record);

 private:
  simdjson::dom::parser parser_;
};

}  // namespace sluice::ctl

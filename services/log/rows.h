// The store's rows as the state machines see them while they apply one group: what is stored, with
// the group's own changes laid over it. Write puts all of the changes into the store at once.
//
// Applier thread only. A read that fails for lack of I/O makes the whole group fail: `failure()` is
// set, and the group must be discarded and applied again. A row that is damaged is an error of the
// command that reads it alone.
#pragma once

#include <rocksdb/utilities/write_batch_with_index.h>

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/log/store.h"

namespace sluice::log {

class Rows {
 public:
  explicit Rows(Store& store);

  absl::StatusOr<std::optional<std::string>> Get(std::string_view key);
  void Put(std::string_view key, std::string_view value);
  void Delete(std::string_view key);
  // Puts a value given in parts, without copying them together first. Get and Scan do not see it
  // before Write.
  void PutParts(std::string_view key, std::span<const std::string_view> parts);
  // Visits the rows in [begin, end), in order, until `visit` returns false. `visit` must not change
  // rows.
  absl::Status Scan(std::string_view begin, std::string_view end,
                    absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit);

  const absl::Status& failure() const { return failure_; }
  absl::Status Write();
  void Discard();

 private:
  absl::Status Failed(const rocksdb::Status& status);

  Store& store_;
  rocksdb::WriteBatchWithIndex batch_;
  absl::Status failure_;
};

}  // namespace sluice::log

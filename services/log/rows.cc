#include "services/log/rows.h"

#include <rocksdb/comparator.h>

#include <memory>
#include <vector>

namespace sluice::log {
namespace {

rocksdb::Slice ToSlice(std::string_view s) { return {s.data(), s.size()}; }

}  // namespace

Rows::Rows(Store& store)
    : store_(store), batch_(rocksdb::BytewiseComparator(), 0, /*overwrite_key=*/true) {}

absl::Status Rows::Failed(const rocksdb::Status& status) {
  if (status.IsCorruption()) return absl::DataLossError(status.ToString());
  if (failure_.ok()) failure_ = absl::UnavailableError(status.ToString());
  return failure_;
}

absl::StatusOr<std::optional<std::string>> Rows::Get(std::string_view key) {
  std::string value;
  const rocksdb::Status got =
      batch_.GetFromBatchAndDB(store_.db(), rocksdb::ReadOptions(), ToSlice(key), &value);
  if (got.IsNotFound()) return std::nullopt;
  if (!got.ok()) return Failed(got);
  return value;
}

void Rows::Put(std::string_view key, std::string_view value) {
  batch_.Put(ToSlice(key), ToSlice(value));
}

void Rows::Delete(std::string_view key) { batch_.Delete(ToSlice(key)); }

void Rows::PutParts(std::string_view key, std::span<const std::string_view> parts) {
  const rocksdb::Slice key_slice = ToSlice(key);
  std::vector<rocksdb::Slice> slices;
  slices.reserve(parts.size());
  for (const std::string_view part : parts) slices.push_back(ToSlice(part));
  // Past the index: WriteBatchWithIndex would copy the parts together.
  batch_.GetWriteBatch()->Put(rocksdb::SliceParts(&key_slice, 1),
                              rocksdb::SliceParts(slices.data(), static_cast<int>(slices.size())));
}

absl::Status Rows::Scan(
    std::string_view begin, std::string_view end,
    absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit) {
  rocksdb::ReadOptions options;
  const rocksdb::Slice upper = ToSlice(end);
  options.iterate_upper_bound = &upper;
  options.total_order_seek = true;
  const std::unique_ptr<rocksdb::Iterator> it(
      batch_.NewIteratorWithBase(store_.db()->NewIterator(options)));
  for (it->Seek(ToSlice(begin)); it->Valid() && it->key().compare(upper) < 0; it->Next()) {
    if (!visit(it->key().ToStringView(), it->value().ToStringView())) break;
  }
  return it->status().ok() ? absl::OkStatus() : Failed(it->status());
}

absl::Status Rows::Write() {
  absl::Status written = store_.Write(batch_.GetWriteBatch());
  if (written.ok()) Discard();
  return written;
}

void Rows::Discard() {
  batch_.Clear();
  failure_ = absl::OkStatus();
}

}  // namespace sluice::log

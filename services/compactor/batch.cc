#include "services/compactor/batch.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"

namespace sluice::compactor {
namespace {

// The most that one PullLogs answers (log.proto).
constexpr uint64_t kMaxPullBytes = 4 << 20;
constexpr uint64_t kMaxPullRecords = 10'000;

absl::Status Take(const CollectionId& collection, v1::PullLogsResponse& pulled, Batch* batch) {
  for (v1::Append& append : *pulled.mutable_appends()) {
    const uint64_t expected = batch->to.value + 1;
    if (append.first_seq_id() != expected || append.records().empty()) {
      return MakeError(
          Reason::LOG_CORRUPT,
          absl::StrCat("an append of ", append.records_size(), " records begins at SeqId ",
                       append.first_seq_id(), " where ", expected, " was due"),
          {{"collection_id", collection.ToString()}, {"seq_id", absl::StrCat(expected)}});
    }
    batch->to.value += append.records_size();
    batch->appends.push_back(std::move(append));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Batch> ReadBatch(client::Log& log, const CollectionId& collection,
                                Incarnation incarnation, SeqId from, const BatchLimits& limits) {
  Batch batch;
  batch.from = batch.to = from;
  while (!batch.at_tail && batch.bytes < limits.bytes && batch.records() < limits.records) {
    v1::PullLogsRequest request;
    request.set_collection_id(collection.ToString());
    request.set_start_seq_id(batch.to.value);
    request.set_incarnation(incarnation.value);
    request.set_max_bytes(
        static_cast<uint32_t>(std::min(kMaxPullBytes, limits.bytes - batch.bytes)));
    request.set_max_records(
        static_cast<uint32_t>(std::min(kMaxPullRecords, limits.records - batch.records())));
    SLUICE_ASSIGN_OR_RETURN(v1::PullLogsResponse pulled, log.Pull(request));
    const SeqId before = batch.to;
    batch.bytes += pulled.ByteSizeLong();
    SLUICE_RETURN_IF_ERROR(Take(collection, pulled, &batch));
    batch.at_tail = batch.to.value >= pulled.tail_seq_id();
    if (batch.to == before && !batch.at_tail) {
      return MakeError(
          Reason::LOG_CORRUPT,
          absl::StrCat("no records after SeqId ", before.value, ", below the tail ",
                       pulled.tail_seq_id()),
          {{"collection_id", collection.ToString()}, {"seq_id", absl::StrCat(before.value + 1)}});
    }
  }
  return batch;
}

}  // namespace sluice::compactor

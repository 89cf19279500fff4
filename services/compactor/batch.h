// Reading a log from `applied`, a bounded batch at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/client/client.h"
#include "sluice/v1/log.pb.h"

namespace sluice::compactor {

struct BatchLimits {
  // Of the records as encoded; in memory they take about twice that. One record may exceed it.
  uint64_t bytes = 0;
  // Records and rows also cost memory of their own.
  uint64_t records = 0;
};

// Consecutive appends: the records in (from, to].
struct Batch {
  SeqId from;
  SeqId to;
  uint64_t bytes = 0;
  std::vector<v1::Append> appends;
  // Whether `to` was the log's tail when it was read.
  bool at_tail = false;

  uint64_t records() const { return to.value - from.value; }
};

// Reads the records after `from`; an empty batch at the tail. An append that does not continue the
// one before: LOG_CORRUPT.
absl::StatusOr<Batch> ReadBatch(client::Log& log, const CollectionId& collection,
                                Incarnation incarnation, SeqId from, const BatchLimits& limits);

}  // namespace sluice::compactor

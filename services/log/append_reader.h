// Reads the appends of a log in (start, end], in order, from one snapshot: each whole except the
// first and the last, which are cut at record boundaries. Checks every checksum, and that each
// append continues the last one.
//
// One thread. The snapshot must outlive it. After an error, or the end, Next keeps giving the same.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "services/log/append.h"
#include "services/log/store.h"

namespace sluice::log {

// Consecutive records of one append. Views are valid until the reader moves.
struct AppendSlice {
  SeqId first;
  uint32_t count = 0;
  int64_t commit_time_us = 0;
  // `records` fields of sluice.v1.Append, tags and lengths included: Append = first_seq_id, these
  // bytes, commit_time_us.
  std::string_view records;
  // The append that they are of, and the first one's index in it (for id_hash and offset).
  AppendView append;
  uint32_t index = 0;

  SeqId last() const { return SeqId(first.value + count - 1); }
  // Bytes of the first `n` records.
  size_t BytesOf(uint32_t n) const { return append.offset(index + n) - append.offset(index); }
  // The first `n` records, 1 .. count; and what is left without them.
  AppendSlice First(uint32_t n) const { return Part(0, n); }
  AppendSlice Without(uint32_t n) const { return Part(n, count - n); }

 private:
  AppendSlice Part(uint32_t from, uint32_t n) const;
};

class AppendReader {
 public:
  // `start` exclusive, `end` inclusive; both within the log as the snapshot has it (trim <= start,
  // end <= tail): the caller has read LogState.
  AppendReader(const Snapshot& snapshot, const CollectionId& collection, SeqId start, SeqId end);

  // True: *slice holds the next records. False: all up to `end` were given. LOG_CORRUPT names the
  // collection and the SeqId from which the log cannot be read; TRIMMED: they were trimmed after
  // the snapshot was taken, and are gone already.
  absl::StatusOr<bool> Next(AppendSlice* slice);

 private:
  absl::Status Read(AppendSlice* slice);
  absl::Status Missing(absl::string_view what) const;
  absl::Status Corrupt(absl::string_view what) const;

  const Snapshot& snapshot_;
  const CollectionId collection_;
  SeqId next_;
  const SeqId end_;
  Snapshot::Iterator it_;
  bool started_ = false;
  absl::Status failed_;
};

// The SeqId before the first append committed at or after `time_us` (where a subscription "since"
// starts), among (after, tail]. Binary search by key.
absl::StatusOr<SeqId> SeqIdBefore(const Snapshot& snapshot, const CollectionId& collection,
                                  SeqId after, SeqId tail, int64_t time_us);

}  // namespace sluice::log

// An append as stored: a fixed header, the tables of offsets and id hashes, the records' bytes as
// they came. README.md has the layout. Pure functions; thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/coding.h"
#include "common/base/ids.h"
#include "services/log/command.h"

namespace sluice::log {

inline constexpr size_t kAppendHeaderBytes = 80;

// Reads the parts of a stored append in place; views point into the value.
struct AppendView {
  SeqId first;
  uint32_t count = 0;
  int64_t commit_time_us = 0;
  // Bytes of all earlier records of the log.
  uint64_t bytes_before = 0;
  RequestId request_id;
  Fingerprint fingerprint;
  uint32_t records_crc32c = 0;
  std::string_view tables;
  // `records` fields of sluice.v1.Append, tags and lengths included.
  std::string_view records;

  SeqId last() const { return SeqId(first.value + count - 1); }
  // Where record `i` (0 .. count) begins in `records`; `count` is the end.
  uint32_t offset(uint32_t i) const {
    return i == count ? static_cast<uint32_t>(records.size())
                      : GetFixed<uint32_t>(tables.data() + 4 * size_t{i});
  }
  uint64_t id_hash(uint32_t i) const {
    return GetFixed<uint64_t>(tables.data() + 4 * size_t{count} + 8 * size_t{i});
  }
};

// The fixed header of the append that `push` becomes; the tables and the records follow it.
std::array<char, kAppendHeaderBytes> EncodeAppendHeader(const PushView& push, SeqId first,
                                                        int64_t commit_time_us,
                                                        uint64_t bytes_before);

// Checks lengths, version and the header's checksum. A plain DATA_LOSS error: the caller says which
// append.
absl::StatusOr<AppendView> DecodeAppend(std::string_view value);
// Checks the records against their checksum.
absl::Status CheckRecords(const AppendView& append);

}  // namespace sluice::log

#include "services/log/append.h"

#include <cstring>

#include "common/base/crc32c.h"

namespace sluice::log {
namespace {

// Offsets of the header's fields; README.md has the table.
constexpr uint8_t kVersion = 1;
constexpr size_t kChecksumAt = 4;
constexpr size_t kChecksumFrom = 8;
constexpr size_t kTableBytesPerRecord = 12;

template <class T>
void Put(char* at, T value) {
  std::memcpy(at, &value, sizeof(value));
}

}  // namespace

std::array<char, kAppendHeaderBytes> EncodeAppendHeader(const PushView& push, SeqId first,
                                                        int64_t commit_time_us,
                                                        uint64_t bytes_before) {
  std::array<char, kAppendHeaderBytes> out{};
  char* p = out.data();
  p[0] = static_cast<char>(kVersion);
  Put<uint64_t>(p + 8, first.value);
  Put<uint32_t>(p + 16, push.count);
  Put<uint32_t>(p + 20, push.records_crc32c);
  Put<int64_t>(p + 24, commit_time_us);
  Put<uint64_t>(p + 32, bytes_before);
  Put<uint32_t>(p + 40, static_cast<uint32_t>(push.records.size()));
  std::memcpy(p + 48, push.request_id.bytes.data(), 16);
  Put<uint64_t>(p + 64, push.fingerprint.high);
  Put<uint64_t>(p + 72, push.fingerprint.low);
  uint32_t crc = Crc32c({p + kChecksumFrom, kAppendHeaderBytes - kChecksumFrom});
  crc = Crc32c(push.tables, crc);
  Put<uint32_t>(p + kChecksumAt, crc);
  return out;
}

absl::StatusOr<AppendView> DecodeAppend(std::string_view value) {
  Decoder in(value);
  const auto version = in.Fixed<uint8_t>();
  in.Bytes(3);
  const auto header_crc32c = in.Fixed<uint32_t>();
  AppendView append;
  append.first = SeqId(in.Fixed<uint64_t>());
  append.count = in.Fixed<uint32_t>();
  append.records_crc32c = in.Fixed<uint32_t>();
  append.commit_time_us = in.Fixed<int64_t>();
  append.bytes_before = in.Fixed<uint64_t>();
  const auto records_bytes = in.Fixed<uint32_t>();
  in.Bytes(4);
  const std::string_view request_id = in.Bytes(16);
  append.fingerprint.high = in.Fixed<uint64_t>();
  append.fingerprint.low = in.Fixed<uint64_t>();
  append.tables = in.Bytes(kTableBytesPerRecord * size_t{append.count});
  append.records = in.Bytes(records_bytes);
  if (!in.ok() || !in.rest().empty()) return absl::DataLossError("an append of the wrong length");
  if (version != kVersion) return absl::DataLossError("an append of an unknown version");
  if (append.count == 0) return absl::DataLossError("an append of no records");
  append.request_id = RequestId(Uuid::FromBytes(request_id));
  const size_t header_end = kAppendHeaderBytes + append.tables.size();
  if (Crc32c(value.substr(kChecksumFrom, header_end - kChecksumFrom)) != header_crc32c) {
    return absl::DataLossError("an append's header does not match its checksum");
  }
  return append;
}

absl::Status CheckRecords(const AppendView& append) {
  if (Crc32c(append.records) != append.records_crc32c) {
    return absl::DataLossError("an append's records do not match their checksum");
  }
  return absl::OkStatus();
}

}  // namespace sluice::log

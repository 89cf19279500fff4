#include "services/log/wire.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/slice.h>

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/errors/errors.h"
#include "sluice/v1/record.pb.h"

namespace sluice::log {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;

void PutVarint(std::string* out, uint64_t value) {
  uint8_t bytes[10];
  const uint8_t* end = CodedOutputStream::WriteVarint64ToArray(value, bytes);
  out->append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(end - bytes));
}

void PutTag(std::string* out, int field, WireFormatLite::WireType type) {
  PutVarint(out, WireFormatLite::MakeTag(field, type));
}

// A message that is so full, of a hundred, ends where an append ends: to cut the next one costs
// reading it again for the message after this.
constexpr size_t kFullEnough = 80;

// Bytes of the fields around an append's records, at most: three tags, a length, two numbers.
constexpr size_t kAppendOverhead = 3 + 5 + 10 + 10;

void PutAppend(std::string* out, int field, const AppendSlice& slice) {
  const uint64_t first = slice.first.value;
  const auto time = static_cast<uint64_t>(slice.commit_time_us);
  const size_t size = 1 + CodedOutputStream::VarintSize64(first) + slice.records.size() + 1 +
                      CodedOutputStream::VarintSize64(time);
  PutTag(out, field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  PutVarint(out, size);
  PutTag(out, v1::Append::kFirstSeqIdFieldNumber, WireFormatLite::WIRETYPE_VARINT);
  PutVarint(out, first);
  out->append(slice.records);
  PutTag(out, v1::Append::kCommitTimeUsFieldNumber, WireFormatLite::WIRETYPE_VARINT);
  PutVarint(out, time);
}

// How many of the slice's records, at most `most`, have together at most `room` bytes.
uint32_t CountThatFits(const AppendSlice& slice, uint32_t most, size_t room) {
  uint32_t fits = 0;
  uint32_t not_known = std::min(slice.count, most);
  while (fits < not_known) {
    const uint32_t middle = not_known - (not_known - fits) / 2;
    if (slice.BytesOf(middle) <= room) {
      fits = middle;
    } else {
      not_known = middle - 1;
    }
  }
  return fits;
}

}  // namespace

void PutMessage(std::string* out, int field, const google::protobuf::MessageLite& message) {
  PutTag(out, field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  PutVarint(out, message.ByteSizeLong());
  SLUICE_CHECK(message.AppendToString(out));
}

grpc::ByteBuffer ToByteBuffer(std::string bytes) {
  auto* owned = new std::string(std::move(bytes));
  const grpc::Slice slice(
      owned->data(), owned->size(), [](void* p) { delete static_cast<std::string*>(p); }, owned);
  return {&slice, 1};
}

grpc::ByteBuffer ToByteBuffer(const google::protobuf::MessageLite& message) {
  return ToByteBuffer(message.SerializeAsString());
}

absl::Status ParseRequest(const grpc::ByteBuffer& buffer, google::protobuf::MessageLite* message) {
  grpc::Slice slice;
  if (buffer.DumpToSingleSlice(&slice).ok() &&
      message->ParseFromArray(slice.begin(), static_cast<int>(slice.size()))) {
    return absl::OkStatus();
  }
  return MakeError(Reason::MALFORMED_REQUEST,
                   "the request's bytes are not a " + message->GetTypeName());
}

absl::StatusOr<Filled> AppendFiller::Fill(int field, const FillLimits& limits, std::string* out) {
  Filled filled;
  while (filled.records < limits.records) {
    AppendSlice slice;
    if (rest_) {
      slice = *std::exchange(rest_, std::nullopt);
    } else {
      const absl::StatusOr<bool> more = reader_.Next(&slice);
      // What is good goes out first; the reader gives the error again.
      if (!more.ok() && filled.records == 0) return more.status();
      if (!more.ok() || !*more) break;
    }
    const size_t used = out->size() + kAppendOverhead;
    const size_t room = limits.message_bytes > used ? limits.message_bytes - used : 0;
    uint32_t fits = CountThatFits(slice, limits.records - filled.records, room);
    if (fits == 0 && filled.records == 0) fits = 1;
    const bool full_enough = out->size() * 100 > limits.message_bytes * kFullEnough;
    if (fits == 0 || (fits < slice.count && full_enough)) {
      rest_ = slice;
      break;
    }
    if (fits < slice.count) rest_ = slice.Without(fits);
    const AppendSlice part = slice.First(fits);
    PutAppend(out, field, part);
    filled.records += fits;
    filled.record_bytes += part.records.size();
    filled.last = part.last();
    filled.last_commit_time_us = part.commit_time_us;
    if (rest_) break;
    // A second append will follow: more than a few bytes, at once the room for all.
    if (filled.records < limits.records && out->size() > limits.message_bytes / 16) {
      out->reserve(limits.message_bytes);
    }
  }
  return filled;
}

}  // namespace sluice::log

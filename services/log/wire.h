// Messages whose `appends` are stored bytes, spliced in as they are: PullLogsResponse,
// SubscribeResponse and ReadViewResponse are put together by hand and never parsed or
// re-serialised. Pure functions and plain values.
#pragma once

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/log/append_reader.h"

namespace sluice::log {

// The most that a message of a stream holds, unless one record alone is larger.
inline constexpr size_t kMaxMessageBytes = 1 << 20;

// Puts one message into `out` as field `field`.
void PutMessage(std::string* out, int field, const google::protobuf::MessageLite& message);

// Takes the string as the bytes of a message, without a copy.
grpc::ByteBuffer ToByteBuffer(std::string bytes);
grpc::ByteBuffer ToByteBuffer(const google::protobuf::MessageLite& message);
// MALFORMED_REQUEST.
absl::Status ParseRequest(const grpc::ByteBuffer& buffer, google::protobuf::MessageLite* message);

// How much to put into one message.
struct FillLimits {
  // Of the message as a whole; one record is put into it even if it is larger.
  size_t message_bytes = kMaxMessageBytes;
  uint32_t records = UINT32_MAX;
};

// What was put into a message.
struct Filled {
  uint32_t records = 0;
  uint64_t record_bytes = 0;
  // Of the last record; SeqId 0 if there is none.
  SeqId last;
  int64_t last_commit_time_us = 0;
};

// Moves a reader's records into messages, cutting appends at record boundaries. Borrows the reader.
class AppendFiller {
 public:
  explicit AppendFiller(AppendReader& reader) : reader_(reader) {}

  // Appends to *out, as field `field`, what fits; nothing if all records were given.
  absl::StatusOr<Filled> Fill(int field, const FillLimits& limits, std::string* out);

 private:
  AppendReader& reader_;
  // What did not fit.
  std::optional<AppendSlice> rest_;
};

}  // namespace sluice::log

#include "services/log/command.h"

#include <algorithm>
#include <cstring>

#include "common/base/check.h"
#include "common/base/coding.h"
#include "common/base/crc32c.h"

namespace sluice::log {
namespace {

// Frame: u32 length of all that follows it, u8 type, u24 seconds that the time is ahead of the
// clock, i64 time. README.md has the layouts.
constexpr size_t kFrameBytes = 16;
constexpr size_t kAheadAt = 5;
constexpr size_t kAheadBytes = 3;
constexpr int64_t kMaxAheadSeconds = (1 << 24) - 1;
constexpr int64_t kSecondUs = 1'000'000;
constexpr size_t kTimeAt = 8;
constexpr char kTypePush = 1;
constexpr char kTypeMessage = 2;
constexpr size_t kPushHeaderBytes = 80;
constexpr size_t kTableBytesPerRecord = 12;

void PutFrame(std::string* out, char type, size_t body_bytes) {
  PutFixed<uint32_t>(out, static_cast<uint32_t>(kFrameBytes - 4 + body_bytes));
  out->push_back(type);
  out->append(3, '\0');
  PutFixed<int64_t>(out, 0);
}

absl::Status Malformed() { return absl::DataLossError("a command of the journal cannot be read"); }

// `in` stands after the frame; the records are `records`, or what is left of `in` if that is empty.
absl::StatusOr<PushView> DecodePush(Decoder in, std::string_view records) {
  PushView push;
  const std::string_view collection = in.Bytes(16);
  const std::string_view request_id = in.Bytes(16);
  push.incarnation = Incarnation(in.Fixed<uint64_t>());
  push.fingerprint.high = in.Fixed<uint64_t>();
  push.fingerprint.low = in.Fixed<uint64_t>();
  push.count = in.Fixed<uint32_t>();
  push.dimension = in.Fixed<uint32_t>();
  push.first_vector_record = in.Fixed<uint32_t>();
  push.records_crc32c = in.Fixed<uint32_t>();
  const auto records_bytes = in.Fixed<uint32_t>();
  const auto conditions_bytes = in.Fixed<uint32_t>();
  push.tables = in.Bytes(kTableBytesPerRecord * size_t{push.count});
  const std::string_view conditions = in.Bytes(conditions_bytes);
  if (!in.ok() || push.count == 0) return Malformed();
  if (!conditions.empty()) {
    auto parsed = std::make_unique<pb::PushConditions>();
    if (!parsed->ParseFromArray(conditions.data(), static_cast<int>(conditions.size())) ||
        (!parsed->predecessor().empty() && parsed->predecessor().size() != 16)) {
      return Malformed();
    }
    push.conditions = std::move(parsed);
  }
  push.records = records.empty() ? in.rest() : records;
  if (push.records.size() != records_bytes) return Malformed();
  push.collection = CollectionId(Uuid::FromBytes(collection));
  push.request_id = RequestId(Uuid::FromBytes(request_id));
  return push;
}

std::string EncodeConditions(const ScannedPush& push, const RequestId& predecessor) {
  if (predecessor.is_nil() && !push.if_tail_seq_id && !push.if_ids_unchanged) return "";
  pb::PushConditions conditions;
  if (!predecessor.is_nil()) conditions.set_predecessor(std::string(predecessor.view()));
  if (push.if_tail_seq_id) conditions.set_tail(*push.if_tail_seq_id);
  if (push.if_ids_unchanged) {
    pb::IdsUnchanged& unchanged = *conditions.mutable_ids_unchanged();
    unchanged.set_since(push.if_ids_unchanged->since_seq_id);
    for (const std::string_view id : push.if_ids_unchanged->ids) {
      unchanged.add_ids(id.data(), id.size());
    }
  }
  return conditions.SerializeAsString();
}

}  // namespace

Command Command::Push(const CollectionId& collection, const RequestId& request_id,
                      Incarnation incarnation, const ScannedPush& push,
                      std::shared_ptr<const void> owner, const RequestId& predecessor) {
  const RecordsShape& shape = push.shape;
  const size_t tables = kTableBytesPerRecord * shape.offsets.size();
  SLUICE_CHECK(shape.count > 0 && shape.offsets.size() == shape.count &&
               shape.id_hashes.size() == shape.count);
  const Fingerprint fingerprint = FingerprintOf(collection.view(), push.records);
  const std::string conditions = EncodeConditions(push, predecessor);
  Command command;
  std::string& head = command.head_;
  head.reserve(kFrameBytes + kPushHeaderBytes + tables + conditions.size());
  PutFrame(&head, kTypePush, kPushHeaderBytes + tables + conditions.size() + push.records.size());
  head.append(collection.view());
  head.append(request_id.view());
  PutFixed<uint64_t>(&head, incarnation.value);
  PutFixed<uint64_t>(&head, fingerprint.high);
  PutFixed<uint64_t>(&head, fingerprint.low);
  PutFixed<uint32_t>(&head, shape.count);
  PutFixed<uint32_t>(&head, shape.dimension);
  PutFixed<uint32_t>(&head, shape.first_vector_record);
  PutFixed<uint32_t>(&head, Crc32c(push.records));
  PutFixed<uint32_t>(&head, static_cast<uint32_t>(push.records.size()));
  PutFixed<uint32_t>(&head, static_cast<uint32_t>(conditions.size()));
  head.append(reinterpret_cast<const char*>(shape.offsets.data()), 4 * shape.offsets.size());
  head.append(reinterpret_cast<const char*>(shape.id_hashes.data()), 8 * shape.id_hashes.size());
  head.append(conditions);
  command.records_ = push.records;
  command.owner_ = std::move(owner);
  command.collection_ = collection;
  return command;
}

Command::Command(const pb::Command& change) {
  const size_t body = change.ByteSizeLong();
  head_.reserve(kFrameBytes + body);
  PutFrame(&head_, kTypeMessage, body);
  change.AppendToString(&head_);
}

void Command::Stamp(int64_t time_us, int64_t ahead_us) {
  const int64_t seconds = std::clamp<int64_t>(ahead_us / kSecondUs, 0, kMaxAheadSeconds);
  std::memcpy(head_.data() + kAheadAt, &seconds, kAheadBytes);
  std::memcpy(head_.data() + kTimeAt, &time_us, sizeof(time_us));
}

absl::StatusOr<CommandView> DecodeCommand(std::string_view head, std::string_view records) {
  Decoder in(head);
  const auto length = in.Fixed<uint32_t>();
  const auto type = in.Fixed<char>();
  const std::string_view ahead = in.Bytes(kAheadBytes);
  CommandView view;
  view.time_us = in.Fixed<int64_t>();
  if (!in.ok() || 4 + size_t{length} != head.size() + records.size()) return Malformed();
  if (view.time_us < 0) return Malformed();
  int64_t ahead_seconds = 0;
  std::memcpy(&ahead_seconds, ahead.data(), kAheadBytes);
  view.clock_us = view.time_us - ahead_seconds * kSecondUs;
  if (type == kTypePush) {
    auto push = DecodePush(in, records);
    if (!push.ok()) return push.status();
    view.change = *std::move(push);
    return view;
  }
  pb::Command& message = view.change.emplace<pb::Command>();
  const std::string_view body = in.rest();
  if (type != kTypeMessage || !records.empty() ||
      !message.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return Malformed();
  }
  return view;
}

absl::Status ForEachCommand(std::string_view group,
                            absl::FunctionRef<absl::Status(const CommandView&)> visit) {
  while (!group.empty()) {
    if (group.size() < 4) return Malformed();
    const size_t bytes = 4 + size_t{GetFixed<uint32_t>(group.data())};
    if (group.size() < bytes) return Malformed();
    const auto command = DecodeCommand(group.substr(0, bytes), {});
    if (!command.ok()) return command.status();
    if (absl::Status visited = visit(*command); !visited.ok()) return visited;
    group.remove_prefix(bytes);
  }
  return absl::OkStatus();
}

}  // namespace sluice::log

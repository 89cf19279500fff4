#include "services/frontend/writes.h"

#include <google/protobuf/io/coded_stream.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "common/record/fields.h"
#include "common/record/scan.h"
#include "common/record/wire.h"
#include "sluice/v1/frontend.pb.h"
#include "sluice/v1/log.pb.h"

namespace sluice::frontend {
namespace {

using google::protobuf::io::CodedOutputStream;
using v1::OperationRecord;
using v1::PushLogsRequest;
using v1::WriteRequest;

// The three requests are numbered alike, so that one walk serves both kinds of write.
static_assert(int{WriteRequest::kCollectionFieldNumber} ==
              int{v1::DeleteRequest::kCollectionFieldNumber});
static_assert(int{WriteRequest::kRecordsFieldNumber} == int{v1::DeleteRequest::kIdsFieldNumber});
static_assert(int{WriteRequest::kRequestIdFieldNumber} ==
              int{v1::DeleteRequest::kRequestIdFieldNumber});

constexpr size_t kUuidTextBytes = 36;
// Tag and length, each of one byte, before the collection's id at the front of a push.
constexpr size_t kCollectionIdAt = 2;
constexpr size_t kRecordsAt = kCollectionIdAt + kUuidTextBytes;

constexpr char Tag(int number, WireType type) {
  return static_cast<char>(number << 3 | static_cast<int>(type));
}

void AppendHead(int number, size_t size, std::string* out) {
  uint8_t head[6];
  head[0] = static_cast<uint8_t>(Tag(number, WireType::kBytes));
  const uint8_t* const end =
      CodedOutputStream::WriteVarint32ToArray(static_cast<uint32_t>(size), head + 1);
  out->append(reinterpret_cast<const char*>(head), end - head);
}

void AppendBytes(int number, std::string_view bytes, std::string* out) {
  AppendHead(number, bytes.size(), out);
  out->append(bytes);
}

// Where a record's operation is, or would be.
struct OperationPlace {
  // Its bytes, tag included; empty: where they belong in the canonical order.
  size_t begin;
  size_t end;
  uint64_t value = 0;
};

// False: the record's framing is broken, or it has several operations; the scanner says so.
bool FindOperation(std::string_view record, OperationPlace* place) {
  *place = {.begin = record.size(), .end = record.size()};
  bool found = false;
  for (WireReader in(record); !in.done();) {
    const size_t begin = in.position() - record.data();
    uint32_t number;
    WireType type;
    if (!in.Tag(&number, &type)) return false;
    if (number == OperationRecord::kOperationFieldNumber) {
      uint64_t value;
      if (found || type != WireType::kVarint || !in.Varint(&value)) return false;
      found = true;
      *place = {begin, static_cast<size_t>(in.position() - record.data()), value};
      continue;
    }
    if (!in.Skip(type)) return false;
    if (!found && number > OperationRecord::kOperationFieldNumber && place->end == record.size()) {
      place->begin = place->end = begin;
    }
  }
  return true;
}

absl::Status AppendRecord(std::string_view record, int64_t index, v1::Operation operation,
                          std::string* out) {
  OperationPlace place;
  if (!FindOperation(record, &place) || place.value == static_cast<uint64_t>(operation)) {
    AppendBytes(PushLogsRequest::kRecordsFieldNumber, record, out);
    return absl::OkStatus();
  }
  if (place.value != 0) {
    return InvalidField(Place{.record = index}, "operation",
                        absl::StrCat(place.value, ", in a call that makes every record ",
                                     v1::Operation_Name(operation)));
  }
  AppendHead(PushLogsRequest::kRecordsFieldNumber, record.size() + 2 - (place.end - place.begin),
             out);
  out->append(record.substr(0, place.begin));
  out->push_back(Tag(OperationRecord::kOperationFieldNumber, WireType::kVarint));
  out->push_back(static_cast<char>(operation));
  out->append(record.substr(place.end));
  return absl::OkStatus();
}

void AppendDelete(std::string_view id, std::string* out) {
  std::string record;
  AppendBytes(OperationRecord::kIdFieldNumber, id, &record);
  record.push_back(Tag(OperationRecord::kOperationFieldNumber, WireType::kVarint));
  record.push_back(static_cast<char>(v1::OPERATION_DELETE));
  AppendBytes(PushLogsRequest::kRecordsFieldNumber, record, out);
}

}  // namespace

void Push::SetCollection(const CollectionId& id) {
  const std::string text = id.ToString();
  std::copy(text.begin(), text.end(), message.begin() + kCollectionIdAt);
}

absl::StatusOr<Push> PushOf(v1::Operation operation, std::string_view request) {
  Push push;
  push.message.reserve(kRecordsAt + request.size() + request.size() / 32);
  AppendBytes(PushLogsRequest::kCollectionIdFieldNumber, std::string(kUuidTextBytes, '0'),
              &push.message);
  const bool deletes = operation == v1::OPERATION_DELETE;
  std::string_view request_id;
  int64_t count = 0;
  const Place of_request;
  Fields fields(request, of_request);
  while (!fields.done()) {
    SLUICE_RETURN_IF_ERROR(fields.Next());
    switch (fields.number()) {
      case WriteRequest::kCollectionFieldNumber: {
        std::string_view collection;
        SLUICE_RETURN_IF_ERROR(fields.Bytes("collection", &collection));
        if (!push.collection.ParseFromArray(collection.data(),
                                            static_cast<int>(collection.size()))) {
          return Malformed(of_request, "collection", "is not a CollectionRef");
        }
        break;
      }
      case WriteRequest::kRecordsFieldNumber: {
        std::string_view record;
        SLUICE_RETURN_IF_ERROR(fields.Repeated({.record = count}, &record));
        if (deletes) {
          AppendDelete(record, &push.message);
        } else {
          SLUICE_RETURN_IF_ERROR(AppendRecord(record, count, operation, &push.message));
        }
        ++count;
        break;
      }
      case WriteRequest::kRequestIdFieldNumber:
        SLUICE_RETURN_IF_ERROR(fields.Text("request_id", kUuidTextBytes, &request_id));
        break;
      default:
        SLUICE_RETURN_IF_ERROR(fields.Unknown());
    }
  }
  if (deletes && count == 0) return InvalidField(of_request, "ids", "is empty");
  const std::string_view records = std::string_view(push.message).substr(kRecordsAt);
  RecordsShape shape;
  SLUICE_RETURN_IF_ERROR(ScanRecords(records, &shape));
  push.records = shape.count;
  push.record_bytes = records.size();
  if (!request_id.empty()) {
    AppendBytes(PushLogsRequest::kRequestIdFieldNumber, request_id, &push.message);
  }
  return push;
}

}  // namespace sluice::frontend

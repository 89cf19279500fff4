#include "services/log/journal_format.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/coding.h"
#include "common/base/crc32c.h"

namespace sluice::log {
namespace {

constexpr std::string_view kMagic = "SLUICEJ1";
constexpr size_t kFileHeaderBytes = 40;
constexpr size_t kGroupHeaderBytes = 32;
constexpr char kSuffix[] = ".journal";

}  // namespace

std::string JournalFileName(uint64_t number) {
  return absl::StrCat(absl::Dec(number, absl::kZeroPad16), kSuffix);
}

std::optional<uint64_t> NumberOfJournalFile(std::string_view name) {
  absl::string_view digits(name.data(), name.size());
  uint64_t number = 0;
  if (!absl::ConsumeSuffix(&digits, kSuffix) || !absl::SimpleAtoi(digits, &number)) {
    return std::nullopt;
  }
  return number;
}

std::string EncodeJournalFileHeader(const JournalFileHeader& header) {
  std::string out(kMagic);
  PutFixed<uint64_t>(&out, header.number);
  PutFixed<uint64_t>(&out, header.file_id);
  PutFixed<uint64_t>(&out, header.first_position);
  PutFixed<uint32_t>(&out, Crc32c(out));
  out.resize(kFileHeaderBytes);
  return out;
}

std::optional<JournalFileHeader> DecodeJournalFileHeader(std::string_view file) {
  Decoder in(file);
  const std::string_view magic = in.Bytes(kMagic.size());
  JournalFileHeader header;
  header.number = in.Fixed<uint64_t>();
  header.file_id = in.Fixed<uint64_t>();
  header.first_position = in.Fixed<uint64_t>();
  const auto crc = in.Fixed<uint32_t>();
  if (!in.ok() || magic != kMagic || crc != Crc32c(file.substr(0, 32))) return std::nullopt;
  return header;
}

uint64_t JournalGroupBytes(uint64_t payload_bytes) {
  return (kGroupHeaderBytes + payload_bytes + 7) & ~uint64_t{7};
}

std::string EncodeJournalGroupHeader(uint64_t payload_bytes, uint64_t file_id, uint64_t position,
                                     uint64_t synced) {
  std::string header;
  PutFixed<uint32_t>(&header, static_cast<uint32_t>(payload_bytes));
  PutFixed<uint64_t>(&header, file_id);
  PutFixed<uint64_t>(&header, position);
  PutFixed<uint64_t>(&header, synced);
  return header;
}

std::optional<JournalGroup> ReadJournalGroup(std::string_view file, uint64_t file_id, uint64_t at) {
  if (at + kGroupHeaderBytes > file.size()) return std::nullopt;
  const char* p = file.data() + at;
  if (GetFixed<uint64_t>(p + 8) != file_id) return std::nullopt;
  const uint64_t length = GetFixed<uint32_t>(p + 4);
  if (length > file.size() - at - kGroupHeaderBytes) return std::nullopt;
  if (Crc32c({p + 4, kGroupHeaderBytes - 4 + length}) != GetFixed<uint32_t>(p)) return std::nullopt;
  JournalGroup group;
  group.position = GetFixed<uint64_t>(p + 16);
  group.synced = GetFixed<uint64_t>(p + 24);
  group.payload = file.substr(at + kGroupHeaderBytes, length);
  group.end = at + JournalGroupBytes(length);
  return group;
}

std::optional<JournalGroup> FindJournalGroup(std::string_view file, uint64_t file_id, uint64_t at,
                                             uint64_t position, uint64_t synced) {
  for (; at + kGroupHeaderBytes <= file.size(); at += 8) {
    const auto group = ReadJournalGroup(file, file_id, at);
    if (group && group->position > position && group->synced >= synced) return group;
  }
  return std::nullopt;
}

}  // namespace sluice::log

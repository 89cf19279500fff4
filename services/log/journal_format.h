// The bytes of a journal's files; README.md has the layouts. Pure functions; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::log {

// A file: header, then groups, each at a multiple of 8.
inline constexpr uint64_t kFirstJournalGroupAt = 64;

// The name of a file, and its number; nullopt if it is the name of something else.
std::string JournalFileName(uint64_t number);
std::optional<uint64_t> NumberOfJournalFile(std::string_view name);

struct JournalFileHeader {
  uint64_t number = 0;
  uint64_t file_id = 0;
  // Of its first group; that all groups before it were synced is what it says.
  uint64_t first_position = 0;
};
std::string EncodeJournalFileHeader(const JournalFileHeader& header);
std::optional<JournalFileHeader> DecodeJournalFileHeader(std::string_view file);

// Of a group, headers and padding included.
uint64_t JournalGroupBytes(uint64_t payload_bytes);
// All of the header but the checksum, which stands before it and covers it and the payload.
std::string EncodeJournalGroupHeader(uint64_t payload_bytes, uint64_t file_id, uint64_t position,
                                     uint64_t synced);

struct JournalGroup {
  uint64_t position = 0;
  // The last position that was synced when this group was written.
  uint64_t synced = 0;
  std::string_view payload;
  uint64_t end = 0;
};
// The group at `at`, if one of this file stands there whole.
std::optional<JournalGroup> ReadJournalGroup(std::string_view file, uint64_t file_id, uint64_t at);
// The first whole group of this file at `at` or later that comes after `position` and was written
// when `synced` was synced already.
std::optional<JournalGroup> FindJournalGroup(std::string_view file, uint64_t file_id, uint64_t at,
                                             uint64_t position, uint64_t synced);

}  // namespace sluice::log

// The layout of a segment file, as README.md specifies it: header, sections, footer; and of the
// values of its rows. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/record/fold.h"

namespace sluice {

inline constexpr std::string_view kHeaderMagic = "SLUSEGH\n";
inline constexpr std::string_view kFooterMagic = "SLUSEGF\n";
inline constexpr uint32_t kFormatVersion = 1;
// Vectors follow the header, so it is as long as their alignment.
inline constexpr size_t kHeaderBytes = 64;
// The end of the rows section, covered by its checksum in the footer: there lie the properties,
// metaindex and footer of the SST, about 1.2 KiB, which RocksDB parses before, or without,
// comparing a checksum. All other blocks are checked as they are read.
inline constexpr size_t kRowsTailBytes = 4096;

enum class SectionKind : uint32_t {
  kHeader = 1,
  kVectors = 2,
  // Where each row's vector is; absent if every row has one, or none.
  kSlots = 3,
  kRows = 4,
  kIndex = 5,
  // Absent if the vectors are few, or are better searched exactly.
  kGraph = 6,
};
inline constexpr uint32_t kNoSlot = UINT32_MAX;

struct Section {
  SectionKind kind{};
  uint32_t crc32c = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
};

struct Footer {
  uint64_t entries = 0;
  uint64_t rows = 0;
  uint64_t vectors = 0;
  std::vector<Section> sections;

  // nullptr: there is none of that kind.
  const Section* Find(SectionKind kind) const;
};

// The checksum that a section has in the footer.
uint32_t SectionCrc(SectionKind kind, std::string_view bytes);

std::string EncodeHeader(uint32_t dimension);
std::string EncodeFooter(const Footer& footer);

// Errors below say what is wrong, and are SEGMENT_CORRUPT for `object`, or FAILED_PRECONDITION for
// a newer format.

// What the footer says of a file of `size` bytes that ends in `end`, once checked: every section
// that this version knows lies within the file.
absl::StatusOr<Footer> ReadFooter(std::string_view end, uint64_t size, std::string_view object);
// `covered`: what SectionCrc covers of the section, or all of it.
absl::Status CheckSection(const Section& section, std::string_view covered,
                          std::string_view object);
// The dimension.
absl::StatusOr<uint32_t> ReadHeader(std::string_view header, std::string_view object);

// What a file's header and footer say, once checked, and the checksums of its sections too.
struct Layout {
  uint32_t dimension = 0;
  Footer footer;

  // Empty: there is none of that kind.
  std::string_view Bytes(SectionKind kind, std::string_view file) const;
};
absl::StatusOr<Layout> ReadLayout(std::string_view file, std::string_view object);

absl::Status SegmentCorrupt(std::string_view object, std::string_view what);

// A row without its vector.
std::string EncodeRow(const Row& row);
// False: not a row of a version this code knows.
bool DecodeRow(std::string_view value, Row* row);

}  // namespace sluice

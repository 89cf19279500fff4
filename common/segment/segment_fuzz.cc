// Segment files that were damaged or are any bytes: opened or refused as SEGMENT_CORRUPT; what is
// served of a damaged one is what was written. A footer may lie, and match its checksum.
#include <fstream>
#include <iterator>

#include "common/base/check.h"
#include "common/base/coding.h"
#include "common/errors/errors.h"
#include "common/segment/format.h"
#include "common/segment/segment.h"
#include "tests/support/fuzz.h"

namespace sluice::testing {
namespace {

// A segment of three rows, two vectors and a deletion.
struct Written {
  v1::SegmentInfo info;
  std::string bytes;
  std::vector<std::string> rows;  // encoded
};

IdHash HashOf(std::string_view id) {
  static const IdHasher hasher("0123456789abcdef");
  return hasher(id);
}

Written WriteSegment() {
  const FuzzFile file;
  const auto writer = SegmentWriter::Create(file.path(), 2);
  SLUICE_CHECK(writer.ok());
  for (const char* id : {"a", "b", "c"}) {
    Row row;
    row.id = id;
    row.seq_id = SeqId(7);
    row.document = "document " + row.id;
    row.metadata.emplace_back().set_key("k");
    row.metadata[0].mutable_value()->set_string_value("v");
    if (row.id != "b") row.vector = {1.0F, 0.5F};
    SLUICE_CHECK((*writer)->Add(HashOf(id), row).ok());
  }
  SLUICE_CHECK((*writer)->AddDeleted(HashOf("d")).ok());
  Written written;
  written.info = *(*writer)->Finish();
  const auto segment = Segment::Open(file.path(), written.info);
  SLUICE_CHECK(segment.ok());
  for (uint32_t i = 0; i < written.info.rows(); ++i)
    written.rows.push_back(EncodeRow(*(*segment)->ReadRow(i)));
  std::ifstream in(file.path(), std::ios::binary);
  written.bytes.assign(std::istreambuf_iterator<char>(in), {});
  return written;
}

bool IsCorrupt(const absl::Status& status) {
  return ReasonOf(status) == Reason::SEGMENT_CORRUPT || absl::IsFailedPrecondition(status);
}

void TryRead(const Written& written, const v1::SegmentInfo& info,
             const absl::StatusOr<std::shared_ptr<const Segment>>& segment) {
  if (!segment.ok()) {
    SLUICE_CHECK(IsCorrupt(segment.status()));
    return;
  }
  for (const Segment::Entry& entry : (*segment)->entries())
    SLUICE_CHECK((*segment)->Find(entry.id) == entry.row);
  for (uint32_t i = 0; i < info.rows(); ++i) {
    const bool is_local = (*segment)->is_local();
    const auto row = is_local ? (*segment)->ReadRow(i) : (*segment)->ReadFields(i);
    SLUICE_CHECK(row.ok() ? EncodeRow(*row) == written.rows[i] : IsCorrupt(row.status()));
  }
}

void TryOpen(const Written& written, std::string_view bytes, bool same_length) {
  static const FuzzFile file;
  file.Write(bytes);
  v1::SegmentInfo info = written.info;
  if (same_length) info.set_bytes(bytes.size());
  TryRead(written, info, Segment::Open(file.path(), info));
  const auto range = [bytes](uint64_t offset, uint64_t size) -> absl::StatusOr<std::string> {
    return std::string(bytes.substr(offset, size));
  };
  if (info.bytes() == bytes.size()) TryRead(written, info, Segment::OpenRemote(range, info, "any"));
}

// The file with a footer that says something else of every section but the rows.
std::string WithFalseFooter(const Written& written, std::string_view input) {
  static const Layout layout = *ReadLayout(written.bytes, "written");
  Footer footer = layout.footer;
  Decoder in(input);
  for (Section& section : footer.sections) {
    if (section.kind == SectionKind::kRows) continue;
    section.offset += in.Fixed<uint64_t>();
    section.length += in.Fixed<uint64_t>();
    if (section.offset <= written.bytes.size() &&
        section.length <= written.bytes.size() - section.offset)
      section.crc32c = SectionCrc(
          section.kind, std::string_view(written.bytes).substr(section.offset, section.length));
  }
  const std::string encoded = EncodeFooter(footer);
  return written.bytes.substr(0, written.bytes.size() - encoded.size()) + encoded;
}

}  // namespace

// The input: a letter for what it is, then its bytes, or how a good file is damaged.
void FuzzOne(std::string_view input) {
  static const Written written = WriteSegment();
  if (input.empty()) return;
  const std::string_view rest = input.substr(1);
  switch (input[0]) {
    case 's':
      return TryOpen(written, rest, /*same_length=*/true);
    case 'S':
      return TryOpen(written, Damaged(written.bytes, rest), /*same_length=*/true);
    case 'f':
      return TryOpen(written, WithFalseFooter(written, rest), /*same_length=*/false);
    case 'r': {
      Row row;
      if (!DecodeRow(rest, &row)) return;
      Row again;
      SLUICE_CHECK(DecodeRow(EncodeRow(row), &again));
      SLUICE_CHECK(EncodeRow(again) == EncodeRow(row));
    }
  }
}

std::vector<std::string> FuzzSeeds() {
  const Written written = WriteSegment();
  std::vector<std::string> seeds{"s" + written.bytes, "S", "f"};
  for (char what = 0; what < 6; ++what) seeds.push_back({'S', 100, 1, what, 7});
  std::string moved = "f";
  for (uint64_t i = 0; i < 8; ++i) PutFixed<uint64_t>(&moved, i == 3 ? UINT64_MAX : 8 * i);
  seeds.push_back(moved);
  for (const std::string& row : written.rows) seeds.push_back("r" + row);
  // More metadata than there are bytes.
  seeds.push_back("r" + written.rows[0].substr(0, 11) + std::string(8, '\xff'));
  return seeds;
}

}  // namespace sluice::testing

// The formats as they were when they were fixed: what was written then must be read for ever, and
// written alike.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "common/errors/errors.h"
#include "common/segment/format.h"
#include "common/segment/segment.h"
#include "common/segment/test_support.h"

namespace sluice {
namespace {

std::string Hex(std::string_view bytes) {
  return absl::BytesToHexString({bytes.data(), bytes.size()});
}

std::vector<Row> GoldenRows() {
  std::vector<Row> rows(4);
  rows[0].id = "everything";
  rows[0].seq_id = SeqId(0x0102030405060708);
  rows[0].document = "caf\u00e9";
  rows[0].uri = "file:///x";
  rows[0].pending_embedding = true;
  rows[0].vector = {1.0F, -0.0F, 0.5F};
  for (const char* key : {"b", "f", "i", "s"}) rows[0].metadata.emplace_back().set_key(key);
  rows[0].metadata[0].mutable_value()->set_bool_value(true);
  rows[0].metadata[1].mutable_value()->set_float_value(1.5);
  rows[0].metadata[2].mutable_value()->set_int_value(-2);
  rows[0].metadata[3].mutable_value()->set_string_value("v");
  rows[1].id = "nothing";
  rows[1].seq_id = SeqId(1);
  rows[2].id = "empty document";
  rows[2].seq_id = SeqId(2);
  rows[2].document = "";
  rows[3].id = "vector";
  rows[3].seq_id = SeqId(3);
  rows[3].vector = {-1.0F, 2.0F, 3e38F};
  return rows;
}

WrittenSegment GoldenSegment() {
  WrittenSegment golden{.path = SLUICE_SOURCE_DIR "/common/segment/testdata/segment_v1",
                        .info = {}};
  golden.info.set_entries(5);
  golden.info.set_rows(4);
  golden.info.set_vectors(2);
  golden.info.set_bytes(std::filesystem::file_size(golden.path));
  return golden;
}

TEST(SegmentGolden, AnIdHashIsSipHash24Of128Bits) {
  // The first vectors of the reference implementation (github.com/veorq/SipHash, vectors.h).
  const IdHasher hasher(std::string_view("\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17", 16));
  EXPECT_EQ(hasher(""), (IdHash{0xa3817f04ba25a8e6, 0x6df67214c7550293}));
  EXPECT_EQ(hasher(std::string_view("\0", 1)), (IdHash{0xda87c1d86b99af44, 0x347659119b22fc45}));
}

TEST(SegmentGolden, ARowIsEncodedAsSpecified) {
  EXPECT_EQ(Hex(EncodeRow(GoldenRows()[0])),
            "010708070605040302010a00000065766572797468696e6705000000636166c3a90900000066696c"
            "653a2f2f2f780400000001000000620401010000006603000000000000f83f010000006902feffff"
            "ffffffffff0100000073010100000076");
  EXPECT_EQ(Hex(EncodeRow(GoldenRows()[1])), "01000100000000000000070000006e6f7468696e6700000000");
  EXPECT_EQ(Hex(EncodeRow(GoldenRows()[2])),
            "010102000000000000000e000000656d70747920646f63756d656e740000000000000000");
}

TEST(SegmentGolden, ARowOfAnUnknownVersionOrFlagOrValueTypeOrCutShortIsNotRead) {
  Row row;
  const std::string good = EncodeRow(GoldenRows()[0]);
  ASSERT_TRUE(DecodeRow(good, &row));
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(DecodeRow(std::string_view(good).substr(0, size), &row)) << size;
  }
  EXPECT_FALSE(DecodeRow(good + "x", &row));
  std::string bad = good;
  bad[0] = 2;
  EXPECT_FALSE(DecodeRow(bad, &row));
  bad = good;
  bad[1] = 8;
  EXPECT_FALSE(DecodeRow(bad, &row));
}

TEST(SegmentGolden, HeaderAndFooterAreEncodedAsSpecified) {
  EXPECT_EQ(Hex(EncodeHeader(384)),
            "534c55534547480a0100000080010000000000000000000000000000000000000000000000000000"
            "000000000000000000000000000000000000000000000000");
  const Footer footer{.entries = 1,
                      .rows = 2,
                      .vectors = 3,
                      .sections = {{.kind = SectionKind::kIndex,
                                    .crc32c = 0x01020304,
                                    .offset = 0x1112131415161718,
                                    .length = 0x2122232425262728}}};
  EXPECT_EQ(Hex(EncodeFooter(footer)),
            "01000000000000000200000000000000030000000000000001000000050000000403020118171615"
            "141312112827262524232221340000006c269688534c55534547460a");
}

TEST(SegmentGolden, TheFileOfVersion1IsRead) {
  const auto segment = OpenSegment(GoldenSegment());
  for (const Row& row : GoldenRows()) {
    ExpectSameRow(Must(segment->ReadRow(segment->Find(HashOf(row.id)).value())), row);
  }
  EXPECT_EQ(segment->Find(HashOf("deleted")), Segment::kDeleted);
}

TEST(SegmentGolden, ANewFileHasTheSameSectionsBesideItsRows) {
  TestFolder folder;
  const std::string golden = ReadFile(GoldenSegment().path);
  const std::string fresh = ReadFile(WriteSegment(folder, 3, GoldenRows(), {"deleted"}).path);
  const Layout golden_layout = Must(ReadLayout(golden, "golden"));
  const Layout fresh_layout = Must(ReadLayout(fresh, "fresh"));
  for (const SectionKind kind :
       {SectionKind::kHeader, SectionKind::kVectors, SectionKind::kSlots, SectionKind::kIndex}) {
    EXPECT_FALSE(golden_layout.Bytes(kind, golden).empty());
    EXPECT_EQ(Hex(fresh_layout.Bytes(kind, fresh)), Hex(golden_layout.Bytes(kind, golden)));
  }
}

TEST(SegmentGolden, ASegmentOfANewerFormatIsNotTakenForADamagedOne) {
  std::string header = EncodeHeader(3);
  header[kHeaderMagic.size()] = 2;
  const Footer footer{.entries = 0,
                      .rows = 0,
                      .vectors = 0,
                      .sections = {{.kind = SectionKind::kHeader,
                                    .crc32c = SectionCrc(SectionKind::kHeader, header),
                                    .offset = 0,
                                    .length = header.size()}}};
  const absl::Status error = ReadLayout(header + EncodeFooter(footer), "new").status();
  EXPECT_EQ(error.code(), absl::StatusCode::kFailedPrecondition) << error;
}

TEST(SegmentGolden, SectionsOfUnknownKindsArePassedOver) {
  const std::string header = EncodeHeader(3);
  const Footer footer{
      .entries = 0,
      .rows = 0,
      .vectors = 0,
      .sections = {{.kind = static_cast<SectionKind>(99), .crc32c = 1, .offset = 2, .length = 3},
                   {.kind = SectionKind::kHeader,
                    .crc32c = SectionCrc(SectionKind::kHeader, header),
                    .offset = 0,
                    .length = header.size()}}};
  EXPECT_EQ(Must(ReadLayout(header + EncodeFooter(footer), "new")).dimension, 3u);
}

}  // namespace
}  // namespace sluice

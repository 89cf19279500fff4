#include "common/segment/segment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <mutex>
#include <random>
#include <thread>

#include "common/base/crc32c.h"
#include "common/errors/errors.h"
#include "common/segment/format.h"
#include "common/segment/rows.h"
#include "common/segment/test_support.h"

namespace sluice {
namespace {

v1::MetadataEntry Entry(std::string key) {
  v1::MetadataEntry entry;
  entry.set_key(std::move(key));
  return entry;
}

// Of every type there is.
std::vector<v1::MetadataEntry> AllTypes() {
  std::vector<v1::MetadataEntry> all = {Entry("bool"), Entry("float"), Entry("int"),
                                        Entry("string")};
  all[0].mutable_value()->set_bool_value(true);
  all[1].mutable_value()->set_float_value(-0.5);
  all[2].mutable_value()->set_int_value(std::numeric_limits<int64_t>::min());
  all[3].mutable_value()->set_string_value("text");
  return all;
}

size_t OpenFiles() {
  return static_cast<size_t>(
      std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

TEST(Segment, GivesBackWhatWasWritten) {
  TestFolder folder;
  std::vector<Row> rows;
  for (uint64_t i = 0; i < 1000; ++i) rows.push_back(MakeRow("id" + std::to_string(i), i + 1));
  rows[1].vector = {1, -0.0F, std::numeric_limits<float>::denorm_min()};
  rows[2].document.reset();
  rows[3].document = "";
  rows[4].uri = "https://example.org";
  rows[5].metadata = AllTypes();
  rows[6].pending_embedding = true;
  rows[7].vector = {4, 5, 6};
  rows[8].document = std::string(1 << 20, 'x');
  rows[9].id = std::string(512, '\xc3');
  const WrittenSegment written = WriteSegment(folder, 3, rows, {"gone1", "gone2"});
  EXPECT_EQ(written.info.entries(), 1002u);
  EXPECT_EQ(written.info.rows(), 1000u);
  EXPECT_EQ(written.info.vectors(), 2u);

  const auto segment = OpenSegment(written);
  EXPECT_EQ(segment->dimension(), 3u);
  for (const Row& row : rows) {
    const auto found = segment->Find(HashOf(row.id));
    ASSERT_TRUE(found) << row.id;
    ExpectSameRow(Must(segment->ReadRow(*found)), row);
    EXPECT_EQ(segment->Vector(*found).size(), row.vector.size());
  }
  EXPECT_EQ(segment->Find(HashOf("gone1")), Segment::kDeleted);
  EXPECT_EQ(segment->Find(HashOf("never there")), std::nullopt);
}

TEST(Segment, NumbersRowsInOrderOfIdHash) {
  TestFolder folder;
  std::vector<Row> rows;
  for (uint64_t i = 0; i < 100; ++i) rows.push_back(MakeRow("id" + std::to_string(i), i + 1));
  const auto segment = OpenSegment(WriteSegment(folder, 0, rows, {"a", "b", "c"}));
  uint32_t row = 0;
  for (size_t i = 0; i < segment->entries().size(); ++i) {
    const Segment::Entry& entry = segment->entries()[i];
    if (i > 0) {
      EXPECT_LT(segment->entries()[i - 1].id, entry.id);
    }
    if (entry.row == Segment::kDeleted) continue;
    EXPECT_EQ(entry.row, row++);
    EXPECT_EQ(HashOf(Must(segment->ReadRow(entry.row)).id), entry.id);
  }
  EXPECT_EQ(row, 100u);
}

TEST(Segment, FindsIdsAlsoWhereHashesAreNotUniform) {
  TestFolder folder;
  const WrittenSegment written{.path = folder.NewPath(), .info = {}};
  const auto writer = Must(SegmentWriter::Create(written.path, 0));
  std::vector<IdHash> ids;
  for (uint64_t i = 0; i < 300; ++i) ids.push_back({.high = i / 100, .low = i * 2});
  for (uint64_t i = 0; i < 300; ++i) ids.push_back({.high = ~(i / 100), .low = i * 2});
  for (const IdHash& id : ids) ASSERT_TRUE(writer->AddDeleted(id).ok());
  const auto segment = Must(Segment::Open(written.path, Must(writer->Finish())));
  for (IdHash id : ids) {
    EXPECT_TRUE(segment->Find(id));
    id.low += 1;
    EXPECT_FALSE(segment->Find(id));
  }
}

TEST(Segment, InfoHasTheSizeAndChecksumOfTheFile) {
  TestFolder folder;
  const WrittenSegment written = WriteSegment(folder, 2, {MakeRow("a", 1, {1, 2})}, {"b"});
  const std::string file = ReadFile(written.path);
  EXPECT_EQ(written.info.bytes(), file.size());
  EXPECT_EQ(written.info.crc32c(), Crc32c(file));
}

TEST(Segment, StaysReadableWhenItsFileIsUnlinkedAndHoldsNoDescriptor) {
  TestFolder folder;
  const WrittenSegment written = WriteSegment(folder, 2, {MakeRow("a", 1, {1, 2})});
  const size_t open_files = OpenFiles();
  const auto segment = OpenSegment(written);
  EXPECT_EQ(OpenFiles(), open_files);
  std::filesystem::remove(written.path);
  ExpectSameRow(Must(segment->ReadRow(0)), MakeRow("a", 1, {1, 2}));
}

TEST(Segment, MayHaveDeletionsOnlyOrNothing) {
  TestFolder folder;
  const auto deletions = OpenSegment(WriteSegment(folder, 4, {}, {"a", "b"}));
  EXPECT_EQ(deletions->entries().size(), 2u);
  EXPECT_EQ(deletions->Find(HashOf("a")), Segment::kDeleted);
  const auto nothing = OpenSegment(WriteSegment(folder, 4, {}));
  EXPECT_TRUE(nothing->entries().empty());
  EXPECT_FALSE(nothing->Find(HashOf("a")));
}

TEST(Segment, IsRefusedIfItIsNotTheOneListed) {
  TestFolder folder;
  const WrittenSegment written = WriteSegment(folder, 2, {MakeRow("a", 1, {1, 2})}, {"b"});
  v1::SegmentInfo info = written.info;
  info.set_rows(2);
  EXPECT_EQ(ReasonOf(Segment::Open(written.path, info).status()), Reason::SEGMENT_CORRUPT);
  info = written.info;
  info.set_bytes(info.bytes() + 1);
  const absl::Status error = Segment::Open(written.path, info).status();
  EXPECT_EQ(ReasonOf(error), Reason::SEGMENT_CORRUPT);
  EXPECT_EQ(ErrorMetadata(error, "object"), written.path.string());
}

TEST(Segment, ThatIsMissingIsNotFound) {
  TestFolder folder;
  EXPECT_EQ(Segment::Open(folder.NewPath(), {}).status().code(), absl::StatusCode::kNotFound);
}

TEST(Segment, IsReadByManyThreadsAtOnce) {
  TestFolder folder;
  std::vector<Row> rows;
  for (uint64_t i = 0; i < 2000; ++i) rows.push_back(MakeRow("id" + std::to_string(i), i + 1));
  const auto segment = OpenSegment(WriteSegment(folder, 0, rows));
  std::vector<std::jthread> threads;
  for (uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 1000; ++i) {
        const Row& row = rows[random() % rows.size()];
        ExpectSameRow(Must(segment->ReadRow(segment->Find(HashOf(row.id)).value())), row);
      }
    });
  }
}

TEST(Segment, ObjectNameIsAsTheStoreAndTheLogKnowIt) {
  const CollectionId id = Must(ParseCollectionId("00112233-4455-6677-8899-aabbccddeeff"));
  EXPECT_EQ(SegmentObjectName(id, Incarnation(0xabc), 17, 2),
            "00112233-4455-6677-8899-aabbccddeeff/0000000000000abc/17/2");
}

TEST(Segment, ObjectNameOfASegmentFromBeforeARestoreHasTheIncarnationItWasWrittenUnder) {
  const CollectionId id = Must(ParseCollectionId("00112233-4455-6677-8899-aabbccddeeff"));
  v1::SegmentInfo info;
  info.set_token(17);
  info.set_number(2);
  EXPECT_EQ(SegmentObjectName(id, Incarnation(0xabc), info),
            SegmentObjectName(id, Incarnation(0xabc), 17, 2));
  info.set_incarnation(0xdef);
  EXPECT_EQ(SegmentObjectName(id, Incarnation(0xabc), info),
            SegmentObjectName(id, Incarnation(0xdef), 17, 2));
}

TEST(SegmentWriter, LeavesNothingBehindUnlessItFinishes) {
  TestFolder folder;
  {
    const auto writer = Must(SegmentWriter::Create(folder.NewPath(), 0));
    ASSERT_TRUE(writer->Add(HashOf("a"), MakeRow("a", 1)).ok());
  }
  EXPECT_TRUE(folder.IsEmpty());
}

TEST(SegmentWriter, RefusesAnIdThatComesTwice) {
  TestFolder folder;
  {
    const auto writer = Must(SegmentWriter::Create(folder.NewPath(), 0));
    ASSERT_TRUE(writer->Add(HashOf("a"), MakeRow("a", 1)).ok());
    ASSERT_TRUE(writer->AddDeleted(HashOf("a")).ok());
    EXPECT_EQ(writer->Finish().status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(folder.IsEmpty());
}

TEST(SegmentWriter, RefusesAVectorOfAnotherDimension) {
  TestFolder folder;
  const auto writer = Must(SegmentWriter::Create(folder.NewPath(), 2));
  EXPECT_EQ(writer->Add(HashOf("a"), MakeRow("a", 1, {1, 2, 3})).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(writer->entries(), 0u);
}

TEST(SegmentWriter, SortsMoreThanItHoldsInMemory) {
  TestFolder folder;
  std::vector<Row> rows;
  std::mt19937 random(1);
  for (uint64_t i = 0; i < 36; ++i) {
    Row& row = rows.emplace_back(MakeRow("id" + std::to_string(i), i + 1, {1.0F * i, 2}));
    row.document = std::string(1 << 20, '\0');
    for (char& c : *row.document) c = static_cast<char>(random());
  }
  const auto segment = OpenSegment(WriteSegment(folder, 2, rows));
  for (const Row& row : rows) {
    ExpectSameRow(Must(segment->ReadRow(segment->Find(HashOf(row.id)).value())), row);
  }
}

// What somebody reads from a segment: every entry, row, and, if it is local, vector. Past RocksDB's
// block cache, which would give the blocks of the undamaged file.
absl::StatusOr<std::vector<Row>> ReadAll(const Segment& segment) {
  std::vector<Row> rows(segment.info().rows());
  std::optional<RowsReader::Cursor> cursor;
  if (segment.rows_reader() != nullptr) cursor.emplace(segment.rows_reader()->NewCursor());
  for (const Segment::Entry& entry : segment.entries()) {
    if (entry.row == Segment::kDeleted) continue;
    SLUICE_ASSIGN_OR_RETURN(const std::string_view value, cursor->Read(entry.row));
    Row& row = rows[entry.row];
    EXPECT_TRUE(DecodeRow(value, &row));
    EXPECT_EQ(HashOf(row.id), entry.id);
    if (!segment.is_local()) continue;
    const auto vector = segment.Vector(entry.row);
    row.vector.assign(vector.begin(), vector.end());
  }
  return rows;
}

WrittenSegment SmallSegment(TestFolder& folder) {
  std::vector<Row> rows;
  for (uint64_t i = 0; i < 20; ++i) {
    rows.push_back(MakeRow("id" + std::to_string(i), i + 1));
    if (i % 3 != 0) rows.back().vector = {1.0F * i, 2.0F, 3.0F};
  }
  rows[5].metadata = AllTypes();
  return WriteSegment(folder, 3, rows, {"gone"});
}

enum class Damage { kRefusedAtOpen, kRefusedAtRead, kHarmless };
enum class Way { kMapped, kRemote };

// Flips bits of one byte of the file, reads everything, and flips them back.
Damage FlipAndRead(const WrittenSegment& written, size_t at, uint8_t flip,
                   const std::vector<Row>& expected, Way way = Way::kMapped) {
  std::fstream file(written.path, std::ios::binary | std::ios::in | std::ios::out);
  const auto xor_byte = [&] {
    char byte = 0;
    file.seekg(static_cast<std::streamoff>(at)).get(byte);
    file.seekp(static_cast<std::streamoff>(at))
        .put(static_cast<char>(static_cast<uint8_t>(byte) ^ flip))
        .flush();
  };
  xor_byte();
  Damage damage = Damage::kHarmless;
  Ranges ranges(written.path);
  const auto segment = way == Way::kMapped ? Segment::Open(written.path, written.info)
                                           : OpenRemote(written, &ranges);
  if (!segment.ok()) {
    damage = Damage::kRefusedAtOpen;
    EXPECT_EQ(ReasonOf(segment.status()), Reason::SEGMENT_CORRUPT) << segment.status();
  } else if (const auto rows = ReadAll(**segment); !rows.ok()) {
    damage = Damage::kRefusedAtRead;
    EXPECT_EQ(ReasonOf(rows.status()), Reason::SEGMENT_CORRUPT) << rows.status();
  } else {
    for (size_t i = 0; i < expected.size(); ++i) ExpectSameRow((*rows)[i], expected[i]);
  }
  xor_byte();
  return damage;
}

TEST(Segment, WithAnyByteFlippedIsRefusedOrReadsAsBefore) {
  TestFolder folder;
  const WrittenSegment written = SmallSegment(folder);
  const std::vector<Row> expected = Must(ReadAll(*OpenSegment(written)));
  for (size_t at = 0; at < written.info.bytes(); ++at) {
    for (const uint8_t flip : {0x01, 0x80, 0xff}) {
      SCOPED_TRACE("byte " + std::to_string(at) + " flipped by " + std::to_string(flip));
      FlipAndRead(written, at, flip, expected);
      if (HasFailure()) return;
    }
  }
}

TEST(Segment, WithAByteOfItsRowsFlippedIsRefusedWhenTheyAreRead) {
  TestFolder folder;
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  // One block a row, so that RocksDB's index of blocks is too long for the part that is checked at
  // open.
  std::vector<Row> rows;
  for (uint64_t i = 0; i < 300; ++i) {
    Row& row = rows.emplace_back(MakeRow("id" + std::to_string(i), i + 1));
    row.document = std::string(17'000, '\0');
    for (char& c : *row.document) c = static_cast<char>(random());
  }
  const WrittenSegment written = WriteSegment(folder, 0, rows);
  const std::vector<Row> expected = Must(ReadAll(*OpenSegment(written)));
  const std::string file = ReadFile(written.path);
  const Section section = *Must(ReadLayout(file, "")).footer.Find(SectionKind::kRows);
  const size_t end = section.offset + section.length - kRowsTailBytes;
  const auto flip_below_end = [&](uint64_t distance) {
    return FlipAndRead(written, end - 1 - distance, static_cast<uint8_t>(1 + random() % 255),
                       expected);
  };
  size_t refused_at_read = 0;
  for (int i = 0; i < 100; ++i) {
    refused_at_read +=
        flip_below_end(random() % (section.length - kRowsTailBytes)) == Damage::kRefusedAtRead;
  }
  EXPECT_GT(refused_at_read, 90u);
  // Where the index of blocks is.
  for (uint64_t i = 0; i < 3000; i += 7) EXPECT_NE(flip_below_end(i), Damage::kHarmless);
}

// What a remote segment never reads, it cannot find damaged, nor serve.
TEST(RemoteSegment, WithAnyByteFlippedIsRefusedOrReadsAsBefore) {
  TestFolder folder;
  const WrittenSegment written = SmallSegment(folder);
  Ranges ranges(written.path);
  const std::vector<Row> expected = Must(ReadAll(*Must(OpenRemote(written, &ranges))));
  const std::string file = ReadFile(written.path);
  const Section vectors = *Must(ReadLayout(file, "")).footer.Find(SectionKind::kVectors);
  for (size_t at = 0; at < written.info.bytes(); ++at) {
    SCOPED_TRACE("byte " + std::to_string(at));
    const Damage damage = FlipAndRead(written, at, 0xff, expected, Way::kRemote);
    if (at >= vectors.offset && at < vectors.offset + vectors.length) {
      EXPECT_EQ(damage, Damage::kHarmless);
    }
    if (HasFailure()) return;
  }
}

std::vector<Row> ManyRows(std::mt19937_64& random) {
  std::vector<Row> rows;
  for (uint64_t i = 0; i < 3000; ++i) {
    Row& row = rows.emplace_back(MakeRow("id" + std::to_string(i), i + 1));
    row.document = std::string(1000, '\0');
    for (char& c : *row.document) c = static_cast<char>(random());
    if (i % 10 != 0) row.vector.assign(100, static_cast<float>(i));
  }
  return rows;
}

TEST(RemoteSegment, ReadsLittleAndKnowsAllButVectors) {
  TestFolder folder;
  std::mt19937_64 random(1);
  const std::vector<Row> rows = ManyRows(random);
  const WrittenSegment written = WriteSegment(folder, 100, rows, {"gone"});
  Ranges ranges(written.path);
  const auto segment = Must(OpenRemote(written, &ranges));
  EXPECT_FALSE(segment->is_local());
  // The end, the header, and the vectors' places.
  EXPECT_LE(ranges.count, 3u);
  EXPECT_LT(ranges.bytes, written.info.bytes() / 20);
  EXPECT_EQ(segment->Find(HashOf("gone")), Segment::kDeleted);
  for (size_t i = 0; i < rows.size(); i += 100) {
    const uint64_t before = ranges.bytes;
    const uint32_t at = segment->Find(HashOf(rows[i].id)).value();
    EXPECT_EQ(segment->HasVector(at), !rows[i].vector.empty());
    Row expected = rows[i];
    expected.vector.clear();
    ExpectSameRow(Must(segment->ReadFields(at)), expected);
    // A block.
    EXPECT_LT(ranges.bytes - before, 20'000u);
  }
}

TEST(RemoteSegment, ReadsRowsInOrderInAsFewRangesAsItIsAllowed) {
  TestFolder folder;
  std::mt19937_64 random(4);
  std::vector<Row> rows = ManyRows(random);
  std::ranges::sort(rows, {}, [](const Row& row) { return HashOf(row.id); });
  for (Row& row : rows) row.vector.clear();
  for (const uint64_t ahead : {50'000u, 200'000u, 10'000'000u}) {
    // Each time another, none of whose blocks is in the cache.
    const WrittenSegment written = WriteSegment(folder, 0, rows);
    Ranges ranges(written.path);
    const auto segment = Must(OpenRemote(written, &ranges));
    const uint64_t opened = ranges.count;
    const uint64_t opened_bytes = ranges.bytes;
    Segment::Cursor cursor = segment->NewCursor(ahead);
    // Some more, and some less densely.
    for (uint32_t i = 0; i < rows.size(); i += i < 1000 ? 1 : 7) {
      ExpectSameRow(Must(cursor.ReadFields(i)), rows[i]);
    }
    const uint64_t section = segment->rows_bytes();
    EXPECT_LE(ranges.count - opened, section / ahead + 1);
    // Each begins where the one before ended, or a page of 4 KiB earlier at most.
    EXPECT_LE(ranges.bytes - opened_bytes, section + 8192 * (ranges.count - opened));
  }
}

TEST(RemoteSegment, SaysWhyRowsInOrderCouldNotBeRead) {
  TestFolder folder;
  std::mt19937_64 random(5);
  for (const absl::Status& failure :
       {absl::NotFoundError("gone"), absl::UnavailableError("away")}) {
    const WrittenSegment written = WriteSegment(folder, 100, ManyRows(random));
    Ranges ranges(written.path);
    ranges.failure = failure;
    const auto segment = Must(OpenRemote(written, &ranges));
    Segment::Cursor cursor = segment->NewCursor(100'000);
    EXPECT_TRUE(cursor.ReadFields(0).ok());
    ranges.fail_after = ranges.count;
    EXPECT_EQ(cursor.ReadFields(2'000).status().code(), failure.code());
  }
}

TEST(RemoteSegment, IsTheSameOnceItIsLocal) {
  TestFolder folder;
  std::mt19937_64 random(2);
  const std::vector<Row> rows = ManyRows(random);
  const WrittenSegment written = WriteSegment(folder, 100, rows);
  Ranges ranges(written.path);
  const auto segment = Must(OpenRemote(written, &ranges));
  segment->UseLocal(OpenSegment(written));
  EXPECT_TRUE(segment->is_local());
  const uint64_t before = ranges.count;
  for (const Row& row : rows) {
    ExpectSameRow(Must(segment->ReadRow(segment->Find(HashOf(row.id)).value())), row);
  }
  EXPECT_EQ(ranges.count, before);
  EXPECT_EQ(segment->vectors().size(), 2700u * 100);
}

TEST(RemoteSegment, LetsGoOfItsRangesOnceItIsLocalAndNobodyReadsThem) {
  TestFolder folder;
  std::mt19937_64 random(6);
  const std::vector<Row> rows = ManyRows(random);
  const WrittenSegment written = WriteSegment(folder, 100, rows);
  auto ranges = std::make_shared<Ranges>(written.path);
  const std::weak_ptr<Ranges> held = ranges;
  const auto segment = Must(Segment::OpenRemote(
      [ranges](uint64_t offset, uint64_t bytes) { return ranges->Read(offset, bytes); },
      written.info, "remote"));
  ranges.reset();
  std::optional<Segment::Cursor> cursor = segment->NewCursor(0);
  ASSERT_TRUE(cursor->ReadFields(0).ok());
  segment->UseLocal(OpenSegment(written));
  EXPECT_FALSE(held.expired());
  EXPECT_EQ(Must(cursor->ReadFields(2'000)).id, Must(segment->ReadFields(2'000)).id);
  cursor.reset();
  EXPECT_TRUE(held.expired());
  EXPECT_TRUE(segment->ReadFields(1'000).ok());
  EXPECT_TRUE(segment->NewCursor(0).ReadFields(1'000).ok());
}

TEST(RemoteSegment, IsReadByManyThreadsWhileItBecomesLocal) {
  TestFolder folder;
  std::vector<Row> rows;
  for (uint64_t i = 0; i < 2000; ++i) rows.push_back(MakeRow("id" + std::to_string(i), i + 1));
  const WrittenSegment written = WriteSegment(folder, 0, rows);
  for (int round = 0; round < 20; ++round) {
    std::mutex mutex;
    Ranges ranges(written.path);
    const auto segment = Must(Segment::OpenRemote(
        [&](uint64_t offset, uint64_t bytes) {
          const std::lock_guard lock(mutex);
          return ranges.Read(offset, bytes);
        },
        written.info, "remote"));
    std::vector<std::jthread> threads;
    for (uint32_t t = 0; t < 3; ++t) {
      threads.emplace_back([&, t](const std::stop_token& end) {
        std::mt19937 random(t);
        for (int i = 0; i < 20 || !end.stop_requested(); ++i) {
          const Row& row = rows[random() % rows.size()];
          ExpectSameRow(Must(segment->ReadFields(segment->Find(HashOf(row.id)).value())), row);
        }
      });
    }
    segment->UseLocal(OpenSegment(written));
  }
}

TEST(RemoteSegment, SaysWhyARangeCouldNotBeRead) {
  TestFolder folder;
  std::mt19937_64 random(3);
  for (const absl::Status& failure :
       {absl::NotFoundError("gone"), absl::UnavailableError("away")}) {
    const WrittenSegment written = WriteSegment(folder, 100, ManyRows(random));
    uint64_t opened_after = 0;
    for (uint64_t good = 0;; ++good) {
      Ranges ranges(written.path);
      ranges.fail_after = good;
      ranges.failure = failure;
      const auto segment = OpenRemote(written, &ranges);
      if (segment.ok()) {
        // The next is that of a row.
        EXPECT_EQ((*segment)->ReadFields(7).status().code(), failure.code());
        // Nothing is wrong with it for ever.
        ranges.fail_after = UINT64_MAX;
        EXPECT_TRUE((*segment)->ReadFields(7).ok());
        opened_after = good;
        break;
      }
      EXPECT_EQ(segment.status().code(), failure.code()) << segment.status();
    }
    EXPECT_GE(opened_after, 2u);
  }
}

TEST(Segment, CutShortAnywhereIsRefused) {
  TestFolder folder;
  WrittenSegment written = SmallSegment(folder);
  for (size_t size = written.info.bytes(); size-- > 0;) {
    std::filesystem::resize_file(written.path, size);
    written.info.set_bytes(size);
    ASSERT_EQ(ReasonOf(Segment::Open(written.path, written.info).status()), Reason::SEGMENT_CORRUPT)
        << size;
  }
}

}  // namespace
}  // namespace sluice

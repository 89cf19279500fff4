// What the tests of segments share: a folder of their own, rows, and comparison by value.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/segment/segment.h"

namespace sluice {

// Takes the value of a StatusOr; ends the test program with its error.
template <class T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) ADD_FAILURE() << value.status();
  return std::move(value).value();
}

// An empty folder, removed at the end.
class TestFolder {
 public:
  TestFolder() {
    std::string path = testing::TempDir() + "segment.XXXXXX";
    if (mkdtemp(path.data()) == nullptr) ADD_FAILURE() << "mkdtemp";
    path_ = path;
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  std::filesystem::path NewPath() { return path_ / std::to_string(++made_); }
  bool IsEmpty() const { return std::filesystem::is_empty(path_); }

 private:
  std::filesystem::path path_;
  int made_ = 0;
};

inline IdHash HashOf(std::string_view id) {
  static const IdHasher hasher("0123456789abcdef");
  return hasher(id);
}

inline Row MakeRow(std::string id, uint64_t seq_id, std::vector<float> vector = {}) {
  Row row;
  row.id = std::move(id);
  row.seq_id = SeqId(seq_id);
  row.document = "document " + std::to_string(seq_id) + " of " + row.id;
  row.vector = std::move(vector);
  return row;
}

inline void ExpectSameRow(const Row& a, const Row& b) {
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(a.seq_id, b.seq_id);
  EXPECT_EQ(a.document, b.document);
  EXPECT_EQ(a.uri, b.uri);
  EXPECT_EQ(a.pending_embedding, b.pending_embedding);
  ASSERT_EQ(a.metadata.size(), b.metadata.size());
  for (size_t i = 0; i < a.metadata.size(); ++i) {
    EXPECT_EQ(a.metadata[i].SerializeAsString(), b.metadata[i].SerializeAsString());
  }
  // Bit for bit: -0 and NaN too.
  ASSERT_EQ(a.vector.size(), b.vector.size());
  if (a.vector.empty()) return;
  EXPECT_EQ(std::memcmp(a.vector.data(), b.vector.data(), a.vector.size() * sizeof(float)), 0);
}

struct WrittenSegment {
  std::filesystem::path path;
  v1::SegmentInfo info;
};

inline WrittenSegment WriteSegment(TestFolder& folder, uint32_t dimension,
                                   const std::vector<Row>& rows,
                                   const std::vector<std::string>& deleted = {}) {
  WrittenSegment written{.path = folder.NewPath(), .info = {}};
  const auto writer = Must(SegmentWriter::Create(written.path, dimension));
  for (const Row& row : rows) EXPECT_TRUE(writer->Add(HashOf(row.id), row).ok());
  for (const std::string& id : deleted) EXPECT_TRUE(writer->AddDeleted(HashOf(id)).ok());
  written.info = Must(writer->Finish());
  return written;
}

inline std::shared_ptr<const Segment> OpenSegment(const WrittenSegment& written) {
  return Must(Segment::Open(written.path, written.info));
}

// How a segment's file is read where it lies, with what that took.
struct Ranges {
  explicit Ranges(std::filesystem::path of) : path(std::move(of)) {}

  absl::StatusOr<std::string> Read(uint64_t offset, uint64_t size) {
    ++count;
    bytes += size;
    if (count > fail_after) return failure;
    std::string range(size, '\0');
    std::ifstream(path, std::ios::binary)
        .seekg(static_cast<std::streamoff>(offset))
        .read(range.data(), static_cast<std::streamsize>(size));
    return range;
  }

  std::filesystem::path path;
  uint64_t count = 0;
  uint64_t bytes = 0;
  // Ranges from then on are answered with an error.
  uint64_t fail_after = UINT64_MAX;
  absl::Status failure;
};

// `ranges` outlives it.
inline absl::StatusOr<std::shared_ptr<const Segment>> OpenRemote(const WrittenSegment& written,
                                                                 Ranges* ranges) {
  return Segment::OpenRemote(
      [ranges](uint64_t offset, uint64_t bytes) { return ranges->Read(offset, bytes); },
      written.info, "remote");
}

inline std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void WriteFile(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace sluice

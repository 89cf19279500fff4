// The rows section of a segment: one RocksDB SST file inside the segment's file, from row number
// (big-endian, 4 bytes) to encoded row. RocksDB sees it through a file system of ours that knows
// this one file, so that the bytes may lie anywhere.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace sluice {

class Scratch;

// Writes rows 0, 1, 2, ... One thread.
class RowsWriter {
 public:
  // The section's bytes are appended to `*out`, which outlives the writer.
  static absl::StatusOr<std::unique_ptr<RowsWriter>> Create(Scratch* out);
  ~RowsWriter();

  absl::Status Add(std::string_view value);
  uint32_t rows() const { return rows_; }
  // Call it once, after at least one row.
  absl::Status Finish();

 private:
  struct Rep;
  explicit RowsWriter(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
  uint32_t rows_ = 0;
};

// Reads them, checking each block against its checksum. Thread-safe. Blocks are kept in one cache
// of 64 MiB for all segments of the process. Errors: SEGMENT_CORRUPT; of a section that is read by
// range also NOT_FOUND and UNAVAILABLE, as the range's.
class RowsReader {
 public:
  // Reads that many bytes of the section.
  using ReadRange = std::function<absl::StatusOr<std::string>(uint64_t offset, uint64_t bytes)>;

  // Rows in ascending order. One thread.
  class Cursor {
   public:
    ~Cursor();
    Cursor(Cursor&&) noexcept;
    // Valid until the next call. `row` must be greater than in the call before.
    absl::StatusOr<std::string_view> Read(uint32_t row);

   private:
    friend class RowsReader;
    struct Rep;
    explicit Cursor(std::unique_ptr<Rep> rep);
    std::unique_ptr<Rep> rep_;
  };

  // `section` outlives the reader and has at least one row; `object` names the segment in errors.
  static absl::StatusOr<std::unique_ptr<RowsReader>> Open(std::string_view section, uint64_t rows,
                                                          std::string object);
  // The same of a section of `bytes` that is not in memory.
  static absl::StatusOr<std::unique_ptr<RowsReader>> Open(ReadRange read, uint64_t bytes,
                                                          uint64_t rows, std::string object);
  ~RowsReader();

  absl::StatusOr<std::string> Read(uint32_t row) const;
  // The reader outlives the cursor, which leaves the cache alone: for merges.
  Cursor NewCursor() const;
  // One that uses the cache; of a section that is read by range, each range is so many bytes longer
  // than the block wanted.
  Cursor NewCursorAhead(uint64_t bytes) const;
  // Of the section.
  uint64_t bytes() const;
  const std::string& object() const;

 private:
  struct Rep;
  explicit RowsReader(std::unique_ptr<Rep> rep);
  static absl::StatusOr<std::unique_ptr<RowsReader>> Open(std::unique_ptr<Rep> rep, uint64_t rows);
  std::unique_ptr<Rep> rep_;
};

}  // namespace sluice

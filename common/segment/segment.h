// One immutable segment: an id index (hash of id -> row, or deleted), vectors, and rows. README.md has the file format.
//
// Segment: opened from a file, checked once (size and checksum of the index against its footer), then read-only and thread-safe; the file
// may be unlinked while it is open. SegmentWriter: one thread; until Finish returns OK there is nothing at `path` that Open accepts.
// Errors: SEGMENT_CORRUPT (DATA_LOSS) naming the object; UNAVAILABLE for I/O.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/record/fold.h"
#include "common/segment/id_hash.h"
#include "sluice/v1/segment.pb.h"

namespace sluice {

// "<collection>/<incarnation>/<token>/<number>".
std::string SegmentObjectName(const CollectionId& collection, Incarnation incarnation, uint64_t token, uint64_t number);

class SegmentWriter {
 public:
  // `dimension` 0: no row may have a vector. Scratch files are made beside `path`.
  static absl::StatusOr<std::unique_ptr<SegmentWriter>> Create(std::filesystem::path path, uint32_t dimension);
  virtual ~SegmentWriter() = default;

  // In any order; an id at most once.
  virtual absl::Status Add(const IdHash& id, const Row& row) = 0;
  virtual absl::Status AddDeleted(const IdHash& id) = 0;
  virtual uint64_t entries() const = 0;

  // Writes and syncs the file. Fills entries, rows, vectors, bytes and crc32c; the caller adds token, number and SeqIds.
  virtual absl::StatusOr<v1::SegmentInfo> Finish() = 0;
};

class Segment {
 public:
  static constexpr uint32_t kDeleted = UINT32_MAX;

  struct Entry {
    IdHash id;
    // kDeleted: this segment says that the id does not exist.
    uint32_t row;
  };

  static absl::StatusOr<std::shared_ptr<const Segment>> Open(const std::filesystem::path& path, const v1::SegmentInfo& info);
  virtual ~Segment() = default;

  virtual const v1::SegmentInfo& info() const = 0;
  // Sorted by id.
  virtual std::span<const Entry> entries() const = 0;
  // nullopt: this segment does not speak of the id.
  virtual std::optional<uint32_t> Find(const IdHash& id) const = 0;
  // Rows are 0 .. info().rows - 1, in order of id hash. The vector of a row: empty if it has none. Points into the mapping.
  virtual std::span<const float> Vector(uint32_t row) const = 0;
  // The whole row, its vector included.
  virtual absl::StatusOr<Row> ReadRow(uint32_t row) const = 0;
};

}  // namespace sluice

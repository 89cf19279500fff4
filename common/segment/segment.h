// One immutable segment: an id index (hash of id -> row, or deleted), vectors, and rows. README.md
// has the file format.
//
// Segment: opened from a file, checked (sizes; checksums of everything but the rows, whose blocks
// are checked as they are read), then read-only and thread-safe; the file may be unlinked while it
// is open. Or opened remotely, where it lies in a store far away: then it knows its ids, and which
// rows have vectors, and reads rows by range; vectors and graph are there once it was given the
// same segment opened from a file (UseLocal). SegmentWriter: one thread; until Finish returns OK
// there is nothing at `path` that Open accepts, and if it never does, the file is removed; after an
// error of I/O it is only good to be destroyed.
//
// Errors: SEGMENT_CORRUPT (DATA_LOSS) naming the object; NOT_FOUND if it is not there; UNAVAILABLE
// for I/O (the message has path and errno); FAILED_PRECONDITION for a file of a newer format. A row
// of a remote segment may also turn out to be NOT_FOUND (the object was deleted) or UNAVAILABLE.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/base/mutex.h"
#include "common/record/fold.h"
#include "common/segment/graph.h"
#include "common/segment/id_hash.h"
#include "common/segment/rows.h"
#include "sluice/v1/segment.pb.h"

namespace sluice {

class MappedFile;

// "<collection>/<incarnation, 16 hex digits>/<token>/<number>".
std::string SegmentObjectName(const CollectionId& collection, Incarnation incarnation,
                              uint64_t token, uint64_t number);
// Of a segment that a log lists. `log`: the log's incarnation; after a restore, segments from
// before say another one.
std::string SegmentObjectName(const CollectionId& collection, Incarnation log,
                              const v1::SegmentInfo& info);

class SegmentWriter {
 public:
  // `dimension` 0: no row may have a vector. Scratch files are made beside `path`.
  static absl::StatusOr<std::unique_ptr<SegmentWriter>> Create(std::filesystem::path path,
                                                               uint32_t dimension);
  ~SegmentWriter();

  // In any order; an id at most once. INVALID_ARGUMENT for a vector of another dimension. Rows are
  // held in memory up to 32 MiB, beyond that in a scratch file.
  absl::Status Add(const IdHash& id, const Row& row);
  absl::Status AddDeleted(const IdHash& id);
  uint64_t entries() const;

  // Writes and syncs the file. Fills entries, rows, vectors, bytes and crc32c; the caller adds
  // token, number and SeqIds. Call it once; nothing may be added afterwards. INVALID_ARGUMENT if an
  // id came twice.
  absl::StatusOr<v1::SegmentInfo> Finish();

 private:
  struct Rep;
  explicit SegmentWriter(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

class Segment {
 public:
  static constexpr uint32_t kDeleted = UINT32_MAX;

  // As it lies in the file.
  struct Entry {
    IdHash id;
    // kDeleted: this segment says that the id does not exist.
    uint32_t row = kDeleted;
    uint32_t reserved = 0;
  };

  // `info`: as SegmentWriter or MergeSegments made it; the file must agree.
  static absl::StatusOr<std::shared_ptr<const Segment>> Open(const std::filesystem::path& path,
                                                             const v1::SegmentInfo& info);
  // Reads that many bytes of a segment's file: NOT_FOUND, UNAVAILABLE, SEGMENT_CORRUPT.
  using ReadRange = std::function<absl::StatusOr<std::string>(uint64_t offset, uint64_t bytes)>;
  // Reads footer, index and what leads to the rows, in two to five ranges; `read` is thread-safe,
  // and kept. Vectors and graph are not read, and so not checked. `object` names it in errors.
  static absl::StatusOr<std::shared_ptr<const Segment>> OpenRemote(ReadRange read,
                                                                   const v1::SegmentInfo& info,
                                                                   std::string object);
  ~Segment();

  // Whether vectors and graph are at hand. Once true, it stays so.
  bool is_local() const { return local() != nullptr; }
  // Of a remote one: reads from `local` from now on, which is the same segment. Frees what rows
  // were read by until then, once nobody is at it.
  void UseLocal(std::shared_ptr<const Segment> local) const EXCLUDES(mutex_);

  const v1::SegmentInfo& info() const { return info_; }
  // Of the vectors; 0: there are none.
  uint32_t dimension() const { return dimension_; }
  // Sorted by id.
  std::span<const Entry> entries() const { return entries_; }
  // nullopt: this segment does not speak of the id.
  std::optional<uint32_t> Find(const IdHash& id) const;
  // Rows are 0 .. info().rows - 1, in order of id hash.
  bool HasVector(uint32_t row) const;
  // Without its vector.
  absl::StatusOr<Row> ReadFields(uint32_t row) const;
  // The same of rows in ascending order. One thread; the segment outlives it.
  class Cursor {
   public:
    absl::StatusOr<Row> ReadFields(uint32_t row);

   private:
    friend class Segment;
    Cursor(std::shared_ptr<const RowsReader> rows, uint64_t ahead)
        : rows_(std::move(rows)), cursor_(rows_->NewCursorAhead(ahead)) {}

    // Which may be of no use to others any more.
    std::shared_ptr<const RowsReader> rows_;
    RowsReader::Cursor cursor_;
  };
  // Only if there are rows. If they are remote, each request is `ahead` bytes longer than it must
  // be.
  Cursor NewCursor(uint64_t ahead) const;
  // Of the rows as they lie in the file.
  uint64_t rows_bytes() const { return rows_bytes_; }

  // Rows as they are encoded, where they lie now; nullptr if there are none.
  std::shared_ptr<const RowsReader> rows_reader() const EXCLUDES(mutex_);

  // The rest only if is_local(); where there are no vectors, Vector and ReadRow in any case.

  // Of a row: empty if it has none. Points into the mapping.
  std::span<const float> Vector(uint32_t row) const;
  // Over `vectors`, by their numbers there; nullptr: there is none.
  const Graph* graph() const;
  std::span<const float> vectors() const;
  // Whose vector it is. Only if there is a graph.
  const Entry& EntryOfVector(uint32_t vector) const;
  // The same, for less where each row has one.
  uint32_t RowOfVector(uint32_t vector) const {
    return slots_.empty() ? vector : EntryOfVector(vector).row;
  }
  // The whole row, its vector included.
  absl::StatusOr<Row> ReadRow(uint32_t row) const;

 private:
  // What a remote one keeps of its file.
  struct Remote;

  Segment();
  const Segment* local() const { return local_now_.load(std::memory_order_acquire); }
  absl::Status ReadRemote(ReadRange read, std::string object) EXCLUDES(mutex_);

  v1::SegmentInfo info_;
  // One of these.
  std::unique_ptr<MappedFile> file_;
  std::unique_ptr<Remote> remote_;
  // Of its file; nullptr: there are none.
  std::shared_ptr<const RowsReader> rows_;
  uint64_t rows_bytes_ = 0;
  uint32_t dimension_ = 0;
  std::span<const Entry> entries_;
  // Where each row's vector is; empty: row i has vector i, or there are no vectors.
  std::span<const uint32_t> slots_;
  std::span<const float> vectors_;
  std::optional<Graph> graph_;
  // The entry of each vector of the graph; empty: entry i has vector i.
  std::vector<uint32_t> entries_of_vectors_;

  // Whose vectors and graph are used: its own, or those of local_; nullptr: there are none yet.
  mutable std::atomic<const Segment*> local_now_ = nullptr;
  mutable Mutex mutex_;
  mutable std::shared_ptr<const Segment> local_ GUARDED_BY(mutex_);
  // By range, until there is local_.
  mutable std::shared_ptr<const RowsReader> remote_rows_ GUARDED_BY(mutex_);
};

}  // namespace sluice

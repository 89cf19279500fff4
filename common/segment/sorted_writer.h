// Writes a segment file from entries that come in order of id, without keeping rows or vectors in
// memory.
//
// One thread. Until Finish returns OK there is nothing at the path that Segment::Open accepts, and
// if it never does, the file is removed. Memory: 28 bytes an entry, and a few MiB. Errors:
// INVALID_ARGUMENT for an entry that breaks a rule; UNAVAILABLE for I/O.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/segment/files.h"
#include "common/segment/format.h"
#include "common/segment/graph.h"
#include "common/segment/rows.h"
#include "common/segment/segment.h"

namespace sluice {

class SortedSegmentWriter {
 public:
  static absl::StatusOr<std::unique_ptr<SortedSegmentWriter>> Create(
      const std::filesystem::path& path, uint32_t dimension);

  // `id` is greater than all before. `encoded_row`: by EncodeRow. `vector`: of the dimension, or
  // empty.
  absl::Status AddRow(const IdHash& id, std::string_view encoded_row,
                      std::span<const float> vector);
  absl::Status AddDeleted(const IdHash& id);
  uint64_t entries() const { return index_.size(); }

  // Before Finish, if at all: considers a graph over the vectors. `proceed` as in BuildGraph.
  absl::Status AddGraph(const GraphPolicy& policy, absl::FunctionRef<absl::Status()> proceed);

  // Call it once. Fills entries, rows, vectors, bytes and crc32c.
  absl::StatusOr<v1::SegmentInfo> Finish();

 private:
  SortedSegmentWriter(std::unique_ptr<OutputFile> file, const std::filesystem::path& path,
                      uint32_t dimension);
  absl::Status AddEntry(const IdHash& id, uint32_t row);
  absl::Status AppendSection(SectionKind kind, std::string_view bytes);
  absl::Status AppendRows();

  const std::unique_ptr<OutputFile> file_;
  const uint32_t dimension_;
  // The rows section, since the vectors go to the file meanwhile.
  Scratch rows_section_;
  // Null until the first row.
  std::unique_ptr<RowsWriter> rows_;
  std::vector<Segment::Entry> index_;
  std::vector<uint32_t> slots_;
  uint32_t vectors_ = 0;
  uint32_t vectors_crc32c_ = 0;
  // Empty: none.
  std::string graph_;
  Footer footer_;
};

}  // namespace sluice

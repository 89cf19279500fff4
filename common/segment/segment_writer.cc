// SegmentWriter: keeps what was added, encoded, until Finish; then sorts it by id and writes it.
#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "common/segment/files.h"
#include "common/segment/format.h"
#include "common/segment/segment.h"
#include "common/segment/sorted_writer.h"

namespace sluice {
namespace {

constexpr size_t kMemoryBytes = 32 << 20;

}  // namespace

struct SegmentWriter::Rep {
  struct Pending {
    IdHash id;
    bool deleted = false;
    // Of the encoded row in `rows`, which its vector follows.
    uint64_t offset = 0;
    size_t row_bytes = 0;
    size_t vector_bytes = 0;
  };

  Rep(const std::filesystem::path& path, uint32_t dim)
      : dimension(dim), rows(path.string() + ".unsorted", kMemoryBytes) {}

  const uint32_t dimension;
  std::unique_ptr<SortedSegmentWriter> sorted;
  std::vector<Pending> pending;
  Scratch rows;
};

SegmentWriter::SegmentWriter(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
SegmentWriter::~SegmentWriter() = default;

absl::StatusOr<std::unique_ptr<SegmentWriter>> SegmentWriter::Create(std::filesystem::path path,
                                                                     uint32_t dimension) {
  auto rep = std::make_unique<Rep>(path, dimension);
  SLUICE_ASSIGN_OR_RETURN(rep->sorted, SortedSegmentWriter::Create(path, dimension));
  return std::unique_ptr<SegmentWriter>(new SegmentWriter(std::move(rep)));
}

absl::Status SegmentWriter::Add(const IdHash& id, const Row& row) {
  if (!row.vector.empty() && row.vector.size() != rep_->dimension) {
    return absl::InvalidArgumentError(absl::StrCat("a vector of ", row.vector.size(),
                                                   " components in a segment of dimension ",
                                                   rep_->dimension));
  }
  const std::string encoded = EncodeRow(row);
  const std::string_view vector(reinterpret_cast<const char*>(row.vector.data()),
                                row.vector.size() * sizeof(float));
  rep_->pending.push_back({.id = id,
                           .deleted = false,
                           .offset = rep_->rows.size(),
                           .row_bytes = encoded.size(),
                           .vector_bytes = vector.size()});
  SLUICE_RETURN_IF_ERROR(rep_->rows.Append(encoded));
  return rep_->rows.Append(vector);
}

absl::Status SegmentWriter::AddDeleted(const IdHash& id) {
  rep_->pending.push_back({.id = id, .deleted = true});
  return absl::OkStatus();
}

uint64_t SegmentWriter::entries() const { return rep_->pending.size(); }

absl::StatusOr<v1::SegmentInfo> SegmentWriter::Finish() {
  std::ranges::sort(rep_->pending, {}, &Rep::Pending::id);
  std::string bytes;
  std::vector<float> vector;
  for (const Rep::Pending& p : rep_->pending) {
    if (p.deleted) {
      SLUICE_RETURN_IF_ERROR(rep_->sorted->AddDeleted(p.id));
      continue;
    }
    SLUICE_RETURN_IF_ERROR(rep_->rows.Read(p.offset, p.row_bytes + p.vector_bytes, &bytes));
    vector.resize(p.vector_bytes / sizeof(float));
    if (!vector.empty()) std::memcpy(vector.data(), bytes.data() + p.row_bytes, p.vector_bytes);
    SLUICE_RETURN_IF_ERROR(
        rep_->sorted->AddRow(p.id, std::string_view(bytes).substr(0, p.row_bytes), vector));
  }
  return rep_->sorted->Finish();
}

}  // namespace sluice

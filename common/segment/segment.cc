#include "common/segment/segment.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/check.h"
#include "common/errors/errors.h"
#include "common/segment/files.h"
#include "common/segment/format.h"
#include "common/segment/rows.h"

namespace sluice {
namespace {

static_assert(sizeof(Segment::Entry) == 24, "the index section is read in place");

template <class T>
std::span<const T> SpanOf(std::string_view bytes) {
  return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
}

template <class T>
bool IsArrayOf(std::string_view bytes, uint64_t count) {
  return bytes.size() % sizeof(T) == 0 && bytes.size() / sizeof(T) == count &&
         reinterpret_cast<uintptr_t>(bytes.data()) % alignof(T) == 0;
}

// Ids ascend, and rows are numbered as they come.
bool IsIndex(std::span<const Segment::Entry> entries, uint64_t rows) {
  uint64_t row = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i > 0 && entries[i - 1].id >= entries[i].id) return false;
    if (entries[i].row != Segment::kDeleted && entries[i].row != row++) return false;
  }
  return row == rows;
}

// Vectors are numbered as they come.
bool IsSlots(std::span<const uint32_t> slots, uint64_t vectors) {
  uint64_t slot = 0;
  for (const uint32_t s : slots) {
    if (s != kNoSlot && s != slot++) return false;
  }
  return slot == vectors;
}

bool Agrees(const Footer& footer, const v1::SegmentInfo& info) {
  return footer.entries == info.entries() && footer.rows == info.rows() &&
         footer.vectors == info.vectors() && footer.rows <= footer.entries &&
         footer.vectors <= footer.rows;
}

}  // namespace

std::string SegmentObjectName(const CollectionId& collection, Incarnation incarnation,
                              uint64_t token, uint64_t number) {
  return absl::StrFormat("%s/%016x/%d/%d", collection.ToString(), incarnation.value, token, number);
}

std::string SegmentObjectName(const CollectionId& collection, Incarnation log,
                              const v1::SegmentInfo& info) {
  return SegmentObjectName(collection, info.incarnation() ? Incarnation(info.incarnation()) : log,
                           info.token(), info.number());
}

Segment::Segment() = default;
Segment::~Segment() = default;

absl::StatusOr<std::shared_ptr<const Segment>> Segment::Open(const std::filesystem::path& path,
                                                             const v1::SegmentInfo& info) {
  const std::string object = path.string();
  std::shared_ptr<Segment> segment(new Segment);
  SLUICE_ASSIGN_OR_RETURN(segment->file_, MappedFile::Open(path));
  const std::string_view file = segment->file_->bytes();
  if (file.size() != info.bytes()) {
    return SegmentCorrupt(object, absl::StrCat(file.size(), " bytes instead of ", info.bytes()));
  }
  SLUICE_ASSIGN_OR_RETURN(const Layout layout, ReadLayout(file, object));
  if (!Agrees(layout.footer, info)) return SegmentCorrupt(object, "not the segment listed");
  segment->info_ = info;
  segment->dimension_ = layout.dimension;

  const std::string_view vectors = layout.Bytes(SectionKind::kVectors, file);
  if (!IsArrayOf<float>(vectors, info.vectors() * layout.dimension)) {
    return SegmentCorrupt(object, "the vectors' size is wrong");
  }
  segment->vectors_ = SpanOf<float>(vectors);
  if (info.vectors() > 0 && info.vectors() < info.rows()) {
    const std::string_view slots = layout.Bytes(SectionKind::kSlots, file);
    if (!IsArrayOf<uint32_t>(slots, info.rows()) ||
        !IsSlots(SpanOf<uint32_t>(slots), info.vectors())) {
      return SegmentCorrupt(object, "the vectors' places are wrong");
    }
    segment->slots_ = SpanOf<uint32_t>(slots);
  }
  if (layout.footer.Find(SectionKind::kGraph) != nullptr) {
    segment->graph_ = Graph::Parse(layout.Bytes(SectionKind::kGraph, file), info.vectors());
    if (!segment->graph_) return SegmentCorrupt(object, "the graph of vectors is wrong");
  }
  const std::string_view index = layout.Bytes(SectionKind::kIndex, file);
  if (!IsArrayOf<Entry>(index, info.entries()) || !IsIndex(SpanOf<Entry>(index), info.rows())) {
    return SegmentCorrupt(object, "the id index is wrong");
  }
  segment->entries_ = SpanOf<Entry>(index);
  if (segment->graph_ && info.vectors() < info.entries()) {
    for (uint32_t i = 0; i < info.entries(); ++i) {
      const uint32_t row = segment->entries_[i].row;
      if (row == kDeleted || segment->Vector(row).empty()) continue;
      segment->entries_of_vectors_.push_back(i);
    }
  }
  if (info.rows() > 0) {
    SLUICE_ASSIGN_OR_RETURN(segment->rows_, RowsReader::Open(layout.Bytes(SectionKind::kRows, file),
                                                             info.rows(), object));
  }
  return segment;
}

std::optional<uint32_t> Segment::Find(const IdHash& id) const {
  // Hashes are uniform, so an entry lies near its share of the index: the search widens from there,
  // and touches few pages.
  const size_t n = entries_.size();
  const auto guess = static_cast<size_t>((id.high >> 32) * n >> 32);
  size_t begin = guess;
  for (size_t step = 8; begin > 0 && entries_[begin].id > id; step *= 2) {
    begin -= std::min(begin, step);
  }
  size_t end = guess;
  for (size_t step = 8; end < n && entries_[end].id < id; step *= 2) {
    end += std::min(n - end, step);
  }
  const auto found =
      std::lower_bound(entries_.begin() + begin, entries_.begin() + end, id,
                       [](const Entry& entry, const IdHash& key) { return entry.id < key; });
  if (found == entries_.end() || found->id != id) return std::nullopt;
  return found->row;
}

std::span<const float> Segment::Vector(uint32_t row) const {
  SLUICE_CHECK(row < info_.rows());
  if (vectors_.empty()) return {};
  const uint32_t slot = slots_.empty() ? row : slots_[row];
  if (slot == kNoSlot) return {};
  return vectors_.subspan(size_t{slot} * dimension_, dimension_);
}

const Segment::Entry& Segment::EntryOfVector(uint32_t vector) const {
  SLUICE_CHECK(graph_.has_value() && vector < info_.vectors());
  return entries_[entries_of_vectors_.empty() ? vector : entries_of_vectors_[vector]];
}

absl::StatusOr<Row> Segment::ReadRow(uint32_t row) const {
  SLUICE_CHECK(row < info_.rows());
  SLUICE_ASSIGN_OR_RETURN(const std::string value, rows_->Read(row));
  Row result;
  if (!DecodeRow(value, &result)) {
    return SegmentCorrupt(rows_->object(), absl::StrCat("row ", row, ": unknown encoding"));
  }
  const std::span<const float> vector = Vector(row);
  result.vector.assign(vector.begin(), vector.end());
  return result;
}

}  // namespace sluice

#include "common/segment/segment.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/check.h"
#include "common/errors/errors.h"
#include "common/segment/files.h"
#include "common/segment/format.h"
#include "common/segment/remote_file.h"
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

// Of a remote segment, read at once with the index: the footer, and the end of the rows.
constexpr uint64_t kRemoteEndBytes = 64 << 10;
// Of the rows section, for each byte of RocksDB's index in it, if blocks are compressed to a
// quarter.
constexpr uint64_t kRowsPerIndexByte = 128;

template <class T>
std::vector<T> Copied(std::string_view bytes) {
  std::vector<T> copy(bytes.size() / sizeof(T));
  if (!copy.empty()) std::memcpy(copy.data(), bytes.data(), copy.size() * sizeof(T));
  return copy;
}

// The section, which must have that length, once its checksum was compared; in `*storage`, if no
// piece that is held has it.
absl::StatusOr<std::string_view> ReadSection(const RemoteFile& file, const Footer& footer,
                                             SectionKind kind, uint64_t length,
                                             const std::string& object, std::string* storage) {
  const Section* const section = footer.Find(kind);
  if (section == nullptr || section->length != length) {
    return SegmentCorrupt(object, absl::StrCat("section ", static_cast<uint32_t>(kind),
                                               " is missing, or its length is wrong"));
  }
  SLUICE_ASSIGN_OR_RETURN(const std::string_view bytes,
                          file.View(section->offset, section->length, storage));
  SLUICE_RETURN_IF_ERROR(CheckSection(*section, bytes, object));
  return bytes;
}

absl::StatusOr<Row> Decoded(std::string_view value, uint32_t row, const RowsReader& rows) {
  Row result;
  if (DecodeRow(value, &result)) return result;
  return SegmentCorrupt(rows.object(), absl::StrCat("row ", row, ": unknown encoding"));
}

absl::StatusOr<std::unique_ptr<RowsReader>> OpenRows(const std::shared_ptr<RemoteFile>& file,
                                                     const Footer& footer, uint64_t rows,
                                                     std::string object) {
  const Section* const section = footer.Find(SectionKind::kRows);
  if (section == nullptr) return SegmentCorrupt(object, "there are no rows");
  // RocksDB's index of blocks lies before what is checked here; about a block in 4 KiB.
  const uint64_t end = section->offset + section->length;
  const uint64_t tail =
      std::min(section->length, 2 * kRowsTailBytes + section->length / kRowsPerIndexByte);
  SLUICE_RETURN_IF_ERROR(file->Hold(end - tail, tail));
  const uint64_t covered = std::min<uint64_t>(section->length, kRowsTailBytes);
  SLUICE_ASSIGN_OR_RETURN(const std::string last, file->Read(end - covered, covered));
  SLUICE_RETURN_IF_ERROR(CheckSection(*section, last, object));
  const auto read = [file, begin = section->offset](uint64_t offset, uint64_t bytes) {
    return file->Read(begin + offset, bytes);
  };
  return RowsReader::Open(read, section->length, rows, std::move(object));
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

struct Segment::Remote {
  std::vector<Entry> entries;
  std::vector<uint32_t> slots;
};

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
      if (row == kDeleted || !segment->HasVector(row)) continue;
      segment->entries_of_vectors_.push_back(i);
    }
  }
  if (info.rows() > 0) {
    SLUICE_ASSIGN_OR_RETURN(segment->rows_, RowsReader::Open(layout.Bytes(SectionKind::kRows, file),
                                                             info.rows(), object));
    segment->rows_bytes_ = segment->rows_->bytes();
  }
  segment->local_now_ = segment.get();
  return segment;
}

absl::StatusOr<std::shared_ptr<const Segment>> Segment::OpenRemote(ReadRange read,
                                                                   const v1::SegmentInfo& info,
                                                                   std::string object) {
  std::shared_ptr<Segment> segment(new Segment);
  segment->info_ = info;
  segment->remote_ = std::make_unique<Remote>();
  SLUICE_RETURN_IF_ERROR(segment->ReadRemote(std::move(read), std::move(object)));
  return segment;
}

absl::Status Segment::ReadRemote(ReadRange read, std::string object) {
  const auto held = std::make_shared<RemoteFile>(std::move(read), info_.bytes());
  RemoteFile& file = *held;
  // Footer and index, and the end of the rows, if no graph lies between.
  const uint64_t wanted = info_.entries() * sizeof(Entry) + kRemoteEndBytes;
  const uint64_t end = std::min(info_.bytes(), wanted);
  SLUICE_RETURN_IF_ERROR(file.Hold(info_.bytes() - end, end));
  std::string storage;
  SLUICE_ASSIGN_OR_RETURN(const std::string_view last,
                          file.View(info_.bytes() - end, end, &storage));
  SLUICE_ASSIGN_OR_RETURN(const Footer footer, ReadFooter(last, info_.bytes(), object));
  if (!Agrees(footer, info_)) return SegmentCorrupt(object, "not the segment listed");

  SLUICE_ASSIGN_OR_RETURN(std::string_view bytes, ReadSection(file, footer, SectionKind::kHeader,
                                                              kHeaderBytes, object, &storage));
  SLUICE_ASSIGN_OR_RETURN(dimension_, ReadHeader(bytes, object));
  SLUICE_ASSIGN_OR_RETURN(bytes, ReadSection(file, footer, SectionKind::kIndex,
                                             info_.entries() * sizeof(Entry), object, &storage));
  remote_->entries = Copied<Entry>(bytes);
  entries_ = remote_->entries;
  if (!IsIndex(entries_, info_.rows())) return SegmentCorrupt(object, "the id index is wrong");
  if (info_.vectors() > 0 && info_.vectors() < info_.rows()) {
    SLUICE_ASSIGN_OR_RETURN(bytes, ReadSection(file, footer, SectionKind::kSlots,
                                               info_.rows() * sizeof(uint32_t), object, &storage));
    remote_->slots = Copied<uint32_t>(bytes);
    slots_ = remote_->slots;
    if (!IsSlots(slots_, info_.vectors())) {
      return SegmentCorrupt(object, "the vectors' places are wrong");
    }
  }
  if (info_.rows() > 0) {
    SLUICE_ASSIGN_OR_RETURN(std::shared_ptr<const RowsReader> rows,
                            OpenRows(held, footer, info_.rows(), std::move(object)));
    rows_bytes_ = rows->bytes();
    const MutexLock lock(mutex_);
    remote_rows_ = std::move(rows);
  }
  file.LetGo();
  return absl::OkStatus();
}

void Segment::UseLocal(std::shared_ptr<const Segment> local) const {
  SLUICE_CHECK(local->file_ != nullptr && local->info_.bytes() == info_.bytes() &&
               local->info_.entries() == info_.entries());
  // Freed once the lock is let go.
  std::shared_ptr<const RowsReader> unused;
  const MutexLock lock(mutex_);
  if (is_local()) return;
  local_ = std::move(local);
  local_now_.store(local_.get(), std::memory_order_release);
  unused = std::move(remote_rows_);
}

std::shared_ptr<const RowsReader> Segment::rows_reader() const {
  if (const Segment* const at = local()) return at->rows_;
  const MutexLock lock(mutex_);
  return is_local() ? local_->rows_ : remote_rows_;
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

bool Segment::HasVector(uint32_t row) const {
  SLUICE_CHECK(row < info_.rows());
  return slots_.empty() ? info_.vectors() > 0 : slots_[row] != kNoSlot;
}

std::span<const float> Segment::Vector(uint32_t row) const {
  if (!HasVector(row)) return {};
  const uint32_t slot = slots_.empty() ? row : slots_[row];
  return vectors().subspan(size_t{slot} * dimension_, dimension_);
}

const Graph* Segment::graph() const {
  SLUICE_CHECK(is_local());
  const std::optional<Graph>& graph = local()->graph_;
  return graph ? &*graph : nullptr;
}

std::span<const float> Segment::vectors() const {
  SLUICE_CHECK(is_local());
  return local()->vectors_;
}

const Segment::Entry& Segment::EntryOfVector(uint32_t vector) const {
  SLUICE_CHECK(graph() != nullptr && vector < info_.vectors());
  const std::vector<uint32_t>& entries = local()->entries_of_vectors_;
  return entries_[entries.empty() ? vector : entries[vector]];
}

absl::StatusOr<Row> Segment::ReadFields(uint32_t row) const {
  SLUICE_CHECK(row < info_.rows());
  const std::shared_ptr<const RowsReader> rows = rows_reader();
  SLUICE_ASSIGN_OR_RETURN(const std::string value, rows->Read(row));
  return Decoded(value, row, *rows);
}

Segment::Cursor Segment::NewCursor(uint64_t ahead) const {
  SLUICE_CHECK(info_.rows() > 0);
  return {rows_reader(), ahead};
}

absl::StatusOr<Row> Segment::Cursor::ReadFields(uint32_t row) {
  SLUICE_ASSIGN_OR_RETURN(const std::string_view value, cursor_.Read(row));
  return Decoded(value, row, *rows_);
}

absl::StatusOr<Row> Segment::ReadRow(uint32_t row) const {
  SLUICE_ASSIGN_OR_RETURN(Row result, ReadFields(row));
  const std::span<const float> vector = Vector(row);
  result.vector.assign(vector.begin(), vector.end());
  return result;
}

}  // namespace sluice

#include "common/segment/sorted_writer.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/crc32c.h"
#include "common/errors/errors.h"

namespace sluice {
namespace {

constexpr size_t kScratchMemoryBytes = 8 << 20;
constexpr size_t kCopyBytes = 256 << 10;

template <class T>
std::string_view BytesOf(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

}  // namespace

absl::StatusOr<std::unique_ptr<SortedSegmentWriter>> SortedSegmentWriter::Create(
    const std::filesystem::path& path, uint32_t dimension) {
  SLUICE_ASSIGN_OR_RETURN(auto file, OutputFile::Create(path));
  std::unique_ptr<SortedSegmentWriter> writer(
      new SortedSegmentWriter(std::move(file), path, dimension));
  SLUICE_RETURN_IF_ERROR(writer->AppendSection(SectionKind::kHeader, EncodeHeader(dimension)));
  return writer;
}

SortedSegmentWriter::SortedSegmentWriter(std::unique_ptr<OutputFile> file,
                                         const std::filesystem::path& path, uint32_t dimension)
    : file_(std::move(file)),
      dimension_(dimension),
      rows_section_(path.string() + ".rows", kScratchMemoryBytes) {}

absl::Status SortedSegmentWriter::AddRow(const IdHash& id, std::string_view encoded_row,
                                         std::span<const float> vector) {
  if (!vector.empty() && vector.size() != dimension_) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a vector of ", vector.size(), " components in a segment of dimension ", dimension_));
  }
  if (rows_ == nullptr) {
    SLUICE_ASSIGN_OR_RETURN(rows_, RowsWriter::Create(&rows_section_));
  }
  SLUICE_RETURN_IF_ERROR(AddEntry(id, rows_->rows()));
  SLUICE_RETURN_IF_ERROR(rows_->Add(encoded_row));
  slots_.push_back(vector.empty() ? kNoSlot : vectors_);
  if (vector.empty()) return absl::OkStatus();
  ++vectors_;
  vectors_crc32c_ = Crc32c(BytesOf(vector), vectors_crc32c_);
  return file_->Append(BytesOf(vector));
}

absl::Status SortedSegmentWriter::AddDeleted(const IdHash& id) {
  return AddEntry(id, Segment::kDeleted);
}

absl::Status SortedSegmentWriter::AddEntry(const IdHash& id, uint32_t row) {
  if (!index_.empty() && index_.back().id >= id) {
    return absl::InvalidArgumentError("an id twice in a segment, or out of order");
  }
  if (index_.size() == Segment::kDeleted) {
    return absl::InvalidArgumentError("too many entries in a segment");
  }
  index_.push_back({.id = id, .row = row});
  return absl::OkStatus();
}

absl::Status SortedSegmentWriter::AppendSection(SectionKind kind, std::string_view bytes) {
  footer_.sections.push_back({.kind = kind,
                              .crc32c = SectionCrc(kind, bytes),
                              .offset = file_->size(),
                              .length = bytes.size()});
  return file_->Append(bytes);
}

absl::Status SortedSegmentWriter::AppendRows() {
  SLUICE_RETURN_IF_ERROR(rows_->Finish());
  Section section{.kind = SectionKind::kRows,
                  .crc32c = 0,
                  .offset = file_->size(),
                  .length = rows_section_.size()};
  std::string bytes;
  for (uint64_t done = 0; done < section.length; done += bytes.size()) {
    SLUICE_RETURN_IF_ERROR(
        rows_section_.Read(done, std::min<uint64_t>(kCopyBytes, section.length - done), &bytes));
    SLUICE_RETURN_IF_ERROR(file_->Append(bytes));
  }
  const uint64_t tail = std::min<uint64_t>(kRowsTailBytes, section.length);
  SLUICE_RETURN_IF_ERROR(rows_section_.Read(section.length - tail, tail, &bytes));
  section.crc32c = SectionCrc(SectionKind::kRows, bytes);
  footer_.sections.push_back(section);
  return absl::OkStatus();
}

absl::Status SortedSegmentWriter::AddGraph(const GraphPolicy& policy,
                                           absl::FunctionRef<absl::Status()> proceed) {
  const bool wanted =
      policy.from_vectors ? vectors_ >= *policy.from_vectors : GraphPays(vectors_, dimension_);
  if (!wanted) return absl::OkStatus();
  SLUICE_ASSIGN_OR_RETURN(const auto file, file_->Map());
  const std::span<const float> vectors(
      reinterpret_cast<const float*>(file->bytes().data() + kHeaderBytes),
      size_t{vectors_} * dimension_);
  SLUICE_ASSIGN_OR_RETURN(graph_,
                          BuildGraph(policy.metric, dimension_, vectors, policy.threads, proceed));
  return absl::OkStatus();
}

absl::StatusOr<v1::SegmentInfo> SortedSegmentWriter::Finish() {
  footer_.entries = index_.size();
  footer_.rows = slots_.size();
  footer_.vectors = vectors_;
  footer_.sections.push_back({.kind = SectionKind::kVectors,
                              .crc32c = vectors_crc32c_,
                              .offset = kHeaderBytes,
                              .length = file_->size() - kHeaderBytes});
  if (vectors_ > 0 && vectors_ < slots_.size()) {
    SLUICE_RETURN_IF_ERROR(
        AppendSection(SectionKind::kSlots, BytesOf(std::span<const uint32_t>(slots_))));
  }
  if (!graph_.empty()) {
    SLUICE_RETURN_IF_ERROR(file_->Pad(alignof(uint32_t)));
    SLUICE_RETURN_IF_ERROR(AppendSection(SectionKind::kGraph, graph_));
    graph_.clear();
  }
  if (rows_ != nullptr) SLUICE_RETURN_IF_ERROR(AppendRows());
  SLUICE_RETURN_IF_ERROR(file_->Pad(alignof(Segment::Entry)));
  SLUICE_RETURN_IF_ERROR(
      AppendSection(SectionKind::kIndex, BytesOf(std::span<const Segment::Entry>(index_))));
  SLUICE_RETURN_IF_ERROR(file_->Append(EncodeFooter(footer_)));
  SLUICE_RETURN_IF_ERROR(file_->SyncAndKeep());

  v1::SegmentInfo info;
  info.set_entries(footer_.entries);
  info.set_rows(footer_.rows);
  info.set_vectors(footer_.vectors);
  info.set_bytes(file_->size());
  info.set_crc32c(file_->crc32c());
  return info;
}

}  // namespace sluice

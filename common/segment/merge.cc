#include "common/segment/merge.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "common/base/check.h"
#include "common/errors/errors.h"
#include "common/segment/rows.h"
#include "common/segment/sorted_writer.h"

namespace sluice {
namespace {

// Walks one input in order of id.
class Input {
 public:
  explicit Input(const Segment& segment) : segment_(segment) {
    if (segment.rows_reader() != nullptr) rows_.emplace(segment.rows_reader()->NewCursor());
  }
  // nullptr at the end.
  const Segment::Entry* at() const {
    return next_ == segment_.entries().size() ? nullptr : &segment_.entries()[next_];
  }
  void Next() { ++next_; }
  absl::Status CopyTo(SortedSegmentWriter& out) {
    const Segment::Entry& entry = *at();
    SLUICE_ASSIGN_OR_RETURN(const std::string_view row, rows_->Read(entry.row));
    return out.AddRow(entry.id, row, segment_.Vector(entry.row));
  }

 private:
  const Segment& segment_;
  std::optional<RowsReader::Cursor> rows_;
  size_t next_ = 0;
};

constexpr uint64_t kEntriesPerQuestion = 4096;

bool AnyHas(std::span<const std::shared_ptr<const Segment>> segments, const IdHash& id) {
  return std::any_of(segments.begin(), segments.end(),
                     [&](const auto& segment) { return segment->Find(id).has_value(); });
}

absl::Status MergeInto(std::vector<Input>& inputs, const MergeOptions& options,
                       SortedSegmentWriter& out, absl::FunctionRef<absl::Status()> proceed) {
  for (uint64_t merged = 0;; ++merged) {
    if (merged % kEntriesPerQuestion == 0) SLUICE_RETURN_IF_ERROR(proceed());
    // The least id, in the newest input that has it. Inputs are few: PickMerge keeps them so.
    Input* least = nullptr;
    for (Input& input : inputs) {
      if (input.at() == nullptr) continue;
      if (least == nullptr || input.at()->id <= least->at()->id) least = &input;
    }
    if (least == nullptr) return absl::OkStatus();
    const Segment::Entry entry = *least->at();
    if (AnyHas(options.newer, entry.id)) {
      // Dead.
    } else if (entry.row != Segment::kDeleted) {
      SLUICE_RETURN_IF_ERROR(least->CopyTo(out));
    } else if (AnyHas(options.older, entry.id)) {
      SLUICE_RETURN_IF_ERROR(out.AddDeleted(entry.id));
    }
    for (Input& input : inputs) {
      if (input.at() != nullptr && input.at()->id == entry.id) input.Next();
    }
  }
}

}  // namespace

absl::StatusOr<std::optional<v1::SegmentInfo>> MergeSegments(
    std::span<const std::shared_ptr<const Segment>> inputs, const MergeOptions& options,
    const std::filesystem::path& path, absl::FunctionRef<absl::Status()> proceed) {
  SLUICE_CHECK(!inputs.empty());
  SLUICE_ASSIGN_OR_RETURN(const auto out, SortedSegmentWriter::Create(path, options.dimension));
  std::vector<Input> cursors;
  for (const auto& segment : inputs) cursors.emplace_back(*segment);
  SLUICE_RETURN_IF_ERROR(MergeInto(cursors, options, *out, proceed));
  if (out->entries() == 0) return std::nullopt;
  SLUICE_RETURN_IF_ERROR(out->AddGraph(options.graph, proceed));
  SLUICE_ASSIGN_OR_RETURN(v1::SegmentInfo info, out->Finish());
  info.set_graph_considered(true);
  info.set_after_seq_id(inputs.front()->info().after_seq_id());
  info.set_up_to_seq_id(inputs.back()->info().up_to_seq_id());
  return info;
}

}  // namespace sluice

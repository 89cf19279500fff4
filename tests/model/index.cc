#include "tests/model/index.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"

namespace sluice::model {
namespace {

constexpr size_t kMaxLines = 10;

// As a read that includes everything returns it.
v1::Row AsRead(const sluice::Row& row) {
  v1::Row read;
  read.set_id(row.id);
  read.set_seq_id(row.seq_id.value);
  if (row.document) read.set_document(*row.document);
  if (row.uri) read.set_uri(*row.uri);
  read.mutable_metadata()->Assign(row.metadata.begin(), row.metadata.end());
  if (!row.vector.empty()) SetVector(row.vector, read.mutable_vector());
  read.set_pending_embedding(row.pending_embedding);
  return read;
}

absl::StatusOr<Index> TryOpenIndex(client::Log& log, const ObjectStore& objects,
                                   const CollectionId& collection, SeqId applied) {
  v1::ReadViewRequest request;
  request.set_collection_id(collection.ToString());
  request.set_wait_applied_seq_id(applied.value);
  Index index;
  SLUICE_RETURN_IF_ERROR(log.ReadView(request, [&](v1::ReadViewResponse& response) {
    if (response.has_header()) index.header = std::move(*response.mutable_header());
    return absl::OkStatus();
  }));
  std::vector<std::shared_ptr<const Segment>> segments;
  for (const v1::SegmentInfo& info : index.header.segments()) {
    const std::string name =
        SegmentObjectName(collection, Incarnation(index.header.incarnation()), info);
    SLUICE_ASSIGN_OR_RETURN(ObjectFile file, objects.Fetch(name));
    SLUICE_ASSIGN_OR_RETURN(std::shared_ptr<const Segment> segment, Segment::Open(*file, info));
    segments.push_back(Holding(std::move(file), std::move(segment)));
  }
  index.view = SegmentSet::Build(std::move(segments), nullptr);
  return index;
}

}  // namespace

std::vector<std::string> Differences(const SegmentSet& view, const IdHasher& hasher,
                                     const Model& model) {
  std::vector<std::string> lines;
  if (view.live_count() != model.rows().size()) {
    lines.push_back(absl::StrCat(view.live_count(), " live rows, not ", model.rows().size()));
  }
  for (const auto& [id, expected] : model.rows()) {
    if (lines.size() >= kMaxLines) break;
    const auto place = view.Find(hasher(id));
    if (!place) {
      lines.push_back(absl::StrCat("row ", id, " is missing"));
      continue;
    }
    const absl::StatusOr<sluice::Row> row = view.ReadRow(*place);
    std::string difference =
        row.ok() ? model.Check(AsRead(*row), model.tail()) : row.status().ToString();
    if (!difference.empty()) lines.push_back(std::move(difference));
  }
  return lines;
}

absl::StatusOr<Index> OpenIndex(client::Log& log, const ObjectStore& objects,
                                const CollectionId& collection, SeqId applied) {
  // A segment may be replaced and deleted between the view and its opening: then a newer view has
  // another.
  constexpr int kTries = 5;
  absl::StatusOr<Index> index;
  for (int i = 0; i < kTries; ++i) {
    index = TryOpenIndex(log, objects, collection, applied);
    if (!absl::IsNotFound(index.status())) break;
  }
  return index;
}

}  // namespace sluice::model

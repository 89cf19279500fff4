#include "tests/support/index.h"

#include <utility>

#include "common/errors/errors.h"

namespace sluice::testing {

absl::StatusOr<Index> OpenIndex(client::Log& log, const ObjectStore& objects,
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
    SLUICE_ASSIGN_OR_RETURN(
        const std::filesystem::path path,
        objects.Fetch(SegmentObjectName(collection, Incarnation(index.header.incarnation()),
                                        info.token(), info.number())));
    SLUICE_ASSIGN_OR_RETURN(segments.emplace_back(), Segment::Open(path, info));
  }
  index.view = SegmentSet::Build(std::move(segments), nullptr);
  return index;
}

std::vector<std::string> Differences(const Index& index, const Model& model) {
  std::vector<std::string> lines;
  const auto number = [&](const std::string& what, uint64_t actual, uint64_t expected) {
    if (actual != expected)
      lines.push_back(what + " is " + std::to_string(actual) + ", not " + std::to_string(expected));
  };
  number("live count of the log", index.header.live_count(), model.rows.size());
  number("live count of the segments", index.view->live_count(), model.rows.size());
  const IdHasher hasher(index.header.id_hash_key());
  for (const auto& [id, expected] : model.rows) {
    if (lines.size() >= 10) break;
    const auto place = index.view->Find(hasher(id));
    if (!place) {
      lines.push_back(id + " is missing");
      continue;
    }
    const absl::StatusOr<Row> row = index.view->ReadRow(*place);
    const std::string difference =
        row.ok() ? Difference(*row, expected) : " " + row.status().ToString();
    if (!difference.empty()) lines.push_back(id + " differs in" + difference);
  }
  return lines;
}

}  // namespace sluice::testing

#include "services/compactor/merge_job.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "common/errors/errors.h"
#include "common/segment/merge.h"
#include "common/server/logging.h"

namespace sluice::compactor {
namespace {

using Segments = std::vector<std::shared_ptr<const Segment>>;

// What a merge reads, and looks things up in.
struct Opened {
  Segments older;
  Segments inputs;
  Segments newer;
};

absl::StatusOr<Opened> Open(const Workplace& at, const CollectionId& collection,
                            Incarnation incarnation, std::span<const v1::SegmentInfo> segments,
                            size_t first, size_t last) {
  const auto inputs = segments.subspan(first, last - first);
  const bool has_deletions = std::any_of(inputs.begin(), inputs.end(), [](const auto& segment) {
    return segment.entries() > segment.rows();
  });
  const bool has_dead = std::any_of(inputs.begin(), inputs.end(),
                                    [](const auto& segment) { return segment.dead_rows() > 0; });
  Opened opened;
  if ((has_deletions && first > 0) || (has_dead && last < segments.size())) {
    SLUICE_ASSIGN_OR_RETURN(const auto view, at.cache.Load(collection, incarnation, segments));
    const auto all = view->segments();
    opened.older.assign(all.begin(), all.begin() + static_cast<ptrdiff_t>(first));
    opened.inputs.assign(all.begin() + static_cast<ptrdiff_t>(first),
                         all.begin() + static_cast<ptrdiff_t>(last));
    opened.newer.assign(all.begin() + static_cast<ptrdiff_t>(last), all.end());
    return opened;
  }
  for (const v1::SegmentInfo& input : inputs) {
    SLUICE_ASSIGN_OR_RETURN(opened.inputs.emplace_back(),
                            OpenSegment(at.objects, collection, incarnation, input));
  }
  return opened;
}

}  // namespace

absl::Status RunMerge(const Job& job) {
  const Workplace& at = job.workplace;
  at.faults.Reach(Stage::kMergeClaimed);
  const std::vector<v1::SegmentInfo> segments(job.claim.segments().begin(),
                                              job.claim.segments().end());
  const auto picked = PickMerge(segments, job.claim.dimension(), job.claim.erase_dead_before_us());
  if (!picked) return absl::OkStatus();
  const auto [first, last] = *picked;

  const Timer timer(at.metrics.merges.seconds);
  SLUICE_ASSIGN_OR_RETURN(const CollectionId collection,
                          ParseCollectionId(job.claim.lease().collection_id()));
  const Incarnation incarnation(job.claim.lease().incarnation());
  SLUICE_ASSIGN_OR_RETURN(const Opened opened,
                          Open(at, collection, incarnation, segments, first, last));
  uint32_t dimension = 0;
  for (const auto& segment : opened.inputs) dimension = std::max(dimension, segment->dimension());

  const TemporaryFile file(at.objects);
  const auto proceed = [&] {
    job.pulse.Beat();
    if (job.stop.stop_requested()) return absl::CancelledError("the process is stopping");
    return job.lease.Check();
  };
  SLUICE_ASSIGN_OR_RETURN(
      std::optional<v1::SegmentInfo> output,
      MergeSegments(opened.inputs,
                    {.older = opened.older,
                     .newer = opened.newer,
                     .dimension = dimension,
                     .graph = {.metric = job.claim.schema().metric(),
                               .threads = static_cast<int>(at.settings.graph_threads)}},
                    file.path(), proceed));
  at.faults.Reach(Stage::kMergeWritten);

  constexpr uint64_t kNumber = 1;
  v1::CommitRequest commit;
  *commit.mutable_lease() = job.lease.lease();
  commit.set_number(kNumber);
  v1::MergeWork& work = *commit.mutable_merge();
  work.mutable_inputs()->Assign(segments.begin() + static_cast<ptrdiff_t>(first),
                                segments.begin() + static_cast<ptrdiff_t>(last));
  if (output) {
    SLUICE_RETURN_IF_ERROR(StoreSegment(job, kNumber, file, &*output));
    *work.mutable_output() = *output;
  }
  at.faults.Reach(Stage::kMergeStored);
  SLUICE_RETURN_IF_ERROR(at.compaction.Commit(commit).status());
  at.faults.Reach(Stage::kMergeCommitted);

  at.metrics.merges.commits.Increment();
  at.metrics.merges.segment_bytes.Increment(static_cast<double>(work.output().bytes()));
  if (GraphPays(work.output().vectors(), dimension)) {
    at.metrics.graph_vectors.Increment(static_cast<double>(work.output().vectors()));
  }
  server::Log(server::Level::kDebug, "merged",
              {{"collection_id", collection.ToString()},
               {"token", job.lease.lease().token()},
               {"inputs", opened.inputs.size()},
               {"entries", work.output().entries()},
               {"bytes", work.output().bytes()}});
  return absl::OkStatus();
}

}  // namespace sluice::compactor

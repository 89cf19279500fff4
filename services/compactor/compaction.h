// The pure core of a compaction: what a batch of records does to a collection. No thread, no clock,
// no RPC, nothing written.
//
// Records are grouped by id and folded over what the view has of each id, in order of id hash: the
// same batch over the same view gives the same changes. A change is a row as it is afterwards, or a
// deletion where the view has a live row; ids that end as they were are not written.
//
// One thread at a time. The appends, the view and the hasher must outlive it. An error
// (SEGMENT_CORRUPT, UNAVAILABLE from reading a row) ends it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/embed/hashing_embedder.h"
#include "common/record/fold.h"
#include "common/segment/id_hash.h"
#include "common/segment/segment_set.h"
#include "sluice/v1/compaction.pb.h"
#include "sluice/v1/log.pb.h"

namespace sluice::compactor {

// What becomes of one id.
struct Change {
  IdHash id;
  // nullopt: it is deleted.
  std::optional<Row> row;
  // The row's document is to be embedded.
  bool embed = false;
  // The row in the view lacked the vector of its document.
  bool was_missing = false;
};

// Rows of the view that lack the vector of their document, as the log has it.
struct MissingRows {
  // There may be some: rows are read even where only their existence matters, to see whether one of
  // them is settled.
  bool any = false;
  // To be embedded, whatever the records do.
  std::vector<IdHash> owed;
};

class Compaction {
 public:
  Compaction(const SegmentSet& view, const IdHasher& hasher, bool has_embedder,
             std::span<const v1::Append> appends, const MissingRows& missing = {});

  // The next changes: until their rows take `bytes` of memory, about, so that rows are never all in
  // memory at once. Empty: there are no more.
  absl::StatusOr<std::vector<Change>> Next(size_t bytes);

  // Of the changes returned so far: rows that exist afterwards minus rows that existed before, and
  // records without effect.
  int64_t live_delta() const { return live_delta_; }
  const NoEffect& no_effect() const { return no_effect_; }
  // Owed ids whose rows lack nothing, or do not exist: the log is to forget them.
  const std::vector<IdHash>& not_missing() const { return not_missing_; }
  // Rows that the changes returned so far replace or delete, for each segment of the view.
  const std::vector<uint64_t>& dead() const { return dead_; }

 private:
  struct Item {
    IdHash id;
    // Without a record: the id is owed.
    RecordAt at;
  };
  absl::Status FoldGroup(std::span<const Item> group, std::vector<Change>* changes, size_t* bytes);

  const SegmentSet& view_;
  const bool has_embedder_;
  const bool may_miss_;
  // Sorted by (id, SeqId).
  std::vector<Item> items_;
  size_t next_ = 0;
  int64_t live_delta_ = 0;
  NoEffect no_effect_;
  std::vector<IdHash> not_missing_;
  std::vector<uint64_t> dead_;
};

// Gives each row that is to be embedded its vector; returns how many. A row is embedded once
// however often its text was overwritten within the batch, and records without effect never are,
// since they leave no change.
uint64_t EmbedPending(const HashingEmbedder& embedder, std::span<Change> changes);
// Those rows: their places among the changes.
std::vector<size_t> PendingAmong(std::span<const Change> changes);

// Whether so many refused texts, of those of the window and these, mean that the model is wrong.
bool TooManyRefused(const v1::EmbedWindow& window, uint64_t texts, uint64_t refused);

// The dimension of the first vector among the records; 0 if none has one.
uint32_t DimensionOf(std::span<const v1::Append> appends);

}  // namespace sluice::compactor

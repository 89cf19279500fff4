// What records do to rows: the one function by which compactors and readers agree. Pure;
// thread-safe.
//
//   operation   on an id that exists                                   on one that does not
//   ADD         no effect, counted                                     insert
//   UPDATE      merge                                                  no effect, counted
//   UPSERT      merge                                                  insert
//   DELETE      remove                                                 no effect, counted
//
// Merge: vector, document and uri are replaced if given; metadata is merged by key, and an unset
// value removes its key. A record with a document and no vector leaves the row with its last
// vector, marked stale, if the collection has an embedder; without one, the row keeps its vector as
// it is. A vector given settles it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "sluice/v1/record.pb.h"

namespace sluice {

struct Row {
  std::string id;
  // The last record that changed this row.
  SeqId seq_id;
  std::optional<std::string> document;
  std::optional<std::string> uri;
  // Sorted by key; values are set.
  std::vector<v1::MetadataEntry> metadata;
  // Empty: the row has no vector.
  std::vector<float> vector;
  // The document is newer than the vector (or there is none yet), and the collection has an
  // embedder: to be embedded.
  bool pending_embedding = false;
};

// A cell of the table.
enum class RowEffect { kNone, kInsert, kMerge, kRemove };
RowEffect RowEffectOf(v1::Operation operation, bool exists);

struct RecordAt {
  SeqId seq_id;
  const v1::OperationRecord* record;
};

struct NoEffect {
  uint64_t adds = 0;
  uint64_t updates = 0;
  uint64_t deletes = 0;
  NoEffect& operator+=(const NoEffect& o) {
    adds += o.adds;
    updates += o.updates;
    deletes += o.deletes;
    return *this;
  }
};

struct Folded {
  // The row afterwards; nullopt: the id does not exist.
  std::optional<Row> row;
  // Whether any record had an effect: if not, `row` equals what was there before.
  bool changed = false;
  NoEffect no_effect;
};

// Applies `records` (all of one id, in order of SeqId) to `before`.
Folded Fold(std::optional<Row> before, std::span<const RecordAt> records, bool has_embedder);

// Reads the components of a validated vector.
std::vector<float> VectorOf(const v1::Vector& vector);
void SetVector(std::span<const float> components, v1::Vector* out);

}  // namespace sluice

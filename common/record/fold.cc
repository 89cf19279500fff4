#include "common/record/fold.h"

#include <cstring>
#include <utility>

namespace sluice {
namespace {

void CountNoEffect(v1::Operation operation, NoEffect* counts) {
  if (operation == v1::OPERATION_ADD) ++counts->adds;
  if (operation == v1::OPERATION_UPDATE) ++counts->updates;
  if (operation == v1::OPERATION_DELETE) ++counts->deletes;
}

bool IsSet(const v1::MetadataEntry& entry) {
  return entry.value().value_case() != v1::MetadataValue::VALUE_NOT_SET;
}

// Both lists are sorted by key; `changes` without a value remove.
template <class Changes>
std::vector<v1::MetadataEntry> MergeMetadata(std::vector<v1::MetadataEntry> before,
                                             const Changes& changes) {
  std::vector<v1::MetadataEntry> after;
  after.reserve(before.size() + changes.size());
  auto kept = before.begin();
  for (const v1::MetadataEntry& change : changes) {
    while (kept != before.end() && kept->key() < change.key()) after.push_back(std::move(*kept++));
    if (kept != before.end() && kept->key() == change.key()) ++kept;
    if (IsSet(change)) after.push_back(change);
  }
  std::move(kept, before.end(), std::back_inserter(after));
  return after;
}

void Merge(const RecordAt& at, bool has_embedder, Row* row) {
  const v1::OperationRecord& record = *at.record;
  row->seq_id = at.seq_id;
  if (record.has_document()) {
    row->document = record.document();
    row->pending_embedding = has_embedder;
  }
  if (record.has_uri()) row->uri = record.uri();
  if (record.has_vector()) {
    row->vector = VectorOf(record.vector());
    row->pending_embedding = false;
  }
  if (record.metadata_size() > 0) {
    row->metadata = MergeMetadata(std::move(row->metadata), record.metadata());
  }
}

}  // namespace

RowEffect RowEffectOf(v1::Operation operation, bool exists) {
  switch (operation) {
    case v1::OPERATION_ADD:
      return exists ? RowEffect::kNone : RowEffect::kInsert;
    case v1::OPERATION_UPDATE:
      return exists ? RowEffect::kMerge : RowEffect::kNone;
    case v1::OPERATION_UPSERT:
      return exists ? RowEffect::kMerge : RowEffect::kInsert;
    case v1::OPERATION_DELETE:
      return exists ? RowEffect::kRemove : RowEffect::kNone;
    default:
      // Never stored: the scanner refuses it.
      return RowEffect::kNone;
  }
}

Folded Fold(std::optional<Row> before, std::span<const RecordAt> records, bool has_embedder) {
  Folded folded;
  folded.row = std::move(before);
  std::optional<Row>& row = folded.row;
  for (const RecordAt& at : records) {
    const v1::Operation operation = at.record->operation();
    const RowEffect effect = RowEffectOf(operation, row.has_value());
    if (effect == RowEffect::kNone) {
      CountNoEffect(operation, &folded.no_effect);
      continue;
    }
    folded.changed = true;
    if (effect == RowEffect::kRemove) {
      row.reset();
      continue;
    }
    if (effect == RowEffect::kInsert) row.emplace().id = at.record->id();
    Merge(at, has_embedder, &*row);
  }
  return folded;
}

std::vector<float> VectorOf(const v1::Vector& vector) {
  std::vector<float> components(vector.data().size() / sizeof(float));
  std::memcpy(components.data(), vector.data().data(), components.size() * sizeof(float));
  return components;
}

void SetVector(std::span<const float> components, v1::Vector* out) {
  out->Clear();
  out->set_dimension(static_cast<uint32_t>(components.size()));
  out->set_data(components.data(), components.size_bytes());
}

}  // namespace sluice

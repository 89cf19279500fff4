#include "common/record/fold.h"

#include <cstring>
#include <utility>

namespace sluice {
namespace {

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

Folded Fold(std::optional<Row> before, std::span<const RecordAt> records, bool has_embedder) {
  Folded folded;
  folded.row = std::move(before);
  std::optional<Row>& row = folded.row;
  for (const RecordAt& at : records) {
    const v1::Operation operation = at.record->operation();
    if (operation == v1::OPERATION_ADD && row) {
      ++folded.no_effect.adds;
      continue;
    }
    if (operation == v1::OPERATION_UPDATE && !row) {
      ++folded.no_effect.updates;
      continue;
    }
    if (operation == v1::OPERATION_DELETE && !row) {
      ++folded.no_effect.deletes;
      continue;
    }
    folded.changed = true;
    if (operation == v1::OPERATION_DELETE) {
      row.reset();
      continue;
    }
    if (!row) row.emplace().id = at.record->id();
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

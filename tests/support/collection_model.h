// A model of a collection, written apart from the code under test, and records to feed both. Header
// only; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "common/embed/hashing_embedder.h"
#include "common/record/fold.h"
#include "sluice/v1/log.pb.h"

namespace sluice::testing {

// A row as the model sees it. Metadata: strings only.
struct ModelRow {
  uint64_t seq_id = 0;
  std::optional<std::string> document;
  std::optional<std::string> uri;
  std::map<std::string, std::string> metadata;
  std::vector<float> vector;
};

// What a row has that the model's has not, by name of the part; empty if they are equal.
inline std::string Difference(const Row& row, const ModelRow& expected) {
  std::map<std::string, std::string> metadata;
  for (const v1::MetadataEntry& entry : row.metadata)
    metadata[entry.key()] = entry.value().string_value();
  std::string parts;
  if (row.seq_id.value != expected.seq_id) parts += " seq_id";
  if (row.document != expected.document) parts += " document";
  if (row.uri != expected.uri) parts += " uri";
  if (row.vector != expected.vector) parts += " vector";
  if (row.pending_embedding) parts += " pending_embedding";
  if (metadata != expected.metadata) parts += " metadata";
  return parts;
}

// A collection as a map: one record after the other, by the table in common/record/fold.h, each
// text embedded as it comes.
struct Model {
  explicit Model(const HashingEmbedder* e = nullptr) : embedder(e) {}

  void Apply(uint64_t seq_id, const v1::OperationRecord& record) {
    const auto it = rows.find(record.id());
    const bool exists = it != rows.end();
    switch (record.operation()) {
      case v1::OPERATION_ADD:
        exists ? void(++adds_without_effect) : Change(seq_id, record, &rows[record.id()]);
        break;
      case v1::OPERATION_UPDATE:
        exists ? Change(seq_id, record, &it->second) : void(++updates_without_effect);
        break;
      case v1::OPERATION_UPSERT:
        Change(seq_id, record, &rows[record.id()]);
        break;
      default:
        exists ? void(rows.erase(it)) : void(++deletes_without_effect);
    }
  }

  void Change(uint64_t seq_id, const v1::OperationRecord& record, ModelRow* row) const {
    row->seq_id = seq_id;
    if (record.has_document()) row->document = record.document();
    if (record.has_uri()) row->uri = record.uri();
    for (const v1::MetadataEntry& entry : record.metadata()) {
      if (entry.value().has_string_value()) {
        row->metadata[entry.key()] = entry.value().string_value();
      } else {
        row->metadata.erase(entry.key());
      }
    }
    if (record.has_vector()) {
      const auto* data = reinterpret_cast<const float*>(record.vector().data().data());
      row->vector.assign(data, data + record.vector().dimension());
    } else if (record.has_document() && embedder) {
      row->vector = embedder->Embed(record.document());
    }
  }

  const HashingEmbedder* embedder;
  std::map<std::string, ModelRow> rows;
  uint64_t adds_without_effect = 0;
  uint64_t updates_without_effect = 0;
  uint64_t deletes_without_effect = 0;
};

inline v1::OperationRecord Record(v1::Operation operation, const std::string& id,
                                  const std::string& document = "") {
  v1::OperationRecord record;
  record.set_id(id);
  record.set_operation(operation);
  if (!document.empty()) record.set_document(document);
  return record;
}

inline void GiveVector(const std::vector<float>& components, v1::OperationRecord* record) {
  record->mutable_vector()->set_dimension(static_cast<uint32_t>(components.size()));
  record->mutable_vector()->set_data(components.data(), components.size() * sizeof(float));
}

// A valid record on one of `ids` ids, of any operation, with any of its parts.
inline v1::OperationRecord RandomRecord(std::mt19937_64& random, uint64_t ids, uint32_t dimension) {
  const auto one_in = [&](uint64_t n) { return random() % n == 0; };
  v1::OperationRecord record;
  record.set_id("id-" + std::to_string(random() % ids));
  record.set_operation(static_cast<v1::Operation>(1 + random() % 4));
  if (record.operation() == v1::OPERATION_DELETE) return record;
  if (!one_in(3)) record.set_document("word" + std::to_string(random() % 1000) + " common words");
  if (one_in(4)) record.set_uri("uri:" + std::to_string(random() % 10));
  if (one_in(5)) {
    std::vector<float> components(dimension);
    for (float& c : components) c = static_cast<float>(random() % 100) - 50;
    GiveVector(components, &record);
  }
  for (char key = 'a'; key < 'e'; ++key) {
    if (!one_in(3)) continue;
    v1::MetadataEntry& entry = *record.add_metadata();
    entry.set_key(std::string(1, key));
    entry.mutable_value();
    // Without a value it removes the key, which an ADD may not do.
    if (record.operation() == v1::OPERATION_ADD || !one_in(3))
      entry.mutable_value()->set_string_value(std::to_string(random() % 10));
  }
  return record;
}

}  // namespace sluice::testing

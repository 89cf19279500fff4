#include "services/frontend/reply.h"

#include <utility>

namespace sluice::frontend {

absl::Status CheckLevel(const v1::ReadLevel& level) {
  if (v1::ReadLevel::Kind_IsValid(level.kind())) return absl::OkStatus();
  return Invalid("level.kind", absl::StrCat("not known: ", level.kind()));
}

void FillRow(Row& row, const v1::Include& include, v1::Row* out) {
  out->set_id(std::move(row.id));
  if (include.vector() && !row.vector.empty()) SetVector(row.vector, out->mutable_vector());
  if (include.document() && row.document) out->set_document(*std::move(row.document));
  if (include.uri() && row.uri) out->set_uri(*std::move(row.uri));
  if (include.metadata()) {
    for (v1::MetadataEntry& entry : row.metadata) *out->add_metadata() = std::move(entry);
  }
  out->set_seq_id(row.seq_id.value);
  out->set_pending_embedding(row.pending_embedding);
}

}  // namespace sluice::frontend

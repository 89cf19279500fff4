// A collection in memory, as the promises describe it, and what reads of it may answer. Written
// apart from common/record/fold.h and common/segment, so that it can disagree with them. A plain
// value; one thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ids.h"
#include "sluice/v1/collection.pb.h"
#include "sluice/v1/frontend.pb.h"
#include "sluice/v1/record.pb.h"

namespace sluice::model {

// Of texts that an embedder elsewhere refuses: always (as it does the empty one), or in spells.
inline constexpr std::string_view kRefusedMark = "[refused]";
inline constexpr std::string_view kRefusedInSpellsMark = "[refused in spells]";

// Whether texts are embedded by a server, which may be away.
inline bool IsEmbeddedElsewhere(const v1::CollectionSchema& schema) {
  return !schema.embedder().kind().empty() && schema.embedder().kind() != "hashing";
}

// A row's vector; nullopt: it has none.
using MaybeVector = std::optional<std::vector<float>>;

struct Row {
  SeqId seq_id;
  std::optional<std::string> document;
  std::optional<std::string> uri;
  // Values as encoded.
  std::map<std::string, std::string> metadata;
  // Once nothing is left to embed.
  MaybeVector settled;
  // Until then: what the row may be ranked by, with pending_embedding. Several if it is not known
  // which of its earlier documents were embedded; none if nothing is left to embed.
  std::vector<MaybeVector> stale;
  // The last record that gave a document to embed; whether it never will be.
  SeqId document_seq_id;
  bool refused = false;
};

class Model {
 public:
  explicit Model(const v1::CollectionSchema& schema) : schema_(schema) {}

  const v1::CollectionSchema& schema() const { return schema_; }

  // Applies the next record.
  void Apply(const v1::OperationRecord& record);
  // The vector of the id's document was given up (DropMissingVectors), if that is of `up_to` or
  // before.
  void GaveUp(const std::string& id, SeqId up_to);

  SeqId tail() const { return tail_; }
  const std::map<std::string, Row>& rows() const { return rows_; }
  // Records without effect, by operation.
  const std::map<v1::Operation, uint64_t>& no_effect() const { return no_effect_; }

  // Whether the id existed at every moment in [from, to], or at any of them. `to` must not be
  // beyond the tail.
  bool ExistedThroughout(const std::string& id, SeqId from, SeqId to) const;
  bool ExistedAtAll(const std::string& id, SeqId from, SeqId to) const;

  // Every id that existed at any time.
  std::vector<std::string> ids() const;

  // What is wrong with a row, all of it included, that a read returned as of the tail; "" if
  // nothing is. Documents up to `embedded` must have been embedded, but those that are refused
  // (which cannot be) and those given up.
  std::string Check(const v1::Row& row, SeqId embedded) const;
  bool IsGivenUp(const std::string& id, const Row& row) const;
  // With the rows of Get by ids.
  std::string CheckGet(const v1::GetRequest& request, const v1::GetResponse& response,
                       SeqId embedded) const;
  std::string CheckQuery(const v1::QueryRequest& request, const v1::QueryResponse& response,
                         SeqId embedded) const;

 private:
  void Change(const v1::OperationRecord& record, Row* row);
  std::vector<float> Embed(const std::string& text) const;
  double Distance(std::span<const float> a, std::span<const float> b) const;
  std::string CheckHits(std::span<const float> query, const v1::QueryResponse& response,
                        SeqId embedded) const;
  bool MayBePending(const std::string& id, const Row& row, SeqId embedded) const;
  bool MayBeLeftOut(const std::string& id, const Row& row, std::span<const float> query,
                    double farthest_hit, SeqId embedded) const;

  v1::CollectionSchema schema_;
  SeqId tail_;
  std::map<std::string, Row> rows_;
  std::map<v1::Operation, uint64_t> no_effect_;
  // For each id, when it came (true) and went (false).
  std::map<std::string, std::map<SeqId, bool>> lives_;
  std::map<std::string, SeqId> given_up_;
};

}  // namespace sluice::model

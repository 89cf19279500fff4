#include "tests/model/model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/embed/hashing_embedder.h"

namespace sluice::model {
namespace {

// Of distances that are computed in single precision, in another order.
constexpr double kTolerance = 1e-4;

MaybeVector VectorOf(bool present, const v1::Vector& vector) {
  if (!present) return std::nullopt;
  std::vector<float> components(vector.dimension());
  if (vector.data().size() != 4 * components.size()) return std::nullopt;
  std::memcpy(components.data(), vector.data().data(), vector.data().size());
  return components;
}

template <class T>
std::optional<T> Optional(bool present, const T& value) {
  return present ? std::optional(value) : std::nullopt;
}

std::map<std::string, std::string> MetadataOf(const v1::Row& row) {
  std::map<std::string, std::string> metadata;
  for (const v1::MetadataEntry& entry : row.metadata()) {
    metadata[entry.key()] = entry.value().SerializeAsString();
  }
  return metadata;
}

bool IsSortedByKey(const v1::Row& row) {
  return std::is_sorted(row.metadata().begin(), row.metadata().end(),
                        [](const auto& a, const auto& b) { return a.key() < b.key(); });
}

}  // namespace

void Model::Apply(const v1::OperationRecord& record) {
  ++tail_.value;
  const std::string& id = record.id();
  const auto it = rows_.find(id);
  const bool exists = it != rows_.end();
  const v1::Operation operation = record.operation();
  if (exists ? operation == v1::OPERATION_ADD
             : operation == v1::OPERATION_UPDATE || operation == v1::OPERATION_DELETE) {
    ++no_effect_[operation];
  } else if (operation == v1::OPERATION_DELETE) {
    rows_.erase(it);
    lives_[id][tail_] = false;
  } else {
    if (!exists) lives_[id][tail_] = true;
    Change(record, &rows_[id]);
  }
}

void Model::Change(const v1::OperationRecord& record, Row* row) {
  row->seq_id = tail_;
  if (record.has_uri()) row->uri = record.uri();
  for (const v1::MetadataEntry& entry : record.metadata()) {
    const std::string value = entry.value().SerializeAsString();
    if (value.empty()) {
      row->metadata.erase(entry.key());
    } else {
      row->metadata[entry.key()] = value;
    }
  }
  if (record.has_document()) row->document = record.document();
  if (record.has_vector()) {
    row->settled = VectorOf(true, record.vector());
    row->stale.clear();
    row->refused = false;
  } else if (record.has_document() && !schema_.embedder().kind().empty()) {
    // Whatever the row was ranked by before, it may be ranked by still.
    if (!row->refused) row->stale.push_back(row->settled);
    row->refused =
        IsEmbeddedElsewhere(schema_) &&
        (record.document().empty() || record.document().find(kRefusedMark) != std::string::npos);
    row->settled = row->refused ? std::nullopt : MaybeVector(Embed(record.document()));
    row->document_seq_id = tail_;
  }
}

void Model::GaveUp(const std::string& id, SeqId up_to) {
  given_up_[id] = std::max(given_up_[id], up_to);
}

bool Model::IsGivenUp(const std::string& id, const Row& row) const {
  const auto it = given_up_.find(id);
  return it != given_up_.end() && row.document_seq_id <= it->second;
}

bool Model::MayBePending(const std::string& id, const Row& row, SeqId embedded) const {
  return !row.stale.empty() &&
         (row.refused || row.document_seq_id > embedded || IsGivenUp(id, row));
}

std::vector<float> Model::Embed(const std::string& text) const {
  return HashingEmbedder(schema_.dimension()).Embed(text);
}

bool Model::ExistedThroughout(const std::string& id, SeqId from, SeqId to) const {
  const auto it = lives_.find(id);
  if (it == lives_.end()) return false;
  const auto next = it->second.upper_bound(from);
  const bool existed_at_from = next != it->second.begin() && std::prev(next)->second;
  return existed_at_from && (next == it->second.end() || next->first > to);
}

bool Model::ExistedAtAll(const std::string& id, SeqId from, SeqId to) const {
  const auto it = lives_.find(id);
  if (it == lives_.end()) return false;
  auto next = it->second.upper_bound(from);
  if (next != it->second.begin() && std::prev(next)->second) return true;
  return next != it->second.end() && next->first <= to;
}

std::vector<std::string> Model::ids() const {
  std::vector<std::string> ids;
  for (const auto& [id, life] : lives_) ids.push_back(id);
  return ids;
}

std::string Model::Check(const v1::Row& actual, SeqId embedded) const {
  const auto it = rows_.find(actual.id());
  if (it == rows_.end()) return absl::StrCat("row ", actual.id(), " does not exist");
  const Row& expected = it->second;
  std::string parts;
  if (actual.seq_id() != expected.seq_id.value)
    absl::StrAppend(&parts, " seq_id (is ", actual.seq_id(), ", not ", expected.seq_id.value, ")");
  if (Optional(actual.has_document(), actual.document()) != expected.document) parts += " document";
  if (Optional(actual.has_uri(), actual.uri()) != expected.uri) parts += " uri";
  if (MetadataOf(actual) != expected.metadata) parts += " metadata";
  if (!IsSortedByKey(actual)) parts += " order of metadata";
  const MaybeVector vector = VectorOf(actual.has_vector(), actual.vector());
  if (!actual.pending_embedding()) {
    if (expected.refused) parts += " pending_embedding";
    if (!expected.refused && vector != expected.settled) parts += " vector";
  } else if (!MayBePending(actual.id(), expected, embedded)) {
    parts += " pending_embedding";
  } else if (std::find(expected.stale.begin(), expected.stale.end(), vector) ==
             expected.stale.end()) {
    parts += " stale vector";
  }
  return parts.empty() ? "" : absl::StrCat("row ", actual.id(), " differs in", parts);
}

std::string Model::CheckGet(const v1::GetRequest& request, const v1::GetResponse& response,
                            SeqId embedded) const {
  std::vector<std::string> expected;
  for (const std::string& id : request.ids()) {
    if (rows_.contains(id)) expected.push_back(id);
  }
  std::vector<std::string> actual;
  for (const v1::Row& row : response.rows()) {
    actual.push_back(row.id());
    if (std::string difference = Check(row, embedded); !difference.empty()) return difference;
  }
  return actual == expected ? "" : "other ids than expected, or in another order";
}

double Model::Distance(std::span<const float> a, std::span<const float> b) const {
  double squares = 0, product = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = a[i], y = b[i];
    squares += (x - y) * (x - y);
    product += x * y;
    aa += x * x;
    bb += y * y;
  }
  switch (schema_.metric()) {
    case v1::METRIC_L2:
      return squares;
    case v1::METRIC_IP:
      return 1 - product;
    default:
      return aa == 0 || bb == 0 ? 1 : 1 - product / std::sqrt(aa * bb);
  }
}

std::string Model::CheckQuery(const v1::QueryRequest& request, const v1::QueryResponse& response,
                              SeqId embedded) const {
  const std::vector<float> query =
      request.has_vector() ? *VectorOf(true, request.vector()) : Embed(request.text());
  if (std::string difference = CheckHits(query, response, embedded); !difference.empty())
    return difference;
  std::set<std::string> hits;
  for (const v1::QueryHit& hit : response.hits()) hits.insert(hit.row().id());
  if (hits.size() != static_cast<size_t>(response.hits_size()))
    return "an id is among the hits twice";
  if (hits.size() > request.limit()) return "more hits than asked for";
  const double farthest = hits.size() == request.limit()
                              ? response.hits(response.hits_size() - 1).distance()
                              : std::numeric_limits<double>::infinity();
  for (const auto& [id, row] : rows_) {
    if (!hits.contains(id) && !MayBeLeftOut(id, row, query, farthest, embedded))
      return absl::StrCat("row ", id, " is missing");
  }
  return "";
}

std::string Model::CheckHits(std::span<const float> query, const v1::QueryResponse& response,
                             SeqId embedded) const {
  const v1::QueryHit* before = nullptr;
  for (const v1::QueryHit& hit : response.hits()) {
    const std::string& id = hit.row().id();
    if (std::string difference = Check(hit.row(), embedded); !difference.empty()) return difference;
    if (!hit.row().has_vector()) return absl::StrCat("row ", id, " has no vector");
    const double distance = Distance(query, *VectorOf(true, hit.row().vector()));
    if (std::abs(distance - hit.distance()) > kTolerance * (1 + std::abs(distance))) {
      return absl::StrCat("row ", id, " is at distance ", distance, ", not ", hit.distance());
    }
    if (before != nullptr &&
        std::pair(before->distance(), before->row().id()) > std::pair(hit.distance(), id)) {
      return absl::StrCat("row ", id, " is out of order");
    }
    before = &hit;
  }
  return "";
}

bool Model::MayBeLeftOut(const std::string& id, const Row& row, std::span<const float> query,
                         double farthest_hit, SeqId embedded) const {
  const auto may_be = [&](const MaybeVector& vector) {
    if (!vector) return true;
    const double distance = Distance(query, *vector);
    return distance >= farthest_hit - kTolerance * (1 + std::abs(distance));
  };
  if (!row.refused && may_be(row.settled)) return true;
  return MayBePending(id, row, embedded) && std::any_of(row.stale.begin(), row.stale.end(), may_be);
}

}  // namespace sluice::model

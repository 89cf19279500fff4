// Query: search over segments and tail.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <queue>
#include <utility>
#include <vector>

#include "common/embed/embed_client.h"
#include "common/embed/hashing_embedder.h"
#include "common/record/limits.h"
#include "services/frontend/reads.h"
#include "services/frontend/reply.h"

namespace sluice::frontend {
namespace {

// A row that may be among the nearest.
struct Candidate {
  float distance;
  IdHash id;
};

// Rows at the same distance as the last hit, beyond the hits asked for, among which the order of
// ids is still exact. Of more, those with the least id hashes are taken.
constexpr size_t kMaxTies = 4096;

constexpr float kAnywhere = std::numeric_limits<float>::infinity();

absl::Status CheckVector(const v1::Vector& vector) {
  if (vector.encoding() != v1::SCALAR_ENCODING_FLOAT32) {
    return Invalid("vector.encoding", "not known");
  }
  if (vector.dimension() == 0 || vector.dimension() > kMaxDimension) {
    return Invalid("vector.dimension", absl::StrCat("not in 1 to ", kMaxDimension));
  }
  if (vector.data().size() != vector.dimension() * sizeof(float)) {
    return Invalid("vector.data", absl::StrCat(vector.data().size(), " bytes, not ",
                                               vector.dimension() * sizeof(float)));
  }
  const std::vector<float> components = VectorOf(vector);
  for (size_t i = 0; i < components.size(); ++i) {
    if (!std::isfinite(components[i])) {
      return Invalid("vector.data", absl::StrCat("component ", i, " is not finite"));
    }
  }
  return absl::OkStatus();
}

bool Nearer(const Candidate& a, const Candidate& b) {
  return a.distance != b.distance ? a.distance < b.distance : a.id < b.id;
}

// The `k` nearest within `reach`, and all that are as near as the last of them, in no order.
std::vector<Candidate> InTail(const View& view, std::span<const float> query, size_t k,
                              float reach) {
  if (view.effect().ranked.empty()) return {};
  const DistanceTo distance_to(view.metric(), query);
  const NotNearerThan not_nearer_than(view.metric(), query);
  std::vector<Candidate> candidates;
  // The k least distances so far; `reach` is the last of them, once there are as many.
  std::priority_queue<float> nearest;
  std::vector<float> given(query.size());
  for (const TailEffect::Ranked& ranked : view.effect().ranked) {
    std::span<const float> vector = given;
    if (ranked.given) {
      if (ranked.coded.dimension != query.size()) continue;
      if (not_nearer_than(ranked.coded) > reach) continue;
      std::memcpy(given.data(), ranked.given->data().data(), query.size_bytes());
    } else {
      vector = view.segments()->Vector(ranked.place);
    }
    const float distance = distance_to(vector.data());
    if (distance > reach) continue;
    candidates.push_back({distance, ranked.id});
    nearest.push(distance);
    if (nearest.size() > k) nearest.pop();
    if (nearest.size() == k) reach = nearest.top();
  }
  std::erase_if(candidates, [&](const Candidate& c) { return c.distance > reach; });
  return candidates;
}

std::vector<Candidate> InSegments(const View& view, std::span<const float> query, size_t k,
                                  Executor* helpers) {
  const TailEffect& effect = view.effect();
  std::vector<Candidate> candidates;
  const auto is_hidden = [&](SegmentSet::Place place) {
    return effect.hidden.contains({place.segment, place.row});
  };
  for (const SegmentSet::Neighbour& neighbour :
       view.segments()->Search(view.metric(), query, k, is_hidden, {.helpers = helpers})) {
    candidates.push_back({neighbour.distance, neighbour.id});
  }
  return candidates;
}

// The `k` nearest and all that are as near as the last of them, in order of distance.
std::vector<Candidate> Nearest(const View& view, std::span<const float> query, size_t k,
                               Executor* helpers) {
  std::optional<std::vector<Candidate>> tail;
  // A few more than asked for, so that most ties take one search.
  for (size_t wanted = k + 8;; wanted = k + kMaxTies) {
    std::vector<Candidate> nearest = InSegments(view, query, wanted, helpers);
    const bool all = nearest.size() < wanted;
    const float farthest = nearest.empty() ? 0 : nearest.back().distance;
    if (!tail)
      tail = InTail(view, query, k, nearest.size() < k ? kAnywhere : nearest[k - 1].distance);
    nearest.insert(nearest.end(), tail->begin(), tail->end());
    if (nearest.size() > k) {
      std::nth_element(nearest.begin(), nearest.begin() + (k - 1), nearest.end(), Nearer);
      const float last = nearest[k - 1].distance;
      if (!all && farthest <= last && wanted < k + kMaxTies) continue;
      std::erase_if(nearest, [&](const Candidate& c) { return c.distance > last; });
    }
    std::sort(nearest.begin(), nearest.end(), Nearer);
    return nearest;
  }
}

absl::StatusOr<Row> ReadRow(const View& view, const IdHash& id, bool with_vector,
                            SegmentSet::Cursor* cursor = nullptr) {
  SLUICE_ASSIGN_OR_RETURN(
      std::optional<Row> row,
      view.RowOf(view.segments()->Find(id), view.tail().Find(id), with_vector, cursor));
  if (!row) return absl::InternalError("a row found by its vector does not exist");
  return *std::move(row);
}

// Puts candidates of one distance into the order of their ids.
absl::Status SortTies(const View& view, std::span<Candidate> ties) {
  std::vector<std::pair<std::string, Candidate>> named;
  named.reserve(ties.size());
  for (const Candidate& candidate : ties) {
    SLUICE_ASSIGN_OR_RETURN(Row row, ReadRow(view, candidate.id, false));
    named.emplace_back(std::move(row.id), candidate);
  }
  std::sort(named.begin(), named.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  for (size_t i = 0; i < ties.size(); ++i) ties[i] = named[i].second;
  return absl::OkStatus();
}

// Of those that are ordered by distance, leaves the first `k`, by distance and id.
absl::Status OrderTies(const View& view, size_t k, std::vector<Candidate>* nearest) {
  const size_t count = std::min(k, nearest->size());
  for (size_t begin = 0, end = 0; begin < count; begin = end) {
    while (end < nearest->size() && (*nearest)[end].distance == (*nearest)[begin].distance) ++end;
    if (end - begin == 1) continue;
    SLUICE_RETURN_IF_ERROR(SortTies(view, std::span(*nearest).subspan(begin, end - begin)));
  }
  nearest->resize(count);
  return absl::OkStatus();
}

}  // namespace

absl::Status Check(const v1::QueryRequest& request) {
  switch (request.query_case()) {
    case v1::QueryRequest::QUERY_NOT_SET:
      return Invalid("query", "missing: set vector or text");
    case v1::QueryRequest::kVector:
      SLUICE_RETURN_IF_ERROR(CheckVector(request.vector()));
      break;
    case v1::QueryRequest::kText:
      if (request.text().empty() || request.text().size() > kMaxDocumentBytes) {
        return Invalid("text", absl::StrCat(request.text().size(), " bytes; 1 to ",
                                            kMaxDocumentBytes, " are allowed"));
      }
  }
  if (request.limit() > kMaxHits) {
    return Invalid("limit", absl::StrCat("more than ", kMaxHits));
  }
  return CheckLevel(request.level());
}

absl::Status Check(const View& view, const v1::QueryRequest& request) {
  if (request.has_text() && view.embedder().kind() != embed::kHashing) {
    return MakeError(Reason::NO_EMBEDDER, "the collection has no embedder: query by vector");
  }
  if (view.dimension() == 0) {
    return MakeError(Reason::NO_DIMENSION,
                     "the collection has no dimension yet: no vector was written");
  }
  if (request.has_vector() && request.vector().dimension() != view.dimension()) {
    return MakeError(Reason::DIMENSION_MISMATCH,
                     absl::StrCat("vector has dimension ", request.vector().dimension(),
                                  "; the collection's is ", view.dimension()),
                     {{"expected", absl::StrCat(view.dimension())},
                      {"actual", absl::StrCat(request.vector().dimension())}});
  }
  return absl::OkStatus();
}

bool NeedsVectors(const v1::QueryRequest&) { return true; }

absl::StatusOr<v1::QueryResponse> Answer(const View& view, const v1::QueryRequest& request,
                                         Executor* helpers) {
  SLUICE_RETURN_IF_ERROR(Check(view, request));
  const std::vector<float> query = request.has_text()
                                       ? HashingEmbedder(view.dimension()).Embed(request.text())
                                       : VectorOf(request.vector());
  return Answer(view, request, query, helpers);
}

absl::StatusOr<v1::QueryResponse> Answer(const View& view, const v1::QueryRequest& request,
                                         std::span<const float> query, Executor* helpers) {
  const size_t k = request.limit() == 0 ? kDefaultHits : request.limit();
  std::vector<Candidate> nearest = Nearest(view, query, k, helpers);
  SLUICE_RETURN_IF_ERROR(OrderTies(view, k, &nearest));
  v1::QueryResponse response;
  SetAsOf(view, &response);
  for (const Candidate& candidate : nearest) response.add_hits()->set_distance(candidate.distance);
  // Rows are read in the order in which they lie, which costs less.
  std::vector<int> order(nearest.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](int i) { return nearest[i].id; });
  SegmentSet::Cursor rows(*view.segments(), nearest.size(), kMaxReplyBytes);
  ReplySize size;
  for (const int i : order) {
    SLUICE_ASSIGN_OR_RETURN(Row row,
                            ReadRow(view, nearest[i].id, request.include().vector(), &rows));
    v1::Row* const out = response.mutable_hits(i)->mutable_row();
    FillRow(row, request.include(), out);
    SLUICE_RETURN_IF_ERROR(size.Add(out->ByteSizeLong()));
  }
  return response;
}

}  // namespace sluice::frontend

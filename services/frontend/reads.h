// What reads answer, given a view: Get, Count, Query. Pure but for the reading of rows from
// segments; thread-safe.
//
// Answers are bounded: a page of Get ends before it exceeds 1 MiB (but has one row at least); an
// answer by ids or to a query that would exceed kMaxReplyBytes is refused as TOO_LARGE.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/executor.h"
#include "common/objects/object_store.h"
#include "services/frontend/view.h"
#include "sluice/v1/frontend.pb.h"

namespace sluice::frontend {

inline constexpr uint64_t kMaxIdsPerGet = 10'000;
inline constexpr uint32_t kMaxPageSize = 1'000;
inline constexpr uint32_t kDefaultPageSize = 100;
inline constexpr uint64_t kMaxPageBytes = 1 << 20;
// Rows that a Get by ids reads from segments that are not local, each by a request of its own,
// before it rather waits for them to be; also those that it reads at once.
inline constexpr int kMaxRemoteRows = 32;
inline constexpr uint32_t kMaxHits = 1'000;
inline constexpr uint32_t kDefaultHits = 10;
// Channels of ours take 32 MiB.
inline constexpr uint64_t kMaxReplyBytes = 31 << 20;

// What can be said of a request before there is a view: INVALID_REQUEST, naming the field.
absl::Status Check(const v1::GetRequest& request);
absl::Status Check(const v1::CountRequest& request);
absl::Status Check(const v1::QueryRequest& request);

// Whether the answer needs a view that has its vectors at hand (SegmentSet).
bool NeedsVectors(const v1::GetRequest& request);
bool NeedsVectors(const v1::CountRequest& request);
bool NeedsVectors(const v1::QueryRequest& request);

// What can be said before the view's segments are local: the errors of Answer. Not for texts that
// need an embedder elsewhere (query_text.h).
absl::Status Check(const View& view, const v1::QueryRequest& request);

// Whether the answer takes so many rows of segments that are not local that these are better waited
// for.
bool TakesManyRemoteRows(const View& view, const v1::GetRequest& request);
// Such rows are hits because the tail gives them a vector; so it may say true of some that it does
// not take.
bool TakesManyRemoteRows(const View& view, const v1::QueryRequest& request);

// DEADLINE_EXCEEDED or CANCELLED once `patience` ends, which is looked at before each row. Threads
// of `row_readers` that have nothing else to do read rows of segments that are not local; null:
// none.
absl::StatusOr<v1::GetResponse> Answer(const View& view, const v1::GetRequest& request,
                                       const Patience& patience = {},
                                       Executor* row_readers = nullptr);
absl::StatusOr<v1::CountResponse> Answer(const View& view, const v1::CountRequest& request);
// Exact but where segments have graphs. DIMENSION_MISMATCH, NO_DIMENSION, NO_EMBEDDER. Not for
// texts that need an embedder elsewhere (query_text.h). Threads of `helpers` that have nothing else
// to do take part in the search; null: none.
absl::StatusOr<v1::QueryResponse> Answer(const View& view, const v1::QueryRequest& request,
                                         Executor* helpers = nullptr);
// The same for what the request asks with this vector, of the collection's dimension.
absl::StatusOr<v1::QueryResponse> Answer(const View& view, const v1::QueryRequest& request,
                                         std::span<const float> query, Executor* helpers = nullptr);

}  // namespace sluice::frontend

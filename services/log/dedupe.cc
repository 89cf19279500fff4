#include "services/log/dedupe.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "services/log/keys.h"

namespace sluice::log {
namespace {

constexpr int64_t kMaxAheadMs = 60'000;
// Rows deleted by one command, and how long until the next look when there was less to do.
constexpr size_t kSweepRows = 256;
constexpr int64_t kSweepEveryUs = 1'000'000;

absl::StatusOr<pb::DedupeState> Parse(const std::string& row, const CollectionId& collection) {
  pb::DedupeState state;
  if (!state.ParseFromString(row)) {
    return MakeError(Reason::LOG_CORRUPT, "a dedupe row cannot be read",
                     {{"collection_id", collection.ToString()}});
  }
  return state;
}

}  // namespace

absl::Status Dedupe::Advance() {
  // Before the shard's first command there is no window yet.
  if (shard_.policy().dedupe_window_us() == 0) return absl::OkStatus();
  const int64_t horizon = (shard_.time_us() - shard_.policy().dedupe_window_us()) / 1000;
  if (horizon > shard_.dedupe_horizon_ms()) shard_.set_dedupe_horizon_ms(horizon);
  if (shard_.time_us() < shard_.next_sweep_us()) return absl::OkStatus();

  // From where the last sweep ended, so that what it deleted is not walked over again.
  const std::string begin = std::max(TypePrefix(RowType::kDedupe), shard_.dedupe_swept());
  const std::string end = DedupeKeyAt(shard_.dedupe_horizon_ms());
  std::vector<std::string> expired;
  if (begin < end) {
    SLUICE_RETURN_IF_ERROR(rows_.Scan(begin, end, [&](std::string_view key, std::string_view) {
      expired.emplace_back(key);
      return expired.size() < kSweepRows;
    }));
    for (const std::string& key : expired) rows_.Delete(key);
    shard_.set_dedupe_swept(expired.size() < kSweepRows ? end : expired.back());
  }
  shard_.set_next_sweep_us(shard_.time_us() + (expired.size() < kSweepRows ? kSweepEveryUs : 0));
  return absl::OkStatus();
}

absl::StatusOr<std::optional<pb::DedupeState>> Dedupe::Find(const PushView& push) {
  const int64_t id_ms = push.request_id.unix_millis();
  if (id_ms > shard_.time_us() / 1000 + kMaxAheadMs) {
    return MakeError(Reason::REQUEST_ID_IN_FUTURE,
                     "request_id is more than a minute ahead of the log's clock");
  }
  if (id_ms < shard_.dedupe_horizon_ms()) {
    return MakeError(Reason::REQUEST_ID_EXPIRED,
                     "request_id is older than the dedupe window: whether an earlier attempt was "
                     "appended is no longer known");
  }
  SLUICE_ASSIGN_OR_RETURN(const auto row, rows_.Get(DedupeKey(push.request_id)));
  if (!row) return std::nullopt;
  SLUICE_ASSIGN_OR_RETURN(const pb::DedupeState first, Parse(*row, push.collection));
  if (first.collection_id() != push.collection.view() ||
      Fingerprint{first.fingerprint_high(), first.fingerprint_low()} != push.fingerprint) {
    return MakeError(Reason::REQUEST_ID_REUSED, "this request_id came before with other content");
  }
  return first;
}

absl::Status Dedupe::CheckPredecessor(const RequestId& predecessor,
                                      const CollectionId& collection) {
  const auto missing = [](absl::string_view why) {
    return MakeError(Reason::PREDECESSOR_MISSING, absl::StrCat("the predecessor ", why));
  };
  // A row behind the horizon may or may not be deleted yet: never look at it.
  if (predecessor.unix_millis() < shard_.dedupe_horizon_ms()) {
    return missing("is older than the dedupe window: whether it is in is no longer known");
  }
  SLUICE_ASSIGN_OR_RETURN(const auto row, rows_.Get(DedupeKey(predecessor)));
  if (!row) return missing("is not in");
  SLUICE_ASSIGN_OR_RETURN(const pb::DedupeState state, Parse(*row, collection));
  if (state.collection_id() != collection.view()) return missing("is of another collection");
  return absl::OkStatus();
}

void Dedupe::Remember(const PushView& push, SeqId first) {
  pb::DedupeState row;
  row.set_collection_id(push.collection.view().data(), push.collection.view().size());
  row.set_first_seq_id(first.value);
  row.set_count(push.count);
  row.set_fingerprint_high(push.fingerprint.high);
  row.set_fingerprint_low(push.fingerprint.low);
  row.set_commit_time_us(shard_.time_us());
  rows_.Put(DedupeKey(push.request_id), row.SerializeAsString());
}

}  // namespace sluice::log

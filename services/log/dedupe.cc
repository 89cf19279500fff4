#include "services/log/dedupe.h"

#include <algorithm>
#include <chrono>
#include <string>
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
// A row and its key: two times 16 bytes of ids, 16 of fingerprint, three numbers, and tags.
constexpr uint64_t kMaxRowBytes = 128;
constexpr std::chrono::milliseconds kLeastRetry{1'000};
constexpr std::chrono::milliseconds kMostRetry{60'000};

absl::StatusOr<pb::DedupeState> Parse(const std::string& row, const CollectionId& collection) {
  pb::DedupeState state;
  if (!state.ParseFromString(row)) {
    return MakeError(Reason::LOG_CORRUPT, "a dedupe row cannot be read",
                     {{"collection_id", collection.ToString()}});
  }
  return state;
}

}  // namespace

int64_t Dedupe::HorizonMs() const {
  return std::max((clock_us_ - shard_.policy().dedupe_window_us()) / 1000,
                  shard_.dedupe_forgotten_ms() + 1);
}

absl::Status Dedupe::Advance(int64_t clock_us) {
  clock_us_ = clock_us;
  // Before the shard's first command there is no window yet.
  if (shard_.policy().dedupe_window_us() == 0) return absl::OkStatus();
  // Of a store that was written when the horizon itself was kept.
  if (shard_.dedupe_horizon_ms() != 0) {
    shard_.set_dedupe_forgotten_ms(shard_.dedupe_horizon_ms() - 1);
    shard_.clear_dedupe_horizon_ms();
    shard_.clear_dedupe_swept();
  }
  if (shard_.time_us() < shard_.next_sweep_us()) return absl::OkStatus();
  return Sweep();
}

absl::Status Dedupe::Sweep() {
  // From what was forgotten last, so that what it deleted is not walked over again. Some of that
  // millisecond may be left.
  const std::string begin = DedupeKeyAt(shard_.dedupe_forgotten_ms());
  const std::string end = DedupeKeyAt(HorizonMs());
  std::vector<std::string> expired;
  uint64_t bytes = 0;
  if (begin < end) {
    SLUICE_RETURN_IF_ERROR(
        rows_.Scan(begin, end, [&](std::string_view key, std::string_view value) {
          expired.emplace_back(key);
          bytes += key.size() + value.size();
          return expired.size() < kSweepRows;
        }));
  }
  for (const std::string& key : expired) rows_.Delete(key);
  if (!expired.empty()) {
    shard_.set_dedupe_forgotten_ms(TimeOfDedupeKey(expired.back()));
    // Rows of an older store were not counted.
    shard_.set_dedupe_bytes(shard_.dedupe_bytes() - std::min(shard_.dedupe_bytes(), bytes));
  }
  shard_.set_next_sweep_us(shard_.time_us() + (expired.size() < kSweepRows ? kSweepEveryUs : 0));
  return absl::OkStatus();
}

absl::StatusOr<std::optional<pb::DedupeState>> Dedupe::Find(const PushView& push) {
  const int64_t id_ms = push.request_id.unix_millis();
  if (id_ms > clock_us_ / 1000 + kMaxAheadMs) {
    return MakeError(Reason::REQUEST_ID_IN_FUTURE,
                     "request_id is more than a minute ahead of the log's clock");
  }
  if (id_ms < HorizonMs()) {
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
  if (predecessor.unix_millis() < HorizonMs()) {
    return missing("is older than the dedupe window: whether it is in is no longer known");
  }
  SLUICE_ASSIGN_OR_RETURN(const auto row, rows_.Get(DedupeKey(predecessor)));
  if (!row) return missing("is not in");
  SLUICE_ASSIGN_OR_RETURN(const pb::DedupeState state, Parse(*row, collection));
  if (state.collection_id() != collection.view()) return missing("is of another collection");
  return absl::OkStatus();
}

absl::Status Dedupe::CheckRoom() {
  const uint64_t most = shard_.policy().dedupe_max_bytes();
  if (most == 0 || shard_.dedupe_bytes() + kMaxRowBytes <= most) return absl::OkStatus();
  int64_t oldest_ms = 0;
  SLUICE_RETURN_IF_ERROR(rows_.Scan(DedupeKeyAt(HorizonMs()),
                                    PrefixEnd(TypePrefix(RowType::kDedupe)),
                                    [&](std::string_view key, std::string_view) {
                                      oldest_ms = TimeOfDedupeKey(key);
                                      return false;
                                    }));
  const std::chrono::milliseconds wait(oldest_ms - HorizonMs());
  return MakeRetryableError(Reason::OVERLOADED,
                            absl::StrCat("request ids of the dedupe window take ",
                                         shard_.dedupe_bytes(), " bytes; the limit is ", most),
                            std::clamp(wait, kLeastRetry, kMostRetry), {{"limit", "dedupe"}});
}

void Dedupe::Remember(const PushView& push, SeqId first) {
  pb::DedupeState row;
  row.set_collection_id(push.collection.view().data(), push.collection.view().size());
  row.set_first_seq_id(first.value);
  row.set_count(push.count);
  row.set_fingerprint_high(push.fingerprint.high);
  row.set_fingerprint_low(push.fingerprint.low);
  row.set_commit_time_us(shard_.time_us());
  const std::string key = DedupeKey(push.request_id);
  const std::string value = row.SerializeAsString();
  shard_.set_dedupe_bytes(shard_.dedupe_bytes() + key.size() + value.size());
  rows_.Put(key, value);
}

}  // namespace sluice::log

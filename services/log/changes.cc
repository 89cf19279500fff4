#include "services/log/changes.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "common/record/scan.h"
#include "services/log/append.h"
#include "services/log/keys.h"

namespace sluice::log {
namespace {

// The records' bytes as an append of the log would hold them.
AppendView ViewOf(SeqId first, uint32_t count, std::string_view tables, std::string_view records) {
  AppendView append;
  append.first = first;
  append.count = count;
  append.tables = tables;
  append.records = records;
  return append;
}

std::string_view IdAt(const AppendView& append, uint32_t i) {
  const uint32_t begin = append.offset(i);
  const uint32_t end = append.offset(i + 1);
  if (begin > end || end > append.records.size()) return {};
  return IdOfRecord(append.records.substr(begin, end - begin)).value_or(std::string_view());
}

// The ids that a condition is about, to be found by hash.
class WatchedIds {
 public:
  explicit WatchedIds(const PushView& push)
      : listed_(push.conditions->ids_unchanged()),
        own_(ViewOf(SeqId(1), push.count, push.tables, push.records)) {
    const bool own = listed_.ids().empty();
    const auto count = own ? push.count : static_cast<uint32_t>(listed_.ids_size());
    by_hash_.reserve(count);
    for (uint32_t i = 0; i < count; ++i) {
      by_hash_.emplace_back(own ? own_.id_hash(i) : IdHash64(listed_.ids(static_cast<int>(i))), i);
    }
    std::sort(by_hash_.begin(), by_hash_.end());
  }

  bool HasHash(uint64_t hash) const {
    const auto at = std::lower_bound(by_hash_.begin(), by_hash_.end(), std::pair(hash, 0u));
    return at != by_hash_.end() && at->first == hash;
  }
  bool Has(uint64_t hash, std::string_view id) const {
    auto at = std::lower_bound(by_hash_.begin(), by_hash_.end(), std::pair(hash, 0u));
    for (; at != by_hash_.end() && at->first == hash; ++at) {
      if (Text(at->second) == id) return true;
    }
    return false;
  }

 private:
  std::string_view Text(uint32_t i) const {
    return listed_.ids().empty() ? IdAt(own_, i) : listed_.ids(static_cast<int>(i));
  }

  const pb::IdsUnchanged& listed_;
  const AppendView own_;
  std::vector<std::pair<uint64_t, uint32_t>> by_hash_;
};

// The first record of `append` from `from` on that is watched. `checked`: its records need no
// checksum any more. DATA_LOSS.
absl::StatusOr<std::optional<IdChange>> ChangeIn(const AppendView& append, SeqId from,
                                                 const WatchedIds& watched, bool checked) {
  const uint64_t skipped = from > append.first ? from.value - append.first.value : 0;
  for (auto i = static_cast<uint32_t>(skipped); i < append.count; ++i) {
    const uint64_t hash = append.id_hash(i);
    if (!watched.HasHash(hash)) continue;
    if (!checked) {
      const absl::Status sound = CheckRecords(append);
      if (!sound.ok()) return sound;
      checked = true;
    }
    const std::string_view id = IdAt(append, i);
    if (watched.Has(hash, id)) return IdChange{std::string(id), SeqId(append.first.value + i)};
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<std::optional<IdChange>> FirstChange(Rows& rows, const Log& log, SeqId since,
                                                    const PushView& push) {
  if (since.value == log.state.tail()) return std::nullopt;
  const WatchedIds watched(push);
  SeqId next(since.value + 1);
  absl::StatusOr<std::optional<IdChange>> found = std::nullopt;
  const auto visit = [&](std::string_view, std::string_view value) {
    const absl::StatusOr<AppendView> append = DecodeAppend(value);
    if (!append.ok() || append->first > next || append->last() < next) return false;
    found = ChangeIn(*append, next, watched, /*checked=*/false);
    if (!found.ok()) return false;
    next = SeqId(append->last().value + 1);
    return !found->has_value();
  };
  const absl::Status scanned = rows.Scan(
      AppendKey(log.id, next), PrefixEnd(CollectionPrefix(RowType::kAppend, log.id)), visit);
  if (!scanned.ok()) return scanned;
  // Those of this group are not among the rows yet.
  for (const Log::NewAppend& append : log.new_appends) {
    if (!found.ok() || found->has_value()) break;
    if (append.first > next || append.first.value + append.count <= next.value) continue;
    found = ChangeIn(ViewOf(append.first, append.count, append.tables, append.records), next,
                     watched, /*checked=*/true);
    next = SeqId(append.first.value + append.count);
  }
  if (!found.ok()) return LogCorrupt(log.id, next, found.status().message());
  if (!found->has_value() && next.value != log.state.tail() + 1) {
    return LogCorrupt(log.id, next, "a record is missing or damaged");
  }
  return found;
}

}  // namespace sluice::log

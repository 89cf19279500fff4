// The part of the log machine that keeps account of rows that lack the vector of their document:
// which, why, and when those that are owed are looked at again.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/coding.h"
#include "common/errors/errors.h"
#include "common/record/limits.h"
#include "common/segment/id_hash.h"
#include "services/log/log_machine.h"

namespace sluice::log {
namespace {

constexpr size_t kIdHashBytes = 16;
constexpr size_t kMaxWordsBytes = 300;
// Between looks at owed vectors while new ones come to them: the embedder is away.
constexpr int64_t kOwedPauseUs = 30'000'000;
// Texts in the window, beyond which it is halved.
constexpr uint64_t kWindowTexts = 20'000;

absl::Status Invalid(std::string_view field, std::string_view what) {
  return MakeError(Reason::INVALID_REQUEST,
                   absl::StrCat(absl::string_view(field.data(), field.size()), ": ",
                                absl::string_view(what.data(), what.size())),
                   {{"field", std::string(field)}});
}

bool IsReason(v1::MissingReason reason) {
  return reason == v1::MISSING_REASON_OWED || reason == v1::MISSING_REASON_REFUSED ||
         reason == v1::MISSING_REASON_FAILING;
}

bool IsOwed(const std::optional<v1::MissingVector>& missing) {
  return missing && missing->reason() == v1::MISSING_REASON_OWED;
}

std::string BytesOf(const IdHash& hash) {
  std::string bytes;
  PutBigEndian64(&bytes, hash.high);
  PutBigEndian64(&bytes, hash.low);
  return bytes;
}

}  // namespace

absl::StatusOr<std::optional<v1::MissingVector>> LogMachine::ReadMissing(const Log& log,
                                                                         std::string_view key) {
  SLUICE_ASSIGN_OR_RETURN(const auto row, rows_.Get(key));
  if (!row) return std::nullopt;
  v1::MissingVector missing;
  if (!missing.ParseFromString(*row)) {
    return MakeError(Reason::LOG_CORRUPT, "the row of a missing vector cannot be read",
                     {{"collection_id", log.id.ToString()}});
  }
  return missing;
}

absl::StatusOr<LogMachine::MissingChanges> LogMachine::MissingAfter(
    const Log& log, const v1::CompactionWork& work) {
  MissingChanges changes;
  const std::string_view settled = work.settled();
  if (settled.size() % kIdHashBytes != 0) {
    return Invalid("compaction.settled", "not a multiple of 16 bytes");
  }
  for (size_t at = 0; at < settled.size(); at += kIdHashBytes) {
    const std::string key = MissingKey(log.id, settled.substr(at, kIdHashBytes));
    SLUICE_ASSIGN_OR_RETURN(auto before, ReadMissing(log, key));
    changes[key] = {std::move(before), std::nullopt};
  }
  if (work.missing().empty()) return changes;
  if (!work.has_segment() || log.state.id_hash_key().size() != kIdHashBytes) {
    return Invalid("compaction.missing", "there is no segment that has these rows");
  }
  const IdHasher hasher(log.state.id_hash_key());
  for (const v1::MissingVector& missing : work.missing()) {
    if (missing.id().empty() || missing.id().size() > kMaxIdBytes || !IsReason(missing.reason()) ||
        missing.words().size() > kMaxWordsBytes) {
      return Invalid("compaction.missing", "an id, a reason or words are out of range");
    }
    const std::string key = MissingKey(log.id, BytesOf(hasher(missing.id())));
    SLUICE_ASSIGN_OR_RETURN(auto before, ReadMissing(log, key));
    changes[key] = {std::move(before), missing};
    changes[key].after->set_since_time_us(now());
  }
  return changes;
}

absl::StatusOr<LogMachine::MissingChanges> LogMachine::FindMissing(
    const Log& log, const google::protobuf::RepeatedPtrField<std::string>& ids) {
  MissingChanges found;
  if (log.state.id_hash_key().size() != kIdHashBytes) return found;
  const IdHasher hasher(log.state.id_hash_key());
  for (const std::string& id : ids) {
    const std::string key = MissingKey(log.id, BytesOf(hasher(id)));
    SLUICE_ASSIGN_OR_RETURN(auto before, ReadMissing(log, key));
    if (before) found[key] = {before, before};
  }
  return found;
}

void LogMachine::ApplyMissing(Log& log, const MissingChanges& changes) {
  pb::LogState& state = log.state;
  bool owes_more = false;
  bool owed_moved = false;
  for (const auto& [key, change] : changes) {
    const auto& [before, after] = change;
    state.set_missing_vectors(state.missing_vectors() + (after ? 1 : 0) - (before ? 1 : 0));
    state.set_owed_vectors(state.owed_vectors() + (IsOwed(after) ? 1 : 0) -
                           (IsOwed(before) ? 1 : 0));
    owes_more |= IsOwed(after);
    owed_moved |= IsOwed(before);
    if (after) {
      rows_.Put(key, after->SerializeAsString());
    } else if (before) {
      rows_.Delete(key);
    }
  }
  if (owes_more) {
    state.set_owed_due_us(now() + kOwedPauseUs);
  } else if (owed_moved) {
    // The embedder is back; there may be more.
    state.set_owed_due_us(now());
  }
}

void LogMachine::CountEmbedded(uint64_t embedded, const MissingChanges& changes,
                               v1::EmbedWindow* window) {
  uint64_t refused = 0;
  for (const auto& [key, change] : changes) {
    // What is tried again says nothing new of the model.
    if (change.after && !IsOwed(change.after) && !change.before) ++refused;
  }
  window->set_texts(window->texts() + embedded + refused);
  window->set_refused(window->refused() + refused);
  if (window->texts() <= kWindowTexts) return;
  window->set_texts(window->texts() / 2);
  window->set_refused(window->refused() / 2);
}

Result LogMachine::RetryMissing(const pb::RetryMissing& command) {
  SLUICE_ASSIGN_OR_RETURN(Log* const log, FindOpen(command.collection_id()));
  SLUICE_ASSIGN_OR_RETURN(MissingChanges changes, FindMissing(*log, command.ids()));
  if (changes.empty()) return Done{};
  for (auto& [key, change] : changes) {
    if (IsOwed(change.after)) continue;
    change.after->set_reason(v1::MISSING_REASON_OWED);
    change.after->set_since_time_us(now());
  }
  ApplyMissing(*log, changes);
  log->state.set_owed_due_us(now());
  UpdateCompactionDue(*log, /*afresh=*/false);
  table_.Moved(*log);
  return Done{};
}

Result LogMachine::DropMissing(const pb::DropMissing& command) {
  SLUICE_ASSIGN_OR_RETURN(Log* const log, FindOpen(command.collection_id()));
  SLUICE_ASSIGN_OR_RETURN(MissingChanges changes, FindMissing(*log, command.ids()));
  if (changes.empty()) return Done{};
  for (auto& [key, change] : changes) change.after.reset();
  ApplyMissing(*log, changes);
  UpdateCompactionDue(*log, /*afresh=*/false);
  table_.Touch(*log);
  return Done{};
}

}  // namespace sluice::log

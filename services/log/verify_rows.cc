#include "services/log/verify_rows.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <optional>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/coding.h"
#include "common/errors/errors.h"
#include "services/log/command.pb.h"
#include "services/log/keys.h"
#include "services/log/verify_log.h"
#include "sluice/v1/collection.pb.h"
#include "sluice/v1/compaction.pb.h"

namespace sluice::log {
namespace {

constexpr size_t kUuidBytes = 16;
// Logs whose ids are read at once.
constexpr size_t kLogsAtOnce = 1'000;
// Logs of which is remembered how far they reach, while request ids are looked at.
constexpr size_t kReachesKept = 100'000;

constexpr std::array kTypes = {
    RowType::kAppend, RowType::kPin,    RowType::kCollection, RowType::kDue,    RowType::kGarbage,
    RowType::kLog,    RowType::kShard,  RowType::kName,       RowType::kDedupe, RowType::kSegment,
    RowType::kToken,  RowType::kCursor, RowType::kMissing,
};

std::string Shown(std::string_view key) {
  return absl::CHexEscape(absl::string_view(key.data(), key.size()));
}

template <class Message>
bool Parses(std::string_view value, Message* message) {
  return message->ParseFromArray(value.data(), static_cast<int>(value.size()));
}

// The key with the eight bytes behind `at` taken as a number, and so much added; nullopt: beyond
// the last.
std::optional<std::string> KeyPlus(std::string_view key, size_t at, uint64_t more) {
  std::string padded(key);
  padded.resize(std::max(padded.size(), at + 8), '\0');
  const uint64_t number = GetBigEndian64(padded.data() + at);
  if (number + more < number) return std::nullopt;
  padded.resize(at);
  PutBigEndian64(&padded, number + more);
  return padded;
}

bool CanSeek(Snapshot::Iterator& it, std::string_view key) {
  it.Seek(key);
  return it.Valid() || it.status().ok();
}

// A key behind `from`, which cannot be read, from which on rows can; nullopt: there is none. Found
// by ever longer steps, then halving the last one.
std::optional<std::string> NextReadable(Snapshot::Iterator& it, std::string_view from, size_t at) {
  uint64_t bad = 0;
  for (uint64_t step = 1; step != 0; step <<= 1) {
    auto target = KeyPlus(from, at, step);
    if (!target) return std::nullopt;
    if (!CanSeek(it, *target)) {
      bad = step;
      continue;
    }
    uint64_t good = step;
    while (good - bad > 1) {
      const uint64_t middle = bad + (good - bad) / 2;
      (CanSeek(it, *KeyPlus(from, at, middle)) ? good : bad) = middle;
    }
    return KeyPlus(from, at, good);
  }
  return std::nullopt;
}

// Checks what belongs to no single log.
class RowVerifier {
 public:
  RowVerifier(const Store& store, VerifyWork& work) : store_(store), work_(work) {}

  absl::Status Run() {
    SLUICE_RETURN_IF_ERROR(Step("rows of the shard", [this] { return CheckShard(); }));
    SLUICE_RETURN_IF_ERROR(Step("rows of unknown kinds", [this] { return FindUnknown(); }));
    SLUICE_RETURN_IF_ERROR(Step("the catalog", [this] { return CheckCatalog(); }));
    SLUICE_RETURN_IF_ERROR(Step("due work", [this] { return CheckDue(); }));
    SLUICE_RETURN_IF_ERROR(Step("garbage", [this] { return CheckGarbage(); }));
    SLUICE_RETURN_IF_ERROR(CheckLogs());
    SLUICE_RETURN_IF_ERROR(Step("counts of the shard", [this] { return CheckCounts(); }));
    return Step("request ids", [this] { return CheckDedupe(); });
  }

 private:
  using Visit = absl::FunctionRef<absl::Status(std::string_view, std::string_view)>;

  template <class Check>
  absl::Status Step(std::string_view name, Check check) {
    return work_.Begin(name) ? check() : absl::OkStatus();
  }
  Snapshot Take() const { return Snapshot(store_, Snapshot::Cache::kLeave); }
  void Contradicts(std::string what) { work_.Find(ContradictionOf(std::move(what))); }
  void Unreadable(std::string_view what, std::string_view key) {
    work_.Find(DamageOf(
        absl::DataLossError(absl::StrCat(std::string(what), " ", Shown(key), " cannot be read")),
        kRestoreAdvice));
  }

  // A row of another type that this one depends on. False: it is not there; what cannot be read is
  // found where it is looked at itself.
  absl::StatusOr<bool> Find(const Snapshot& snapshot, const std::string& key, std::string* value) {
    const auto row = snapshot.Get(key);
    if (IsDamage(row.status())) {
      value->clear();
      return true;
    }
    SLUICE_RETURN_IF_ERROR(row.status());
    if (row->has_value()) *value = **row;
    return row->has_value();
  }

  absl::Status CheckShard() {
    const Snapshot snapshot = Take();
    const uint64_t findings = work_.findings();
    bool there = false;
    SLUICE_RETURN_IF_ERROR(VisitRows(snapshot, TypePrefix(RowType::kShard), "", work_,
                                     [&](std::string_view key, std::string_view value) {
                                       pb::ShardState shard;
                                       there = there || key == ShardKey();
                                       if (key != ShardKey()) {
                                         Contradicts("a row like the shard's: " + Shown(key));
                                       } else if (!Parses(value, &shard)) {
                                         Unreadable("the shard's row", key);
                                       } else {
                                         last_pin_ = shard.last_pin();
                                         backup_epoch_ = shard.backup_epoch();
                                       }
                                       return absl::OkStatus();
                                     }));
    if (!there && work_.findings() == findings) Contradicts("the shard has no row");
    return VisitRows(snapshot, TypePrefix(RowType::kPin), "", work_,
                     [&](std::string_view key, std::string_view value) {
                       const auto number = DecodePinKey(key);
                       pb::PinState pin;
                       if (!number || !Parses(value, &pin)) {
                         Unreadable("a backup's pin", key);
                       } else if (*number == 0 || *number > last_pin_) {
                         Contradicts(absl::StrCat("pin ", *number, " is none that was begun"));
                       } else if (!HasEpochs(pin)) {
                         Contradicts(absl::StrCat("pin ", *number, " is of backup epochs ",
                                                  pin.begun_epoch(), " and ", pin.sealed_epoch(),
                                                  "; the shard's is ", backup_epoch_));
                       }
                       return absl::OkStatus();
                     });
  }

  // That the shard's epoch is none before the pin's.
  bool HasEpochs(const pb::PinState& pin) const {
    const bool sealed = pin.sealed_epoch() != 0;
    return pin.begun_epoch() != 0 && pin.begun_epoch() <= backup_epoch_ &&
           (!sealed ||
            (pin.sealed_epoch() > pin.begun_epoch() && pin.sealed_epoch() <= backup_epoch_));
  }

  absl::Status FindUnknown() {
    const Snapshot snapshot = Take();
    auto it = snapshot.Scan(std::string(1, '\0'), std::string(1, '\xff'));
    while (it.Valid()) {
      const RowType type = RowTypeOf(it.key());
      if (std::find(kTypes.begin(), kTypes.end(), type) == kTypes.end()) {
        Contradicts("a row of no known kind: " + Shown(it.key()));
      }
      it.Seek(PrefixEnd(TypePrefix(type)));
    }
    // What cannot be read is found where the rows of its kind are looked at.
    return IsDamage(it.status()) ? absl::OkStatus() : it.status();
  }

  absl::Status CheckCatalog() {
    const Snapshot snapshot = Take();
    SLUICE_RETURN_IF_ERROR(
        VisitRows(snapshot, TypePrefix(RowType::kCollection), "", work_,
                  [&](std::string_view key, std::string_view value) -> absl::Status {
                    v1::Collection collection;
                    if (!CollectionOfKey(key) || key.size() != 1 + kUuidBytes ||
                        !Parses(value, &collection)) {
                      Unreadable("a collection's row", key);
                      return absl::OkStatus();
                    }
                    return CheckCollection(snapshot, *CollectionOfKey(key), collection);
                  }));
    return VisitRows(
        snapshot, TypePrefix(RowType::kName), "", work_,
        [&](std::string_view key, std::string_view value) -> absl::Status {
          if (value.size() != kUuidBytes) {
            Unreadable("a name's row", key);
            return absl::OkStatus();
          }
          const CollectionId id(Uuid::FromBytes(value));
          std::string row;
          SLUICE_ASSIGN_OR_RETURN(const bool found, Find(snapshot, CollectionKey(id), &row));
          v1::Collection named;
          if (!found || (Parses(row, &named) && !row.empty() && KeyOf(named) != key)) {
            work_.Find(ContradictionOf(
                id, absl::StrCat("the name ", Shown(key), " is not the collection's")));
          }
          return absl::OkStatus();
        });
  }

  static std::string KeyOf(const v1::Collection& collection) {
    return NameKey(collection.tenant(), collection.database(), collection.name());
  }

  absl::Status CheckCollection(const Snapshot& snapshot, const CollectionId& id,
                               const v1::Collection& collection) {
    if (collection.id() != id.ToString()) {
      work_.Find(ContradictionOf(id, "its row names collection " + collection.id()));
    }
    if (collection.state() == v1::COLLECTION_STATE_DELETED) return absl::OkStatus();
    std::string owner;
    SLUICE_ASSIGN_OR_RETURN(const bool named, Find(snapshot, KeyOf(collection), &owner));
    if (!named || (owner.size() == kUuidBytes && owner != id.view())) {
      work_.Find(ContradictionOf(id, "it does not have the name that its row says"));
    }
    if (collection.state() != v1::COLLECTION_STATE_ACTIVE) return absl::OkStatus();
    std::string log;
    SLUICE_ASSIGN_OR_RETURN(const bool opened, Find(snapshot, LogKey(id), &log));
    if (!opened) work_.Find(ContradictionOf(id, "it is active, and has no log"));
    return absl::OkStatus();
  }

  static int64_t DueOf(const pb::LogState& log, DueKind kind) {
    switch (kind) {
      case DueKind::kCompaction:
        return log.compaction_due_us();
      case DueKind::kMerge:
        return log.merge_due_us();
      case DueKind::kTrim:
        return log.trim_due_us();
    }
    return 0;
  }

  // That each row is what its log says; the other way round: VerifyLog.
  absl::Status CheckDue() {
    const Snapshot snapshot = Take();
    return VisitRows(
        snapshot, TypePrefix(RowType::kDue), "", work_,
        [&](std::string_view key, std::string_view) -> absl::Status {
          const auto due = DecodeDueKey(key);
          if (!due) {
            Unreadable("a row of due work", key);
            return absl::OkStatus();
          }
          std::string row;
          SLUICE_ASSIGN_OR_RETURN(const bool found, Find(snapshot, LogKey(due->collection), &row));
          pb::LogState log;
          if (found && (row.empty() || !log.ParseFromString(row))) return absl::OkStatus();
          if (!found || due->due_us == 0 || DueOf(log, due->kind) != due->due_us) {
            work_.Find(ContradictionOf(due->collection,
                                       absl::StrCat("work is due at ", due->due_us,
                                                    " of which the log's state does not know")));
          }
          return absl::OkStatus();
        });
  }

  absl::Status CheckGarbage() {
    const Snapshot snapshot = Take();
    return VisitRows(snapshot, TypePrefix(RowType::kGarbage), "", work_,
                     [&](std::string_view key, std::string_view value) -> absl::Status {
                       const auto garbage = DecodeGarbageKey(key);
                       v1::GarbageEntry entry;
                       const bool known = garbage && (garbage->kind == GarbageKind::kSegment ||
                                                      garbage->kind == GarbageKind::kToken ||
                                                      garbage->kind == GarbageKind::kCollection);
                       if (!known || !Parses(value, &entry)) {
                         Unreadable("a garbage row", key);
                         return absl::OkStatus();
                       }
                       std::string log;
                       SLUICE_ASSIGN_OR_RETURN(const bool found,
                                               Find(snapshot, LogKey(garbage->collection), &log));
                       if (!found || entry.collection_id() != garbage->collection.ToString()) {
                         work_.Find(ContradictionOf(garbage->collection,
                                                    "garbage of it is no log's, or another's"));
                       }
                       return absl::OkStatus();
                     });
  }

  absl::Status CheckLogs() {
    std::string begin = TypePrefix(RowType::kLog);
    const std::string end = PrefixEnd(begin);
    for (;;) {
      std::vector<CollectionId> ids;
      SLUICE_RETURN_IF_ERROR(ReadIds(&begin, end, &ids));
      if (ids.empty()) return absl::OkStatus();
      for (const CollectionId& id : ids) {
        if (!work_.Begin(id.ToString())) continue;
        SLUICE_RETURN_IF_ERROR(VerifyLog(store_, id, work_));
      }
    }
  }

  // The next ids of logs from `*begin` on, which becomes the key to go on at.
  absl::Status ReadIds(std::string* begin, const std::string& end, std::vector<CollectionId>* ids) {
    const Snapshot snapshot = Take();
    auto it = snapshot.Scan(*begin, end);
    while (ids->size() < kLogsAtOnce) {
      if (!it.Valid()) {
        if (it.status().ok()) return absl::OkStatus();
        if (!IsDamage(it.status())) return it.status();
        work_.Find(
            DamageOf(Annotate(it.status(), "states of logs cannot be read"), kRestoreAdvice));
        auto next = NextReadable(it, *begin, 1);
        if (!next) return absl::OkStatus();
        *begin = *std::move(next);
        it.Seek(*begin);
        continue;
      }
      const auto id = CollectionOfKey(it.key());
      if (id && it.key().size() == 1 + kUuidBytes) {
        ids->push_back(*id);
      } else {
        Unreadable("a log's row", it.key());
      }
      *begin = std::string(it.key()) + '\0';
      it.Next();
    }
    return absl::OkStatus();
  }

  // What the shard's row says of all logs. A row that cannot be read is found where it is looked at
  // itself; nothing is known of a sum without it.
  absl::Status CheckCounts() {
    const Snapshot snapshot = Take();
    std::string row;
    SLUICE_ASSIGN_OR_RETURN(const bool found, Find(snapshot, ShardKey(), &row));
    pb::ShardState shard;
    if (!found || row.empty() || !shard.ParseFromString(row)) return absl::OkStatus();
    uint64_t segments = 0;
    auto it = snapshot.Scan(TypePrefix(RowType::kLog), PrefixEnd(TypePrefix(RowType::kLog)));
    for (; it.Valid(); it.Next()) {
      SLUICE_RETURN_IF_ERROR(work_.Read(it.key().size() + it.value().size()));
      const auto id = CollectionOfKey(it.key());
      pb::LogState log;
      if (!id || !Parses(it.value(), &log)) return absl::OkStatus();
      segments += log.segments();
      if (log.opened_backup_epoch() > shard.backup_epoch()) {
        work_.Find(ContradictionOf(
            *id, absl::StrCat("it was opened in backup epoch ", log.opened_backup_epoch(),
                              "; the shard's is ", shard.backup_epoch())));
      }
    }
    if (!it.status().ok()) return IsDamage(it.status()) ? absl::OkStatus() : it.status();
    if (segments != shard.segments()) {
      Contradicts(
          absl::StrCat("logs count ", segments, " segments; the shard counts ", shard.segments()));
    }
    return absl::OkStatus();
  }

  // How far a log reaches, as far as was looked.
  struct Reach {
    uint64_t trim = 0;
    uint64_t tail = 0;
  };
  absl::StatusOr<std::optional<Reach>> ReadReach(const Snapshot& snapshot, const CollectionId& id) {
    std::string row;
    SLUICE_ASSIGN_OR_RETURN(const bool found, Find(snapshot, LogKey(id), &row));
    if (!found) return std::nullopt;
    pb::LogState log;
    if (row.empty() || !log.ParseFromString(row)) return Reach{UINT64_MAX, UINT64_MAX};
    return Reach{log.deleted() ? UINT64_MAX : log.trim(), log.tail()};
  }

  // That each row names records which the log has had; that appends have their rows: VerifyLog.
  absl::Status CheckDedupe() {
    const Snapshot snapshot = Take();
    std::map<CollectionId, std::optional<Reach>> reaches;
    uint64_t bytes = 0;
    const uint64_t findings = work_.findings();
    SLUICE_RETURN_IF_ERROR(
        VisitRows(snapshot, TypePrefix(RowType::kDedupe), "", work_,
                  [&](std::string_view key, std::string_view value) -> absl::Status {
                    bytes += key.size() + value.size();
                    pb::DedupeState state;
                    if (key.size() != 1 + kUuidBytes || !Parses(value, &state) ||
                        state.collection_id().size() != kUuidBytes || state.count() == 0 ||
                        state.first_seq_id() == 0) {
                      Unreadable("the row of a request id", key);
                      return absl::OkStatus();
                    }
                    const CollectionId id(Uuid::FromBytes(state.collection_id()));
                    if (reaches.size() >= kReachesKept) reaches.clear();
                    auto reach = reaches.find(id);
                    if (reach == reaches.end()) {
                      SLUICE_ASSIGN_OR_RETURN(const auto read, ReadReach(snapshot, id));
                      reach = reaches.emplace(id, read).first;
                    }
                    const uint64_t last = state.first_seq_id() + state.count() - 1;
                    if (reach->second && last <= reach->second->trim) return absl::OkStatus();
                    if (reach->second && last <= reach->second->tail)
                      return CheckNamed(snapshot, id, last);
                    v1::VerifyFinding finding = ContradictionOf(
                        id, absl::StrCat("request id ", Uuid::FromBytes(key.substr(1)).ToString(),
                                         " is said to be in at records that the log never had"));
                    finding.set_first_seq_id(state.first_seq_id());
                    finding.set_last_seq_id(last);
                    work_.Find(std::move(finding));
                    return absl::OkStatus();
                  }));
    if (work_.findings() != findings) return absl::OkStatus();
    // Rows of an older store were not counted.
    std::string row;
    SLUICE_ASSIGN_OR_RETURN(const bool found, Find(snapshot, ShardKey(), &row));
    pb::ShardState shard;
    if (found && shard.ParseFromString(row) && shard.dedupe_bytes() > bytes) {
      Contradicts(absl::StrCat("rows of request ids take ", bytes, " bytes; the shard counts ",
                               shard.dedupe_bytes()));
    }
    return absl::OkStatus();
  }

  // That an append ends with this record, unless it is trimmed.
  absl::Status CheckNamed(const Snapshot& snapshot, const CollectionId& id, uint64_t last) {
    const std::string key = AppendKey(id, SeqId(last));
    const auto stored = store_.FindStored(key, key);
    // Said by VerifyLog.
    if (IsDamage(stored.status())) return absl::OkStatus();
    SLUICE_RETURN_IF_ERROR(stored.status());
    if (stored->has_value()) return absl::OkStatus();
    SLUICE_ASSIGN_OR_RETURN(const auto row, snapshot.GetLatest(LogKey(id)));
    pb::LogState log;
    const bool trimmed = row && log.ParseFromString(*row) && (log.trim() >= last || log.deleted());
    if (trimmed) return absl::OkStatus();
    v1::VerifyFinding finding =
        ContradictionOf(id, absl::StrCat("a request id is said to be in with an append that ends "
                                         "at SeqId ",
                                         last, ": there is none"));
    finding.set_last_seq_id(last);
    work_.Find(std::move(finding));
    return absl::OkStatus();
  }

  const Store& store_;
  VerifyWork& work_;
  uint64_t last_pin_ = UINT64_MAX;
  uint64_t backup_epoch_ = UINT64_MAX;
};

}  // namespace

absl::Status VisitRows(const Snapshot& snapshot, std::string_view prefix,
                       std::string_view collection, VerifyWork& work,
                       absl::FunctionRef<absl::Status(std::string_view, std::string_view)> visit) {
  std::string next(prefix);
  auto it = snapshot.Scan(prefix, PrefixEnd(prefix));
  for (;;) {
    for (; it.Valid(); it.Next()) {
      SLUICE_RETURN_IF_ERROR(work.Read(it.key().size() + it.value().size()));
      SLUICE_RETURN_IF_ERROR(visit(it.key(), it.value()));
      next = std::string(it.key()) + '\0';
    }
    absl::Status ended = it.status();
    if (!IsDamage(ended)) return ended;
    const std::string from = next;
    const auto readable = NextReadable(it, from, prefix.size());
    v1::VerifyFinding finding =
        DamageOf(Annotate(ended, absl::StrCat("rows from ", Shown(from), " on",
                                              readable ? ", before " + Shown(*readable) : "",
                                              ", cannot be read")),
                 kRestoreAdvice);
    finding.set_collection_id(std::string(collection));
    work.Find(std::move(finding));
    if (!readable) return absl::OkStatus();
    next = *readable;
    it.Seek(next);
  }
}

absl::Status VerifyRows(const Store& store, VerifyWork& work) {
  return RowVerifier(store, work).Run();
}

}  // namespace sluice::log

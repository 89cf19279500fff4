#include "services/log/verify_log.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/coding.h"
#include "common/errors/errors.h"
#include "common/record/limits.h"
#include "common/record/scan.h"
#include "common/segment/id_hash.h"
#include "services/log/append_reader.h"
#include "services/log/command.pb.h"
#include "services/log/cursor.h"
#include "services/log/keys.h"
#include "services/log/log_table.h"
#include "services/log/retention.h"
#include "services/log/verify_rows.h"
#include "sluice/v1/compaction.pb.h"
#include "sluice/v1/segment.pb.h"

namespace sluice::log {
namespace {

constexpr size_t kUuidBytes = 16;
// Appends read from one snapshot.
constexpr uint64_t kStretchBytes = 64 << 20;

template <class Message>
bool Parses(std::string_view value, Message* message) {
  return message->ParseFromArray(value.data(), static_cast<int>(value.size()));
}

// What in a log's state contradicts itself; "": nothing.
std::string ContradictionIn(const pb::LogState& log) {
  const bool log_only = log.schema().log_only();
  if (log.purged() && !log.deleted()) return "it is purged, and not deleted";
  if (log.applied() > log.tail() || log.trim() > log.tail() ||
      (!log_only && log.trim() > log.applied())) {
    return absl::StrCat("trim ", log.trim(), ", applied ", log.applied(), " and tail ", log.tail(),
                        " are not in order");
  }
  if (log.applied_bytes() > log.tail_bytes() || log.trim_bytes() > log.tail_bytes() ||
      (!log_only && log.trim_bytes() > log.applied_bytes()) ||
      (log.trim() == log.tail() && log.trim_bytes() != log.tail_bytes()) ||
      (log.applied() == log.tail() && log.applied_bytes() != log.tail_bytes())) {
    return absl::StrCat("bytes up to trim ", log.trim_bytes(), ", applied ", log.applied_bytes(),
                        " and tail ", log.tail_bytes(), " do not fit their SeqIds");
  }
  if (log.let_go() > Passed(log)) {
    return absl::StrCat("retention let go of ", log.let_go(), ", which did not pass");
  }
  uint64_t before = 0;
  for (const pb::RetentionMark& mark : log.marks()) {
    if (mark.seq_id() < before || mark.seq_id() > Passed(log)) {
      return "marks of retention are not in order";
    }
    before = mark.seq_id();
  }
  return "";
}

// Records, both inclusive; 0: none.
struct Range {
  uint64_t first = 0;
  uint64_t last = 0;
};

class LogVerifier {
 public:
  LogVerifier(const Store& store, const CollectionId& id, VerifyWork& work)
      : store_(store), id_(id), work_(work) {}

  absl::Status Run() {
    const Snapshot snapshot(store_, Snapshot::Cache::kLeave);
    const auto row = snapshot.Get(LogKey(id_));
    if (IsDamage(row.status())) {
      Damaged(row.status(), {});
      return absl::OkStatus();
    }
    SLUICE_RETURN_IF_ERROR(row.status());
    if (!row->has_value()) return absl::OkStatus();
    work_.CountLog();
    if (!log_.ParseFromString(**row)) {
      Unreadable("the log's state");
      return absl::OkStatus();
    }
    if (const std::string what = ContradictionIn(log_); !what.empty()) Contradicts(what);
    if (log_.purged()) return absl::OkStatus();
    SLUICE_RETURN_IF_ERROR(CheckSegments(snapshot));
    SLUICE_RETURN_IF_ERROR(CheckCursors(snapshot));
    SLUICE_RETURN_IF_ERROR(CheckMissing(snapshot));
    SLUICE_RETURN_IF_ERROR(CheckTokens(snapshot));
    SLUICE_RETURN_IF_ERROR(CheckDue(snapshot));
    if (log_.deleted()) return absl::OkStatus();
    return CheckAppends(snapshot);
  }

 private:
  absl::Status Visit(const Snapshot& snapshot, RowType type,
                     absl::FunctionRef<absl::Status(std::string_view, std::string_view)> visit) {
    return VisitRows(snapshot, CollectionPrefix(type, id_), id_.ToString(), work_, visit);
  }

  void Contradicts(const std::string& what, Range range = {}) {
    v1::VerifyFinding finding = ContradictionOf(id_, what);
    finding.set_first_seq_id(range.first);
    finding.set_last_seq_id(range.last);
    work_.Find(std::move(finding));
  }
  void Damaged(const absl::Status& error, Range range, std::string_view file = "") {
    std::string advice(kRestoreAdvice);
    if (range.last != 0 && range.last <= log_.applied()) {
      advice = absl::StrCat("the segments reflect these records: trim the log up to SeqId ",
                            range.last, " (TrimLog), or restore a backup");
    }
    v1::VerifyFinding finding = DamageOf(error, advice);
    finding.set_collection_id(id_.ToString());
    finding.set_first_seq_id(range.first);
    finding.set_last_seq_id(range.last);
    if (!file.empty()) finding.set_file(absl::StrCat("store/", std::string(file)));
    work_.Find(std::move(finding));
  }
  void Unreadable(absl::string_view what) {
    Damaged(LogCorrupt(id_, SeqId(0), absl::StrCat(what, " cannot be read")), {});
  }

  absl::Status CheckSegments(const Snapshot& snapshot) {
    const uint64_t findings = work_.findings();
    uint64_t count = 0;
    uint64_t before = 0;
    SLUICE_RETURN_IF_ERROR(
        Visit(snapshot, RowType::kSegment,
              [&](std::string_view key, std::string_view value) -> absl::Status {
                ++count;
                v1::SegmentInfo segment;
                if (!Parses(value, &segment)) {
                  Unreadable("a segment's row");
                  return absl::OkStatus();
                }
                const SeqId up_to(segment.up_to_seq_id());
                if (SegmentKey(id_, up_to, segment.fill()) != key) {
                  Contradicts("a segment is not what its key says",
                              {segment.after_seq_id() + 1, up_to.value});
                } else if (segment.after_seq_id() < before ||
                           segment.after_seq_id() > up_to.value || up_to.value > log_.applied()) {
                  Contradicts("a segment covers what others cover, or what is not applied",
                              {segment.after_seq_id() + 1, up_to.value});
                } else if (segment.token() == 0 || segment.token() > log_.last_token() ||
                           segment.number() == 0) {
                  Contradicts("a segment is of a lease that was never granted",
                              {segment.after_seq_id() + 1, up_to.value});
                }
                before = std::max(before, up_to.value);
                return absl::OkStatus();
              }));
    if (work_.findings() != findings) return absl::OkStatus();
    // Not kept yet in a log that was not written since it is.
    if (log_.segments() != 0 && count != log_.segments()) {
      Contradicts(absl::StrCat("it has ", count, " segments; its state counts ", log_.segments()));
    }
    return absl::OkStatus();
  }

  absl::Status CheckCursors(const Snapshot& snapshot) {
    const uint64_t findings = work_.findings();
    uint64_t count = 0;
    std::optional<uint64_t> slowest;
    SLUICE_RETURN_IF_ERROR(
        Visit(snapshot, RowType::kCursor,
              [&](std::string_view key, std::string_view value) -> absl::Status {
                ++count;
                const auto parts = DecodeCursorKey(key);
                pb::CursorState cursor;
                if (!parts || !CheckConsumersCursor(parts->name).ok() || !Parses(value, &cursor)) {
                  Unreadable("the row of a cursor");
                  return absl::OkStatus();
                }
                const bool lost = cursor.loss() != v1::CURSOR_LOSS_UNSPECIFIED;
                if (cursor.seq_id() > log_.tail() || (!lost && cursor.seq_id() < log_.trim())) {
                  Contradicts(absl::StrCat("cursor ", std::string(parts->name), " stands at SeqId ",
                                           cursor.seq_id(), ", outside of ", log_.trim(), " to ",
                                           log_.tail()));
                }
                if (!lost) slowest = std::min(cursor.seq_id(), slowest.value_or(UINT64_MAX));
                return absl::OkStatus();
              }));
    if (work_.findings() != findings) return absl::OkStatus();
    if (count != log_.cursors()) {
      Contradicts(absl::StrCat("it has ", count, " cursors; its state counts ", log_.cursors()));
    } else if (slowest.has_value() != log_.has_slowest_cursor() ||
               slowest.value_or(0) != log_.slowest_cursor()) {
      Contradicts("its state does not say where the slowest cursor stands");
    }
    return absl::OkStatus();
  }

  absl::Status CheckMissing(const Snapshot& snapshot) {
    const uint64_t findings = work_.findings();
    uint64_t count = 0;
    uint64_t owed = 0;
    SLUICE_RETURN_IF_ERROR(
        Visit(snapshot, RowType::kMissing,
              [&](std::string_view key, std::string_view value) -> absl::Status {
                ++count;
                v1::MissingVector missing;
                if (!Parses(value, &missing)) {
                  Unreadable("the row of a missing vector");
                  return absl::OkStatus();
                }
                owed += missing.reason() == v1::MISSING_REASON_OWED ? 1 : 0;
                if (key != MissingKey(id_, HashOf(missing.id()))) {
                  Contradicts("the row of a missing vector is not of the id that its key says");
                }
                return absl::OkStatus();
              }));
    if (work_.findings() != findings) return absl::OkStatus();
    if (count != log_.missing_vectors() || owed != log_.owed_vectors()) {
      Contradicts(absl::StrCat("it has ", count, " rows of missing vectors, ", owed,
                               " of them owed; its state counts ", log_.missing_vectors(), " and ",
                               log_.owed_vectors()));
    }
    return absl::OkStatus();
  }

  std::string HashOf(const std::string& id) const {
    if (log_.id_hash_key().size() != 16) return "";
    const IdHash hash = IdHasher(log_.id_hash_key())(id);
    std::string bytes;
    PutBigEndian64(&bytes, hash.high);
    PutBigEndian64(&bytes, hash.low);
    return bytes;
  }

  absl::Status CheckTokens(const Snapshot& snapshot) {
    const uint64_t findings = work_.findings();
    std::vector<uint64_t> held;
    SLUICE_RETURN_IF_ERROR(Visit(
        snapshot, RowType::kToken,
        [&](std::string_view key, std::string_view value) -> absl::Status {
          pb::TokenState token;
          const uint64_t number =
              key.size() == 1 + kUuidBytes + 8 ? GetBigEndian64(key.data() + 1 + kUuidBytes) : 0;
          if (number == 0 || !Parses(value, &token)) {
            Unreadable("the row of a lease token");
          } else if (number > log_.last_token()) {
            Contradicts(absl::StrCat("lease token ", number, " was never granted"));
          } else if (!token.ended()) {
            held.push_back(number);
          }
          return absl::OkStatus();
        }));
    if (work_.findings() != findings) return absl::OkStatus();
    for (const pb::LeaseState* lease : {&log_.compaction_lease(), &log_.merge_lease()}) {
      if (lease->token() == 0) continue;
      if (std::find(held.begin(), held.end(), lease->token()) == held.end()) {
        Contradicts(
            absl::StrCat("lease ", lease->token(), " is held, and has ended or has no row"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckDue(const Snapshot& snapshot) {
    const std::pair<DueKind, int64_t> all[] = {{DueKind::kCompaction, log_.compaction_due_us()},
                                               {DueKind::kMerge, log_.merge_due_us()},
                                               {DueKind::kTrim, log_.trim_due_us()}};
    for (const auto& [kind, due_us] : all) {
      if (due_us == 0) continue;
      const auto row = snapshot.Get(EncodeDueKey({kind, due_us, id_}));
      // Said where all due work is looked at.
      if (IsDamage(row.status())) continue;
      SLUICE_RETURN_IF_ERROR(row.status());
      if (!row->has_value()) {
        Contradicts(absl::StrCat("its state says that work is due at ", due_us,
                                 ", of which there is no row"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckAppends(const Snapshot& first) {
    uint64_t next = log_.trim() + 1;
    SLUICE_RETURN_IF_ERROR(ReadStretch(first, &next));
    while (next <= log_.tail()) {
      const Snapshot snapshot(store_, Snapshot::Cache::kLeave);
      SLUICE_ASSIGN_OR_RETURN(const auto row, snapshot.Get(LogKey(id_)));
      pb::LogState now;
      if (!row || !now.ParseFromString(*row) || now.deleted()) return absl::OkStatus();
      if (now.trim() >= next) {
        next = now.trim() + 1;
        ends_at_.reset();
        continue;
      }
      SLUICE_RETURN_IF_ERROR(ReadStretch(snapshot, &next));
    }
    const std::string prefix = CollectionPrefix(RowType::kAppend, id_);
    const auto beyond = store_.FindStored(AppendKey(id_, SeqId(log_.tail() + 1)),
                                          AppendKey(id_, SeqId(UINT64_MAX)));
    // What was pushed since is not beyond.
    SLUICE_ASSIGN_OR_RETURN(const auto latest, first.GetLatest(LogKey(id_)));
    pb::LogState now;
    if (!beyond.ok() || !*beyond || !latest || !now.ParseFromString(*latest)) {
      return absl::OkStatus();
    }
    const auto key = DecodeAppendKey((*beyond)->key);
    if (key && key->last.value > now.tail()) {
      Contradicts("there is an append beyond the tail", {now.tail() + 1, key->last.value});
    }
    return absl::OkStatus();
  }

  // Checks appends from `*next` on, until there are enough for one snapshot, or something in them
  // is damaged or trimmed; `*next` is where to go on.
  absl::Status ReadStretch(const Snapshot& snapshot, uint64_t* next) {
    SLUICE_RETURN_IF_ERROR(ReadForgotten(snapshot));
    AppendReader reader(snapshot, id_, SeqId(*next - 1), SeqId(log_.tail()));
    AppendSlice slice;
    for (uint64_t bytes = 0; bytes < kStretchBytes; bytes += slice.append.records.size()) {
      const auto more = reader.Next(&slice);
      if (ReasonOf(more.status()) == Reason::TRIMMED) return absl::OkStatus();
      if (IsDamage(more.status())) {
        const Damage damage = MeasureDamage(snapshot, *next);
        Damaged(more.status(), {*next, damage.last}, damage.file);
        *next = damage.last + 1;
        ends_at_.reset();
        return absl::OkStatus();
      }
      SLUICE_RETURN_IF_ERROR(more.status());
      if (!*more) return absl::OkStatus();
      SLUICE_RETURN_IF_ERROR(CheckSlice(snapshot, slice));
      *next = slice.last().value + 1;
      work_.CountRecords(slice.count);
      SLUICE_RETURN_IF_ERROR(work_.Read(slice.append.records.size() + slice.append.tables.size() +
                                        kAppendHeaderBytes));
    }
    return absl::OkStatus();
  }

  struct Damage {
    // The last record that cannot be read.
    uint64_t last = 0;
    // Within the store's folder; "": not known.
    std::string file;
  };
  // How far what cannot be read from `next` on reaches.
  Damage MeasureDamage(const Snapshot& snapshot, uint64_t next) {
    const uint64_t tail = log_.tail();
    const std::string end = PrefixEnd(CollectionPrefix(RowType::kAppend, id_));
    auto it = snapshot.Scan(AppendKey(id_, SeqId(next)), end);
    if (it.Valid()) {
      const auto key = DecodeAppendKey(it.key());
      const auto append = DecodeAppend(it.value());
      // One that is whole, and comes too late: what is before it is missing.
      if (append.ok() && append->first.value > next && append->last() == key->last) {
        return {std::min(tail, append->first.value - 1), ""};
      }
      return {std::min(tail, std::max(next, key->last.value)), StoredIn(next)};
    }
    if (it.status().ok()) return {tail, ""};
    // A blob: the key beside it can be read.
    const auto stored = store_.FindStored(AppendKey(id_, SeqId(next)), AppendKey(id_, SeqId(tail)));
    if (stored.ok() && stored->has_value()) {
      const auto key = DecodeAppendKey((*stored)->key);
      return {std::clamp(key ? key->last.value : next, next, tail), (*stored)->blob_file};
    }
    // A table's block: by small steps, which grow with what is damaged.
    uint64_t last = next;
    while (last < tail) {
      it.Seek(AppendKey(id_, SeqId(last + 1)));
      if (it.Valid() || it.status().ok()) {
        const auto append = it.Valid() ? DecodeAppend(it.value()) : absl::DataLossError("");
        const uint64_t first = append.ok() ? append->first.value : last + 1;
        return {it.Valid() ? std::clamp(first - 1, next, last) : tail, ""};
      }
      last = std::min(tail, last + 1 + (last - next) / 64);
    }
    return {tail, ""};
  }
  std::string StoredIn(uint64_t seq_id) const {
    const auto stored =
        store_.FindStored(AppendKey(id_, SeqId(seq_id)), AppendKey(id_, SeqId(log_.tail())));
    return stored.ok() && stored->has_value() ? (*stored)->blob_file : "";
  }

  absl::Status CheckSlice(const Snapshot& snapshot, const AppendSlice& slice) {
    const AppendView& append = slice.append;
    const Range range{append.first.value, append.last().value};
    RecordsShape shape;
    const absl::Status scanned = ScanRecords(append.records, &shape);
    if (!scanned.ok()) {
      Contradicts(absl::StrCat("an append has records that no push may have: ", scanned.message()),
                  range);
    } else if (!HasTables(append, shape)) {
      Contradicts("an append's tables are not those of its records", range);
    } else if (shape.dimension != 0 && shape.dimension != log_.dimension()) {
      Contradicts(absl::StrCat("an append's vectors have ", shape.dimension,
                               " components; the collection's ", log_.dimension()),
                  range);
    }
    if (FingerprintOf(id_.view(), append.records) != append.fingerprint) {
      Contradicts("an append's records do not match its fingerprint", range);
    }
    CheckPlace(slice, range);
    return CheckRequestId(snapshot, append, range);
  }

  static bool HasTables(const AppendView& append, const RecordsShape& shape) {
    if (shape.count != append.count) return false;
    for (uint32_t i = 0; i < append.count; ++i) {
      if (append.offset(i) != shape.offsets[i] || append.id_hash(i) != shape.id_hashes[i]) {
        return false;
      }
    }
    return true;
  }

  // That bytes and times are those of the append before it and of the log's state.
  void CheckPlace(const AppendSlice& slice, Range range) {
    const AppendView& append = slice.append;
    const uint64_t bytes_after = append.bytes_before + append.records.size();
    const auto bytes_before = [&](uint64_t seq_id) {
      return append.bytes_before + append.offset(static_cast<uint32_t>(seq_id - range.first));
    };
    const auto holds = [&](uint64_t seq_id) {
      return seq_id >= slice.first.value && seq_id <= slice.last().value;
    };
    bool fits =
        !ends_at_ || (*ends_at_ == append.bytes_before && time_us_ <= append.commit_time_us);
    if (range.last > log_.tail()) fits = false;
    if (range.last == log_.tail()) {
      fits = fits && bytes_after == log_.tail_bytes() &&
             append.commit_time_us == log_.last_commit_us();
    }
    if (holds(log_.trim() + 1)) {
      fits = fits && bytes_before(log_.trim() + 1) == log_.trim_bytes() &&
             (log_.oldest_kept_us() == 0 || log_.oldest_kept_us() == append.commit_time_us);
    }
    if (!log_.schema().log_only() && holds(log_.applied() + 1)) {
      fits = fits && bytes_before(log_.applied() + 1) == log_.applied_bytes() &&
             log_.oldest_unapplied_us() == append.commit_time_us;
    }
    if (!fits) {
      Contradicts(
          "an append's place in the log is not that of its neighbours and of the log's state",
          range);
    }
    ends_at_ = bytes_after;
    time_us_ = append.commit_time_us;
  }

  // Request ids up to here may have been forgotten.
  absl::Status ReadForgotten(const Snapshot& snapshot) {
    const auto row = snapshot.Get(ShardKey());
    pb::ShardState shard;
    const bool read = row.ok() && row->has_value() && shard.ParseFromString(**row);
    // Of a store that kept the horizon itself, as Dedupe::Advance has it.
    forgotten_ms_ =
        read ? std::max(shard.dedupe_forgotten_ms(), shard.dedupe_horizon_ms() - 1) : INT64_MAX;
    return IsDamage(row.status()) ? absl::OkStatus() : row.status();
  }

  absl::Status CheckRequestId(const Snapshot& snapshot, const AppendView& append, Range range) {
    const RequestId& request_id = append.request_id;
    if (request_id.is_nil() || request_id.unix_millis() <= forgotten_ms_) return absl::OkStatus();
    const auto row = snapshot.Get(DedupeKey(request_id));
    // Said where all request ids are looked at.
    if (IsDamage(row.status())) return absl::OkStatus();
    SLUICE_RETURN_IF_ERROR(row.status());
    pb::DedupeState state;
    if (!row->has_value()) {
      Contradicts("the request id of an append is forgotten too early", range);
    } else if (state.ParseFromString(**row) &&
               (state.collection_id() != id_.view() || state.first_seq_id() != range.first ||
                state.count() != append.count ||
                Fingerprint{state.fingerprint_high(), state.fingerprint_low()} !=
                    append.fingerprint)) {
      Contradicts("the request id of an append stands for another", range);
    }
    return absl::OkStatus();
  }

  const Store& store_;
  const CollectionId id_;
  VerifyWork& work_;
  pb::LogState log_;
  int64_t forgotten_ms_ = 0;
  // Of the append before: bytes of all records up to its end, unless what comes next does not
  // follow it; and its time.
  std::optional<uint64_t> ends_at_;
  int64_t time_us_ = 0;
};

}  // namespace

absl::Status VerifyLog(const Store& store, const CollectionId& collection, VerifyWork& work) {
  return LogVerifier(store, collection, work).Run();
}

}  // namespace sluice::log

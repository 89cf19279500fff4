#include "services/log/append_reader.h"

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "services/log/keys.h"

namespace sluice::log {

AppendSlice AppendSlice::Part(uint32_t from, uint32_t n) const {
  AppendSlice part = *this;
  part.first = SeqId(first.value + from);
  part.count = n;
  part.index = index + from;
  const uint32_t begin = append.offset(part.index);
  part.records = append.records.substr(begin, append.offset(part.index + n) - begin);
  return part;
}

AppendReader::AppendReader(const Snapshot& snapshot, const CollectionId& collection, SeqId start,
                           SeqId end)
    : snapshot_(snapshot),
      collection_(collection),
      next_(start.value + 1),
      end_(end),
      it_(snapshot.Scan(AppendKey(collection, next_),
                        PrefixEnd(CollectionPrefix(RowType::kAppend, collection)))) {}

absl::StatusOr<bool> AppendReader::Next(AppendSlice* slice) {
  SLUICE_RETURN_IF_ERROR(failed_);
  if (next_ > end_) return false;
  if (started_) it_.Next();
  started_ = true;
  failed_ = Read(slice);
  SLUICE_RETURN_IF_ERROR(failed_);
  return true;
}

absl::Status AppendReader::Read(AppendSlice* slice) {
  if (!it_.Valid()) {
    const absl::Status read = it_.status();
    if (absl::IsDataLoss(read)) return Corrupt(read.message());
    SLUICE_RETURN_IF_ERROR(read);
    return Missing("records are missing");
  }
  const auto append = DecodeAppend(it_.value());
  if (!append.ok()) return Corrupt(append.status().message());
  const auto key = DecodeAppendKey(it_.key());
  if (!key || key->last != append->last()) return Corrupt("an append is not what its key says");
  if (append->first > next_) return Missing("records are missing");
  const absl::Status checked = CheckRecords(*append);
  if (!checked.ok()) return Corrupt(checked.message());

  const uint64_t last = std::min(append->last().value, end_.value);
  AppendSlice whole;
  whole.first = append->first;
  whole.count = append->count;
  whole.commit_time_us = append->commit_time_us;
  whole.append = *append;
  whole.records = append->records;
  const auto skipped = static_cast<uint32_t>(next_.value - append->first.value);
  *slice = whole.Without(skipped).First(static_cast<uint32_t>(last + 1 - next_.value));
  next_ = SeqId(last + 1);
  return absl::OkStatus();
}

absl::Status AppendReader::Missing(absl::string_view what) const {
  // The trim filter looks at no snapshot: what was trimmed since this one was taken may be gone
  // from it.
  SLUICE_ASSIGN_OR_RETURN(const auto row, snapshot_.GetLatest(LogKey(collection_)));
  pb::LogState now;
  if (row && now.ParseFromString(*row) && (now.purged() || now.trim() >= next_.value)) {
    return MakeError(Reason::TRIMMED,
                     absl::StrCat("records from ", next_.value, " on were trimmed meanwhile"),
                     {{"first_seq_id", absl::StrCat(now.trim() + 1)}});
  }
  return Corrupt(what);
}

absl::Status AppendReader::Corrupt(absl::string_view what) const {
  return MakeError(
      Reason::LOG_CORRUPT,
      absl::StrCat("collection ", collection_.ToString(), ": the log cannot be read from SeqId ",
                   next_.value, " on: ", what),
      {{"collection_id", collection_.ToString()}, {"seq_id", absl::StrCat(next_.value)}});
}

absl::StatusOr<SeqId> SeqIdBefore(const Snapshot& snapshot, const CollectionId& collection,
                                  SeqId after, SeqId tail, int64_t time_us) {
  // Commit times never decrease along the log: the answer is at least `low` and at most `high`, and
  // always the end of an append (or `after`).
  uint64_t low = after.value;
  uint64_t high = tail.value;
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    AppendReader reader(snapshot, collection, SeqId(middle), tail);
    AppendSlice slice;
    SLUICE_ASSIGN_OR_RETURN(const bool found, reader.Next(&slice));
    if (!found) break;
    if (slice.commit_time_us < time_us) {
      low = slice.append.last().value;
    } else {
      // The append that holds middle + 1 is not before: the answer is at most the end of the one
      // before it.
      high = std::max(slice.append.first.value - 1, low);
    }
  }
  return SeqId(low);
}

}  // namespace sluice::log

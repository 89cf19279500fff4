#include "services/compactor/compaction_job.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/coding.h"
#include "common/embed/embed_client.h"
#include "common/errors/errors.h"
#include "common/server/logging.h"
#include "services/compactor/batch.h"
#include "services/compactor/compaction.h"

namespace sluice::compactor {
namespace {

constexpr size_t kIdHashKeyBytes = 16;
// Then others have their turn, and the log's note of what the lease committed stays small.
constexpr uint64_t kMaxCommits = 32;
// Rows folded and embedded before they are written: what a commit holds of them in memory.
constexpr size_t kChunkBytes = 4 << 20;
// With an embedder elsewhere: smaller ones, so many of which it has while others are folded and
// written.
constexpr size_t kHandedChunkBytes = 1 << 20;
constexpr size_t kChunksAhead = 8;

// Changes whose texts may still be with the embedder.
struct Chunk {
  std::vector<Change> changes;
  // Those without their vector: of the texts `handed` over, in the same order.
  std::vector<size_t> rows;
  // Of their texts; none if vectors are not kept.
  std::vector<TextKey> keys;
  std::unique_ptr<EmbedScheduler::Pending> handed;
};

// What becomes of texts in one commit: as CompactionWork has it.
struct Account {
  // Records of the commit: none if only owed vectors are filled in.
  uint64_t records = 0;
  uint64_t embedded = 0;
  uint64_t refused = 0;
  std::vector<v1::MissingVector> missing;
  std::string settled;
};

void PutHash(const IdHash& hash, std::string* out) {
  PutBigEndian64(out, hash.high);
  PutBigEndian64(out, hash.low);
}

// With an embedder elsewhere: each may come to be listed in the commit.
constexpr uint64_t kMostRecords = 10'000;
// Of those that are owed, which are many and have the same words.
constexpr size_t kOwedWordsBytes = 64;
// One answer of the list of owed vectors; what is more comes with the next claim.
constexpr uint32_t kMaxOwed = 1'000;

class CompactionJob {
 public:
  explicit CompactionJob(const Job& job)
      : job_(job), at_(job.workplace), hasher_(job.claim.id_hash_key()) {}

  absl::Status Run();

 private:
  absl::Status Open();
  std::future<absl::StatusOr<Batch>> ReadAhead(SeqId from);
  absl::Status Apply(const Batch& batch, uint64_t number);
  // What was written, in a temporary file; nullopt: nothing changed.
  absl::StatusOr<std::optional<v1::SegmentInfo>> Write(Compaction& compaction,
                                                       const TemporaryFile& file);
  // Embeds what is new among the changes, or hands it to the embedder.
  Chunk HandOver(std::vector<Change> changes);
  // Without a model's name nothing says that the server's is the same as before.
  bool MayReuse() const {
    return at_.vectors != nullptr && !job_.claim.keep_nothing() &&
           !job_.claim.schema().embedder().model().empty();
  }
  // Gives rows the vectors of texts that were embedded before; they are not among the chunk's any
  // more, nor are their texts.
  void Reuse(Chunk& chunk, std::vector<std::string>& texts);
  // Waits for the vectors.
  absl::Status TakeBack(Chunk& chunk);
  absl::Status TakeResults(Chunk& chunk, std::vector<Embedded> results);
  // For texts that come again.
  void Keep(const Chunk& chunk);
  // Notes the rows that were to be embedded as owed.
  void Owe(const Chunk& chunk, std::string_view words);
  // TEXT_REFUSED: so many of `texts` that the model is wrong.
  absl::Status CheckRefused(uint64_t texts) const;
  void Miss(const Row& row, v1::MissingReason reason, std::string_view words);
  // The embedder is away for so long that vectors are to be owed.
  bool IsAwayForLong() const {
    return scheduler_->TroubleFor() >= std::chrono::milliseconds(at_.settings.owe_after_ms);
  }
  absl::Status ReadOwed();
  bool has_embedder() const { return hashing_ || scheduler_ != nullptr; }
  void Count(const Batch& batch, const v1::CompactionWork& work);

  const Job& job_;
  const Workplace& at_;
  const IdHasher hasher_;
  CollectionId collection_;
  Incarnation incarnation_;
  uint32_t dimension_ = 0;
  // One of these, or none.
  std::optional<HashingEmbedder> hashing_;
  EmbedScheduler* scheduler_ = nullptr;
  // Set once the embedder is away for long: its words.
  std::optional<std::string> away_;
  MissingRows missing_;
  v1::EmbedWindow window_;
  Account account_;
  std::vector<v1::SegmentInfo> segments_;
  std::shared_ptr<const SegmentSet> view_;
};

absl::Status CompactionJob::Run() {
  SLUICE_RETURN_IF_ERROR(Open());
  at_.faults.Reach(Stage::kOpened);
  const auto turn_ends =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(at_.settings.turn_ms);
  std::future<absl::StatusOr<Batch>> next = ReadAhead(SeqId(job_.claim.applied_seq_id()));
  for (uint64_t number = 1;; ++number) {
    SLUICE_ASSIGN_OR_RETURN(const Batch batch, next.get());
    at_.faults.Reach(Stage::kRead);
    if (batch.records() == 0 && missing_.owed.empty()) return absl::OkStatus();
    // At the tail the log decides anew when the collection is due.
    const bool last = batch.at_tail || job_.stop.stop_requested() || number == kMaxCommits ||
                      std::chrono::steady_clock::now() >= turn_ends;
    if (!last) next = ReadAhead(batch.to);
    SLUICE_RETURN_IF_ERROR(Apply(batch, number));
    if (last || job_.stop.stop_requested()) return absl::OkStatus();
  }
}

absl::Status CompactionJob::Open() {
  const v1::ClaimResponse& claim = job_.claim;
  SLUICE_ASSIGN_OR_RETURN(collection_, ParseCollectionId(claim.lease().collection_id()));
  incarnation_ = Incarnation(claim.lease().incarnation());
  dimension_ = claim.dimension();
  const std::string& embedder = claim.schema().embedder().kind();
  if (embedder == embed::kHashing) {
    if (dimension_ == 0) dimension_ = HashingEmbedder::kDefaultDimension;
    hashing_.emplace(dimension_);
  } else if (!embedder.empty()) {
    const auto found = at_.embedders.find(embedder);
    if (found == at_.embedders.end()) {
      return MakeError(Reason::UNKNOWN_EMBEDDER,
                       absl::StrCat("this compactor has no embedder '", embedder, "'"),
                       {{"embedder", embedder}});
    }
    scheduler_ = found->second.get();
    window_ = claim.embed_window();
    missing_.any = claim.missing_vectors() > 0;
    if (absl::Status down = scheduler_->Check(); !down.ok()) {
      if (!IsAwayForLong() || claim.tail_seq_id() == claim.applied_seq_id()) return down;
      away_ = std::string(down.message());
    } else if (claim.owed_vectors() > 0) {
      SLUICE_RETURN_IF_ERROR(ReadOwed());
    }
  }
  segments_.assign(claim.segments().begin(), claim.segments().end());
  SLUICE_ASSIGN_OR_RETURN(view_, at_.cache.Load(collection_, incarnation_, segments_));
  return absl::OkStatus();
}

absl::Status CompactionJob::ReadOwed() {
  v1::ListMissingVectorsRequest request;
  request.set_collection_id(collection_.ToString());
  request.set_reason(v1::MISSING_REASON_OWED);
  request.set_limit(kMaxOwed);
  SLUICE_ASSIGN_OR_RETURN(const v1::ListMissingVectorsResponse listed,
                          at_.compaction.ListMissingVectors(request));
  for (const v1::MissingVector& missing : listed.missing()) {
    missing_.owed.push_back(hasher_(missing.id()));
  }
  return absl::OkStatus();
}

std::future<absl::StatusOr<Batch>> CompactionJob::ReadAhead(SeqId from) {
  return std::async(std::launch::async, [this, from] {
    const Timer timer(at_.metrics.read_seconds);
    const uint64_t most = scheduler_ ? kMostRecords : UINT64_MAX;
    return ReadBatch(
        at_.log, collection_, incarnation_, from,
        {.bytes = at_.settings.batch_bytes, .records = std::min(most, at_.settings.batch_records)});
  });
}

absl::Status CompactionJob::Apply(const Batch& batch, uint64_t number) {
  const Timer timer(at_.metrics.compactions.seconds);
  // Without a dimension in its schema, a collection has that of its first vector, which may have
  // come after the claim.
  if (dimension_ == 0) dimension_ = DimensionOf(batch.appends);

  Compaction compaction(*view_, hasher_, has_embedder(), batch.appends, missing_);
  account_ = {.records = batch.records()};
  const TemporaryFile file(at_.objects);
  SLUICE_ASSIGN_OR_RETURN(std::optional<v1::SegmentInfo> segment, Write(compaction, file));
  if (account_.refused > 0) {
    SLUICE_RETURN_IF_ERROR(CheckRefused(account_.embedded + account_.refused));
  }
  for (const IdHash& id : compaction.not_missing()) PutHash(id, &account_.settled);
  at_.faults.Reach(Stage::kWritten);
  SLUICE_RETURN_IF_ERROR(job_.lease.Check());

  v1::CommitRequest commit;
  *commit.mutable_lease() = job_.lease.lease();
  commit.set_number(number);
  v1::CompactionWork& work = *commit.mutable_compaction();
  work.set_from_seq_id(batch.from.value);
  work.set_to_seq_id(batch.to.value);
  work.set_live_delta(compaction.live_delta());
  work.mutable_no_effect()->set_adds(compaction.no_effect().adds);
  work.mutable_no_effect()->set_updates(compaction.no_effect().updates);
  work.mutable_no_effect()->set_deletes(compaction.no_effect().deletes);
  work.set_embedded(account_.embedded);
  work.mutable_missing()->Assign(account_.missing.begin(), account_.missing.end());
  work.set_settled(account_.settled);
  if (segment) {
    segment->set_after_seq_id(batch.from.value);
    segment->set_up_to_seq_id(batch.to.value);
    SLUICE_RETURN_IF_ERROR(StoreSegment(job_, number, file, &*segment));
    *work.mutable_segment() = *segment;
    for (size_t i = 0; i < segments_.size(); ++i) {
      if (compaction.dead()[i] == 0) continue;
      v1::DeadRows& dead = *work.add_dead();
      dead.set_token(segments_[i].token());
      dead.set_number(segments_[i].number());
      dead.set_up_to_seq_id(segments_[i].up_to_seq_id());
      dead.set_rows(compaction.dead()[i]);
    }
  }
  at_.faults.Reach(Stage::kStored);
  SLUICE_RETURN_IF_ERROR(at_.compaction.Commit(commit).status());
  at_.faults.Reach(Stage::kCommitted);
  Count(batch, work);
  // Owed ones are looked at once under a lease.
  missing_.owed.clear();
  missing_.any |= !account_.missing.empty();
  window_.set_texts(window_.texts() + account_.embedded + account_.refused);
  window_.set_refused(window_.refused() + account_.refused);

  if (!segment) return absl::OkStatus();
  segments_.push_back(*std::move(segment));
  SLUICE_ASSIGN_OR_RETURN(view_, at_.cache.Load(collection_, incarnation_, segments_));
  return absl::OkStatus();
}

absl::StatusOr<std::optional<v1::SegmentInfo>> CompactionJob::Write(Compaction& compaction,
                                                                    const TemporaryFile& file) {
  std::unique_ptr<SegmentWriter> writer;
  std::deque<Chunk> chunks;
  const size_t chunk_bytes = scheduler_ ? kHandedChunkBytes : kChunkBytes;
  const size_t chunks_ahead = scheduler_ ? kChunksAhead : 0;
  for (bool more = true; more;) {
    SLUICE_ASSIGN_OR_RETURN(std::vector<Change> changes, compaction.Next(chunk_bytes));
    more = !changes.empty();
    if (more) chunks.push_back(HandOver(std::move(changes)));
    while (chunks.size() > (more ? chunks_ahead : 0)) {
      Chunk& chunk = chunks.front();
      SLUICE_RETURN_IF_ERROR(TakeBack(chunk));
      at_.faults.Reach(Stage::kFolded);
      SLUICE_RETURN_IF_ERROR(job_.lease.Check());
      if (!writer) {
        SLUICE_ASSIGN_OR_RETURN(writer, SegmentWriter::Create(file.path(), dimension_));
      }
      for (const Change& change : chunk.changes) {
        const bool is_missing = change.row && change.row->pending_embedding;
        if (change.was_missing && !is_missing) PutHash(change.id, &account_.settled);
        SLUICE_RETURN_IF_ERROR(change.row ? writer->Add(change.id, *change.row)
                                          : writer->AddDeleted(change.id));
      }
      chunks.pop_front();
      job_.pulse.Beat();
    }
  }
  if (!writer) return std::nullopt;
  return writer->Finish();
}

Chunk CompactionJob::HandOver(std::vector<Change> changes) {
  Chunk chunk{.changes = std::move(changes)};
  if (hashing_) {
    const Timer timer(at_.metrics.embed_seconds);
    at_.metrics.embedded.Increment(static_cast<double>(EmbedPending(*hashing_, chunk.changes)));
  } else if (scheduler_ != nullptr) {
    chunk.rows = PendingAmong(chunk.changes);
    const v1::Embedder& embedder = job_.claim.schema().embedder();
    EmbedWork work{.model = embedder.model(), .dimension = dimension_};
    for (const size_t row : chunk.rows) {
      work.texts.push_back(
          absl::StrCat(embedder.document_prefix(), *chunk.changes[row].row->document));
    }
    if (MayReuse()) Reuse(chunk, work.texts);
    if (!away_ && !work.texts.empty()) chunk.handed = scheduler_->Submit(std::move(work));
  }
  return chunk;
}

void CompactionJob::Reuse(Chunk& chunk, std::vector<std::string>& texts) {
  const v1::Embedder& embedder = job_.claim.schema().embedder();
  std::vector<TextKey> keys;
  keys.reserve(texts.size());
  for (const std::string& text : texts) {
    keys.push_back(KeyOfText(embedder.kind(), embedder.model(), dimension_, text));
  }
  std::vector<std::optional<std::vector<float>>> vectors = at_.vectors->Find(keys, dimension_);
  size_t unknown = 0;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (vectors[i]) {
      Change& change = chunk.changes[chunk.rows[i]];
      change.row->vector = *std::move(vectors[i]);
      change.row->pending_embedding = false;
      if (!change.was_missing) ++account_.embedded;
      continue;
    }
    chunk.rows[unknown] = chunk.rows[i];
    if (unknown != i) texts[unknown] = std::move(texts[i]);
    keys[unknown++] = keys[i];
  }
  at_.metrics.reused.Increment(static_cast<double>(keys.size() - unknown));
  chunk.rows.resize(unknown);
  texts.resize(unknown);
  keys.resize(unknown);
  chunk.keys = std::move(keys);
}

absl::Status CompactionJob::TakeBack(Chunk& chunk) {
  if (away_) Owe(chunk, *away_);
  if (away_ || !chunk.handed) return absl::OkStatus();
  const Timer timer(at_.metrics.embed_seconds);
  EmbedResult results = chunk.handed->Wait([&] {
    job_.pulse.Beat();
    // What is with the embedder is soon embedded again; a stop does not wait for it.
    if (job_.stop.stop_requested()) return absl::CancelledError("the process is stopping");
    return job_.lease.Check();
  });
  if (results.ok()) return TakeResults(chunk, *std::move(results));
  if (ReasonOf(results.status()) != Reason::EMBEDDER_UNAVAILABLE || account_.records == 0 ||
      !IsAwayForLong()) {
    return std::move(results).status();
  }
  away_ = std::string(results.status().message());
  Owe(chunk, *away_);
  return absl::OkStatus();
}

absl::Status CompactionJob::TakeResults(Chunk& chunk, std::vector<Embedded> results) {
  for (size_t i = 0; i < results.size(); ++i) {
    Change& change = chunk.changes[chunk.rows[i]];
    Row& row = *change.row;
    if (const std::optional<Refusal>& refusal = results[i].refusal) {
      Miss(row,
           refusal->reason == Refusal::Reason::kFailing ? v1::MISSING_REASON_FAILING
                                                        : v1::MISSING_REASON_REFUSED,
           refusal->words);
      if (!change.was_missing) ++account_.refused;
      continue;
    }
    row.vector = std::move(results[i].vector);
    row.pending_embedding = false;
    if (!change.was_missing) ++account_.embedded;
    at_.metrics.embedded.Increment();
  }
  Keep(chunk);
  // The commit cannot have more texts than records: it need not be worked out to its end.
  return CheckRefused(std::max(account_.records, account_.embedded + account_.refused));
}

void CompactionJob::Keep(const Chunk& chunk) {
  std::vector<VectorCache::Entry> entries;
  for (size_t i = 0; i < chunk.keys.size(); ++i) {
    const Row& row = *chunk.changes[chunk.rows[i]].row;
    if (!row.pending_embedding) entries.push_back({chunk.keys[i], row.vector});
  }
  if (!entries.empty()) at_.vectors->Put(entries);
}

absl::Status CompactionJob::CheckRefused(uint64_t texts) const {
  if (!TooManyRefused(window_, texts, account_.refused)) return absl::OkStatus();
  return MakeError(
      Reason::TEXT_REFUSED,
      absl::StrCat("the embedder refuses ", window_.refused() + account_.refused,
                   " of the last texts, one of them with: ", account_.missing.back().words()));
}

void CompactionJob::Owe(const Chunk& chunk, std::string_view words) {
  for (const size_t row : chunk.rows) {
    Miss(*chunk.changes[row].row, v1::MISSING_REASON_OWED, words.substr(0, kOwedWordsBytes));
  }
}

void CompactionJob::Miss(const Row& row, v1::MissingReason reason, std::string_view words) {
  v1::MissingVector& missing = account_.missing.emplace_back();
  missing.set_id(row.id);
  missing.set_seq_id(row.seq_id.value);
  missing.set_reason(reason);
  missing.set_words(embed::MakeFailure(embed::Fault::kRefused, words).words);
}

void CompactionJob::Count(const Batch& batch, const v1::CompactionWork& work) {
  Metrics& metrics = at_.metrics;
  metrics.compactions.commits.Increment();
  metrics.records.Increment(static_cast<double>(batch.records()));
  metrics.bytes.Increment(static_cast<double>(batch.bytes));
  metrics.no_effect_adds.Increment(static_cast<double>(work.no_effect().adds()));
  metrics.no_effect_updates.Increment(static_cast<double>(work.no_effect().updates()));
  metrics.no_effect_deletes.Increment(static_cast<double>(work.no_effect().deletes()));
  metrics.compactions.segment_bytes.Increment(static_cast<double>(work.segment().bytes()));
  for (const v1::MissingVector& missing : work.missing()) {
    (missing.reason() == v1::MISSING_REASON_OWED      ? metrics.owed
     : missing.reason() == v1::MISSING_REASON_FAILING ? metrics.failing
                                                      : metrics.refused)
        .Increment();
  }
  server::Log(server::Level::kDebug, "compacted",
              {{"collection_id", collection_.ToString()},
               {"token", job_.lease.lease().token()},
               {"applied", batch.to.value},
               {"records", batch.records()},
               {"entries", work.segment().entries()},
               {"bytes", work.segment().bytes()}});
}

}  // namespace

absl::Status RunCompaction(const Job& job) {
  job.workplace.faults.Reach(Stage::kClaimed);
  if (job.claim.id_hash_key().size() != kIdHashKeyBytes) {
    return absl::InvalidArgumentError("the claim's id_hash_key has not 16 bytes");
  }
  return CompactionJob(job).Run();
}

}  // namespace sluice::compactor

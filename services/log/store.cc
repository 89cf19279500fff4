#include "services/log/store.h"

#include <google/protobuf/io/coded_stream.h>
#include <rocksdb/compaction_filter.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/utilities/debug.h>

#include <chrono>
#include <future>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/errors/errors.h"
#include "services/log/command.pb.h"
#include "services/log/keys.h"
#include "services/log/store_env.h"
#include "services/log/store_files.h"

namespace sluice::log {
namespace {

constexpr std::chrono::minutes kResumeWithin{2};
// After which a call of Resume is known to have begun.
constexpr std::chrono::milliseconds kResumeBegins{100};

rocksdb::Slice ToSlice(std::string_view s) { return {s.data(), s.size()}; }

absl::Status FromRocks(const rocksdb::Status& status, std::string_view what) {
  if (status.ok()) return absl::OkStatus();
  // Any I/O error is one of a full disk (store_files.h); its text says which it is.
  const std::string message = absl::StrCat(
      absl::string_view(what.data(), what.size()), ": ",
      status.IsNoSpace() ? absl::StrCat("IO error: ", status.getState()) : status.ToString());
  // A file that another one names and that is not there is damage like any other.
  const bool damaged = status.IsCorruption() || status.IsPathNotFound();
  return damaged ? absl::DataLossError(message) : absl::UnavailableError(message);
}

absl::StatusOr<std::optional<std::string>> GetAt(rocksdb::DB* db, const rocksdb::Snapshot* snapshot,
                                                 std::string_view key, bool fill_cache) {
  rocksdb::ReadOptions options;
  options.snapshot = snapshot;
  options.fill_cache = fill_cache;
  std::string value;
  const rocksdb::Status got = db->Get(options, ToSlice(key), &value);
  if (got.IsNotFound()) return std::nullopt;
  SLUICE_RETURN_IF_ERROR(FromRocks(got, db->GetName()));
  return value;
}

// The name of the file that has the value; "" where that is in the table.
std::string BlobFileOf(const rocksdb::KeyVersion& version) {
  // RocksDB's types of entries, and of references to blobs (without a time to live).
  constexpr int kTypeBlobIndex = 0x11;
  constexpr char kReferenceToBlob = 1;
  const std::string& reference = version.value;
  if (version.type != kTypeBlobIndex || reference.empty() || reference[0] != kReferenceToBlob) {
    return "";
  }
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(reference.data()) + 1,
                                            static_cast<int>(reference.size()) - 1);
  uint64_t number = 0;
  if (!in.ReadVarint64(&number)) return "";
  return absl::StrCat(absl::Dec(number, absl::kZeroPad6), ".blob");
}

// Drops the appends that the log's state *as persisted* says are trimmed, or whose log is purged.
// So whatever a crash brings back, nothing it still refers to is gone. Lives for one compaction, on
// its thread.
class TrimFilter : public rocksdb::CompactionFilter {
 public:
  explicit TrimFilter(rocksdb::DB* db) : db_(db) {}
  const char* Name() const override { return "sluice.TrimFilter"; }

  Decision FilterV2(int level, const rocksdb::Slice& key, ValueType, const rocksdb::Slice&,
                    std::string*, std::string* skip_until) const override {
    return FilterBlobByKey(level, key, nullptr, skip_until);
  }

  // By key alone: blobs are not read.
  Decision FilterBlobByKey(int, const rocksdb::Slice& key, std::string*,
                           std::string* skip_until) const override {
    const auto append = DecodeAppendKey(key.ToStringView());
    if (!append) return Decision::kKeep;
    if (!known_ || append->collection != collection_) {
      collection_ = append->collection;
      trim_ = PersistedTrim(collection_);
      known_ = true;
    }
    if (append->last > trim_) return Decision::kKeep;
    // Write-once rows, so it is safe to skip without looking at other versions.
    *skip_until = trim_.value == UINT64_MAX
                      ? PrefixEnd(CollectionPrefix(RowType::kAppend, collection_))
                      : AppendKey(collection_, SeqId(trim_.value + 1));
    return Decision::kRemoveAndSkipUntil;
  }

 private:
  SeqId PersistedTrim(const CollectionId& collection) const {
    rocksdb::ReadOptions options;
    options.read_tier = rocksdb::kPersistedTier;
    options.fill_cache = false;
    rocksdb::PinnableSlice value;
    pb::LogState state;
    const rocksdb::Status got =
        db_->Get(options, db_->DefaultColumnFamily(), LogKey(collection), &value);
    if (!got.ok() || !state.ParseFromArray(value.data(), static_cast<int>(value.size()))) {
      return SeqId(0);
    }
    return SeqId(state.purged() ? UINT64_MAX : state.trim());
  }

  rocksdb::DB* const db_;
  mutable bool known_ = false;
  mutable CollectionId collection_;
  mutable SeqId trim_;
};

bool IsFlushes(rocksdb::BackgroundErrorReason reason) {
  using Reason = rocksdb::BackgroundErrorReason;
  // The last one is a flush's that could not write the manifest.
  return reason == Reason::kFlush || reason == Reason::kFlushNoWAL ||
         reason == Reason::kManifestWriteNoWAL;
}

}  // namespace

class Store::TrimFilterFactory : public rocksdb::CompactionFilterFactory {
 public:
  explicit TrimFilterFactory(std::shared_ptr<std::atomic<rocksdb::DB*>> db) : db_(std::move(db)) {}
  const char* Name() const override { return "sluice.TrimFilterFactory"; }
  std::unique_ptr<rocksdb::CompactionFilter> CreateCompactionFilter(
      const rocksdb::CompactionFilter::Context&) override {
    // Null while RocksDB opens: a compaction may start before DB::Open returns.
    rocksdb::DB* db = db_->load(std::memory_order_acquire);
    return db ? std::make_unique<TrimFilter>(db) : nullptr;
  }

 private:
  const std::shared_ptr<std::atomic<rocksdb::DB*>> db_;
};

class Store::Listener : public rocksdb::EventListener {
 public:
  explicit Listener(Store* store) : store_(store) {}
  void OnMemTableSealed(const rocksdb::MemTableInfo&) override { store_->env_->HurryFlush(true); }
  // It takes all that were sealed by now.
  void OnFlushBegin(rocksdb::DB*, const rocksdb::FlushJobInfo&) override {
    store_->env_->HurryFlush(false);
  }
  void OnFlushCompleted(rocksdb::DB* db, const rocksdb::FlushJobInfo&) override {
    const auto position = ReadPersisted(db);
    if (!position.ok()) return;
    store_->persisted_.store(*position, std::memory_order_release);
    store_->space_.Flushed();
    store_->on_persisted_(JournalPosition(*position));
  }
  void OnCompactionCompleted(rocksdb::DB*, const rocksdb::CompactionJobInfo&) override {
    store_->space_.Compacted();
  }
  void OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* error) override {
    // RocksDB tries a compaction that met an I/O error again; it holds nobody up.
    if (reason == rocksdb::BackgroundErrorReason::kCompaction &&
        error->severity() < rocksdb::Status::Severity::kHardError) {
      return;
    }
    store_->env_->HoldFlushes(IsFlushes(reason));
    store_->on_failed_(FromRocks(*error, store_->folder_.string()));
  }
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status,
                            bool* auto_recovery) override {
    // RocksDB would look for space every five seconds, and resume beside Recover.
    *auto_recovery = false;
  }
  void OnStallConditionsChanged(const rocksdb::WriteStallInfo& info) override {
    store_->slow_.store(info.condition.cur != rocksdb::WriteStallCondition::kNormal,
                        std::memory_order_relaxed);
  }

 private:
  Store* const store_;
};

absl::StatusOr<uint64_t> Store::ReadPersisted(rocksdb::DB* db) {
  rocksdb::ReadOptions options;
  options.read_tier = rocksdb::kPersistedTier;
  rocksdb::PinnableSlice value;
  const rocksdb::Status got = db->Get(options, db->DefaultColumnFamily(), ShardKey(), &value);
  if (got.IsNotFound()) return 0;
  SLUICE_RETURN_IF_ERROR(FromRocks(got, "reading the applied position"));
  pb::ShardState state;
  if (!state.ParseFromArray(value.data(), static_cast<int>(value.size()))) {
    return absl::DataLossError("the shard's row cannot be read");
  }
  return state.applied_position();
}

rocksdb::BlockBasedTableOptions TableOptions() {
  rocksdb::BlockBasedTableOptions table;
  table.cache_index_and_filter_blocks = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.whole_key_filtering = false;
  table.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
  table.partition_filters = true;
  table.block_size = 16 << 10;
  table.format_version = 5;
  return table;
}

std::shared_ptr<const rocksdb::SliceTransform> BloomPrefix() {
  return std::shared_ptr<const rocksdb::SliceTransform>(
      rocksdb::NewCappedPrefixTransform(kKeyPrefixBytes));
}

rocksdb::Options Store::MakeOptions(const StoreOptions& options) {
  folder_ = options.folder;
  // README.md says why for each.
  rocksdb::Options db;
  env_ = std::make_unique<StoreEnv>(options.files, options.clock);
  db.env = env_.get();
  // The shard calls Recover: RocksDB 7.8.3 never closes while its own attempts go on.
  db.max_bgerror_resume_count = 0;
  db.create_if_missing = true;
  db.paranoid_checks = true;
  db.max_background_flushes = 1;
  db.max_background_compactions = 2;
  db.max_open_files = 512;
  db.advise_random_on_open = false;
  db.use_direct_io_for_flush_and_compaction = true;
  db.compaction_readahead_size = 2 << 20;
  db.bytes_per_sync = 1 << 20;
  db.info_log = std::make_shared<NoLog>();
  db.skip_stats_update_on_db_open = true;
  // Shard::Stop flushes; a store that cannot be written must not hold up its closing.
  db.avoid_flush_during_shutdown = true;

  db.write_buffer_size = options.memtable_bytes;
  db.max_write_buffer_number = 3;
  db.compression_per_level = {rocksdb::kNoCompression, rocksdb::kLZ4Compression};
  db.prefix_extractor = BloomPrefix();
  db.memtable_prefix_bloom_size_ratio = 0.02;
  db.memtable_whole_key_filtering = true;
  // By type: the rows of one type mostly come in order, but types alternate.
  db.memtable_insert_with_hint_prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(1));

  db.compaction_style = rocksdb::kCompactionStyleUniversal;
  db.num_levels = 4;
  // So that the space of a log that is trimmed and then left alone comes back too.
  db.periodic_compaction_seconds = 24 * 60 * 60;

  db.enable_blob_files = true;
  db.min_blob_size = 4 << 10;
  db.blob_file_size = 64 << 20;

  rocksdb::BlockBasedTableOptions table = TableOptions();
  table.block_cache = rocksdb::NewLRUCache(options.block_cache_bytes);
  db.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return db;
}

absl::StatusOr<std::unique_ptr<Store>> Store::Open(
    const StoreOptions& options, std::function<void(JournalPosition)> on_persisted,
    std::function<void(const absl::Status&)> on_failed) {
  std::unique_ptr<Store> store(new Store);
  store->on_persisted_ = std::move(on_persisted);
  store->on_failed_ = std::move(on_failed);
  const auto filter_db = std::make_shared<std::atomic<rocksdb::DB*>>(nullptr);
  rocksdb::Options db = store->MakeOptions(options);
  db.listeners.push_back(std::make_shared<Listener>(store.get()));
  db.compaction_filter_factory = std::make_shared<TrimFilterFactory>(filter_db);

  rocksdb::DB* raw = nullptr;
  SLUICE_RETURN_IF_ERROR(FromRocks(rocksdb::DB::Open(db, options.folder.string(), &raw),
                                   absl::StrCat("opening ", options.folder.string())));
  store->db_.reset(raw);
  filter_db->store(raw, std::memory_order_release);
  SLUICE_ASSIGN_OR_RETURN(const uint64_t persisted, ReadPersisted(raw));
  store->persisted_.store(persisted, std::memory_order_release);
  store->space_.Start(raw);
  return store;
}

absl::StatusOr<std::unique_ptr<Store>> Store::OpenToRead(const StoreOptions& options) {
  std::unique_ptr<Store> store(new Store);
  rocksdb::Options db = store->MakeOptions(options);
  rocksdb::DB* raw = nullptr;
  SLUICE_RETURN_IF_ERROR(FromRocks(rocksdb::DB::OpenForReadOnly(db, options.folder.string(), &raw),
                                   absl::StrCat("opening ", options.folder.string())));
  store->db_.reset(raw);
  return store;
}

Store::~Store() {
  space_.Stop();
  if (env_) env_->NeverHoldAgain();
  if (db_) (void)db_->Close();
}

absl::Status Store::Write(rocksdb::WriteBatch* batch) {
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  return FromRocks(db_->Write(options, batch), folder_.string());
}

absl::Status Store::Recover() {
  // So that a long compaction is not waited for.
  space_.Interrupt();
  env_->AwaitQuiet();
  std::future<rocksdb::Status> resumed =
      std::async(std::launch::async, [this] { return db_->Resume(); });
  const auto last = std::chrono::steady_clock::now() + kResumeWithin;
  while (resumed.wait_for(kResumeBegins) != std::future_status::ready) {
    // It is at work, and waits for what was put aside.
    env_->BeginFlushesAside();
    SLUICE_CHECK(std::chrono::steady_clock::now() < last);
  }
  SLUICE_RETURN_IF_ERROR(FromRocks(resumed.get(), folder_.string()));
  env_->ReleaseFlushes();
  // Resume forgets the error of a flush, but does not repeat it.
  return Flush();
}

absl::Status Store::Flush() {
  return FromRocks(db_->Flush(rocksdb::FlushOptions()), folder_.string());
}

absl::Status Store::BeginFlush() {
  rocksdb::FlushOptions options;
  options.wait = false;
  options.allow_write_stall = true;
  return FromRocks(db_->Flush(options), folder_.string());
}

absl::Status Store::Compact() {
  rocksdb::CompactRangeOptions options;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
  return FromRocks(db_->CompactRange(options, nullptr, nullptr), folder_.string());
}

uint64_t Store::DiskBytes() const {
  uint64_t tables = 0;
  uint64_t blobs = 0;
  db_->GetIntProperty(rocksdb::DB::Properties::kTotalSstFilesSize, &tables);
  db_->GetIntProperty(rocksdb::DB::Properties::kTotalBlobFileSize, &blobs);
  return tables + blobs;
}

uint64_t Store::MemtableBytes() const {
  uint64_t bytes = 0;
  db_->GetIntProperty(rocksdb::DB::Properties::kSizeAllMemTables, &bytes);
  return bytes;
}

absl::StatusOr<std::optional<StoredRow>> Store::FindStored(std::string_view begin,
                                                           std::string_view last) const {
  std::vector<rocksdb::KeyVersion> versions;
  SLUICE_RETURN_IF_ERROR(
      FromRocks(rocksdb::GetAllKeyVersions(db_.get(), ToSlice(begin), ToSlice(last),
                                           /*max_num_ikeys=*/1, &versions),
                "reading the store"));
  if (versions.empty()) return std::nullopt;
  return StoredRow{versions[0].user_key, BlobFileOf(versions[0])};
}

std::vector<TableFile> Store::Tables() const {
  std::vector<rocksdb::LiveFileMetaData> files;
  db_->GetLiveFilesMetaData(&files);
  std::vector<TableFile> tables;
  tables.reserve(files.size());
  for (const rocksdb::LiveFileMetaData& file : files) {
    tables.push_back({file.relative_filename, file.size});
  }
  return tables;
}

Snapshot::Snapshot(const Store& store, Cache cache)
    : db_(store.db()), snapshot_(db_->GetSnapshot()), cache_(cache) {}

Snapshot::~Snapshot() { db_->ReleaseSnapshot(snapshot_); }

absl::StatusOr<std::optional<std::string>> Snapshot::Get(std::string_view key) const {
  return GetAt(db_, snapshot_, key, cache_ == Cache::kFill);
}

absl::StatusOr<std::optional<std::string>> Snapshot::GetLatest(std::string_view key) const {
  return GetAt(db_, nullptr, key, cache_ == Cache::kFill);
}

Snapshot::Iterator Snapshot::Scan(std::string_view begin, std::string end) const {
  Iterator scan;
  scan.end_ = std::make_unique<std::string>(std::move(end));
  scan.end_slice_ = std::make_unique<rocksdb::Slice>(*scan.end_);
  rocksdb::ReadOptions options;
  options.snapshot = snapshot_;
  options.iterate_upper_bound = scan.end_slice_.get();
  options.total_order_seek = true;
  options.fill_cache = cache_ == Cache::kFill;
  scan.it_.reset(db_->NewIterator(options));
  scan.Seek(begin);
  return scan;
}

absl::Status Snapshot::Iterator::status() const {
  return FromRocks(it_->status(), "reading the store");
}

}  // namespace sluice::log

// Debian builds RocksDB for the oldest x86-64, where CRC32C is a table look-up for each byte: a
// third of the log's processor time, since every blob is checksummed when it is written and when it
// is read. The executable's definition of this function comes before the library's, so RocksDB
// calls it; should a later version stop calling it, only speed is lost. store_test.cc holds it to
// this.
namespace rocksdb::crc32c {
uint32_t Extend(uint32_t before, const char* data, size_t size);
uint32_t Extend(uint32_t before, const char* data, size_t size) {
  return sluice::Crc32c({data, size}, before);
}
}  // namespace rocksdb::crc32c

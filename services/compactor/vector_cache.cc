#include "services/compactor/vector_cache.h"

#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>
#include <sodium/crypto_generichash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/coding.h"
#include "common/server/logging.h"

namespace sluice::compactor {
namespace {

static_assert(std::endian::native == std::endian::little,
              "vectors are stored as they lie in memory");

// Each file is asked for a text that is not known (by its filter, in memory), so there are not
// many.
constexpr uint64_t kFiles = 64;
constexpr uint64_t kMostMemtableBytes = 64 << 20;

// RocksDB's own log: its writes end the process where the disk is full (an assert of Debian's
// build).
class NoLog : public rocksdb::Logger {
 public:
  NoLog() : rocksdb::Logger(rocksdb::InfoLogLevel::HEADER_LEVEL) {}
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

// Files are written once and dropped whole, the oldest first.
rocksdb::Options MakeOptions(uint64_t bytes) {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.info_log = std::make_shared<NoLog>();
  options.compaction_style = rocksdb::kCompactionStyleFIFO;
  options.compaction_options_fifo.max_table_files_size = bytes;
  options.write_buffer_size = std::clamp(bytes / kFiles, uint64_t{64} << 10, kMostMemtableBytes);
  options.compression = rocksdb::kNoCompression;
  // Its retries would hold up its end: RocksDB 7.8 does not close while they go on.
  options.max_bgerror_resume_count = 0;
  rocksdb::BlockBasedTableOptions table;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

rocksdb::Slice ToSlice(const TextKey& key) { return {key.data(), key.size()}; }

}  // namespace

TextKey KeyOfText(std::string_view embedder, std::string_view model, uint32_t dimension,
                  std::string_view text) {
  std::string before;
  for (const std::string_view part : {embedder, model}) {
    PutFixed(&before, uint64_t{part.size()});
    before.append(part);
  }
  PutFixed(&before, dimension);
  TextKey key;
  crypto_generichash_state state;
  crypto_generichash_init(&state, nullptr, 0, key.size());
  for (const std::string_view part : {std::string_view(before), text}) {
    crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(part.data()),
                              part.size());
  }
  crypto_generichash_final(&state, reinterpret_cast<unsigned char*>(key.data()), key.size());
  return key;
}

absl::StatusOr<std::unique_ptr<VectorCache>> VectorCache::Open(const std::filesystem::path& folder,
                                                               uint64_t bytes) {
  const rocksdb::Options options = MakeOptions(bytes);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  const std::filesystem::space_info space = std::filesystem::space(folder, error);
  if (error) return absl::UnavailableError(absl::StrCat(folder.string(), ": ", error.message()));
  // RocksDB would end the process (an assert of Debian's build).
  if (space.available < 4 * options.write_buffer_size) {
    return absl::UnavailableError(absl::StrCat(folder.string(), ": the disk is full"));
  }
  rocksdb::DB* db = nullptr;
  rocksdb::Status opened = rocksdb::DB::Open(options, folder.string(), &db);
  if (!opened.ok()) {
    // Nothing in it is missed. What another process has open stays.
    rocksdb::DestroyDB(folder.string(), options).PermitUncheckedError();
    opened = rocksdb::DB::Open(options, folder.string(), &db);
  }
  if (!opened.ok()) {
    return absl::UnavailableError(absl::StrCat(folder.string(), ": ", opened.ToString()));
  }
  return std::unique_ptr<VectorCache>(new VectorCache(std::unique_ptr<rocksdb::DB>(db)));
}

VectorCache::VectorCache(std::unique_ptr<rocksdb::DB> db) : db_(std::move(db)) {}

VectorCache::~VectorCache() { db_->Close().PermitUncheckedError(); }

std::vector<std::optional<std::vector<float>>> VectorCache::Find(std::span<const TextKey> keys,
                                                                 uint32_t dimension) const {
  std::vector<rocksdb::Slice> slices;
  slices.reserve(keys.size());
  for (const TextKey& key : keys) slices.push_back(ToSlice(key));
  std::vector<rocksdb::PinnableSlice> values(keys.size());
  std::vector<rocksdb::Status> statuses(keys.size());
  db_->MultiGet(rocksdb::ReadOptions(), db_->DefaultColumnFamily(), keys.size(), slices.data(),
                values.data(), statuses.data());
  std::vector<std::optional<std::vector<float>>> vectors(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    if (!statuses[i].ok() || values[i].size() != dimension * sizeof(float)) continue;
    std::memcpy(vectors[i].emplace(dimension).data(), values[i].data(), values[i].size());
  }
  return vectors;
}

void VectorCache::Put(std::span<const Entry> entries) {
  static server::RateLimitedLog log(std::chrono::minutes(1));
  rocksdb::WriteBatch batch;
  for (const Entry& entry : entries) {
    const auto bytes = std::as_bytes(entry.vector);
    batch
        .Put(ToSlice(entry.key),
             rocksdb::Slice(reinterpret_cast<const char*>(bytes.data()), bytes.size()))
        .PermitUncheckedError();
  }
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  const rocksdb::Status written = db_->Write(options, &batch);
  if (!written.ok()) {
    log(server::Level::kWarn, "vectors are not kept for reuse", {{"error", written.ToString()}});
  }
}

}  // namespace sluice::compactor

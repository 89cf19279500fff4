#include "tools/bench/rocks_loop.h"

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "common/errors/errors.h"
#include "tools/bench/load.h"

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;

absl::Status FromRocks(const rocksdb::Status& status) {
  return status.ok() ? absl::OkStatus() : absl::UnavailableError(status.ToString());
}

absl::StatusOr<nlohmann::json> Loop(rocksdb::DB& db, uint64_t* next_key, size_t value_bytes,
                                    size_t batch_values, std::chrono::milliseconds duration) {
  rocksdb::WriteOptions options;
  options.sync = true;
  std::string value(value_bytes, 'x');
  std::vector<double> latencies;
  const Clock::time_point begin = Clock::now();
  Clock::time_point now = begin;
  while (now - begin < duration) {
    rocksdb::WriteBatch batch;
    for (size_t i = 0; i < batch_values; ++i) {
      char key[17];
      std::snprintf(key, sizeof key, "%016llx", static_cast<unsigned long long>((*next_key)++));
      value[*next_key % value.size()] ^= 1;
      SLUICE_RETURN_IF_ERROR(FromRocks(batch.Put(rocksdb::Slice(key, 16), value)));
    }
    SLUICE_RETURN_IF_ERROR(FromRocks(db.Write(options, &batch)));
    const Clock::time_point then = Clock::now();
    latencies.push_back(std::chrono::duration<double, std::micro>(then - now).count());
    now = then;
  }
  const double bytes = static_cast<double>(latencies.size() * batch_values * value_bytes);
  return nlohmann::json{
      {"bytes_per_second", bytes / std::chrono::duration<double>(now - begin).count()},
      {"batch_values", batch_values},
      {"value_bytes", value_bytes},
      {"p50_us", Median(std::move(latencies))}};
}

}  // namespace

absl::StatusOr<nlohmann::json> BestRocksBatches(const std::filesystem::path& folder,
                                                size_t value_bytes,
                                                std::chrono::milliseconds duration_each) {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.write_buffer_size = 64 << 20;
  options.max_write_buffer_number = 4;
  options.compression = rocksdb::kNoCompression;
  options.enable_blob_files = true;
  options.min_blob_size = 4 << 10;
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);
  rocksdb::DB* raw = nullptr;
  SLUICE_RETURN_IF_ERROR(
      FromRocks(rocksdb::DB::Open(options, (folder / "rocks-loop").string(), &raw)));
  const std::unique_ptr<rocksdb::DB> db(raw);
  nlohmann::json best;
  uint64_t next_key = 0;
  for (const size_t batch_values : {1, 4, 16, 64}) {
    SLUICE_ASSIGN_OR_RETURN(nlohmann::json loop,
                            Loop(*db, &next_key, value_bytes, batch_values, duration_each));
    if (best.is_null() || loop["bytes_per_second"] > best["bytes_per_second"]) best = loop;
  }
  best["options"] =
      "RocksDB's defaults but: WAL on, sync = true, write_buffer_size = 64 MiB, "
      "max_write_buffer_number = 4, compression = none, blob files from 4 KiB";
  return best;
}

}  // namespace sluice::bench

// What a claimed piece of work needs and how it ends, whatever its kind.
#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <stop_token>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/client/client.h"
#include "common/objects/object_store.h"
#include "services/compactor/embed_scheduler.h"
#include "services/compactor/fault.h"
#include "services/compactor/lease.h"
#include "services/compactor/metrics.h"
#include "services/compactor/segment_cache.h"
#include "services/compactor/settings.h"
#include "services/compactor/vector_cache.h"

namespace sluice::compactor {

// Shared by all jobs of a process; every part is thread-safe.
struct Workplace {
  client::Compaction& compaction;
  client::Log& log;
  const ObjectStore& objects;
  SegmentCache& cache;
  Metrics& metrics;
  Faults& faults;
  const CompactorSettings& settings;
  const EmbedSchedulers& embedders;
  // nullptr: vectors are not kept for reuse.
  VectorCache* vectors;
};

// A sign of life of one loop.
class Pulse {
 public:
  void Beat() { last_ = std::chrono::steady_clock::now().time_since_epoch(); }
  std::chrono::steady_clock::duration age() const {
    return std::chrono::steady_clock::now().time_since_epoch() - last_.load();
  }

 private:
  std::atomic<std::chrono::steady_clock::duration> last_ =
      std::chrono::steady_clock::now().time_since_epoch();
};

// A job under its lease.
struct Job {
  const Workplace& workplace;
  const v1::ClaimResponse& claim;
  HeldLease& lease;
  Pulse& pulse;
  // The process is stopping: finish what is near its commit, begin nothing.
  std::stop_token stop;
};

// A name in the object store's own file system, removed at the end of the scope if the file is
// still there.
class TemporaryFile {
 public:
  explicit TemporaryFile(const ObjectStore& objects) : path_(objects.NewTemporaryPath()) {}
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  const std::filesystem::path path_;
};

// Puts a finished segment into the object store under the lease's token and `number`, which it
// notes in `info`.
absl::Status StoreSegment(const Job& job, uint64_t number, const TemporaryFile& file,
                          v1::SegmentInfo* info);

}  // namespace sluice::compactor

// Objects downloaded to the local disk, kept within a budget: the least recently used go first, and
// never one that is held. One download an object however many want it; a few at once.
//
// A folder of one process (it is locked): <folder>/<name, '_' for '/'>.<sha256>, and
// <folder>/.tmp/<uuid> while it is being written. Files are found again after a restart, and are
// checked against the checksum in their names before they are given out for the first time.
// Thread-safe; files given out outlive this.
//
// Limits: what is held, and what is being downloaded, may exceed the budget for as long as it is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/mutex.h"
#include "common/objects/object_store.h"

namespace sluice {

class ObjectCache {
 public:
  // Writes the object to a path that does not exist yet, syncs nothing, and returns the SHA-256 in
  // hex of what it has verified.
  using Download = std::function<absl::StatusOr<std::string>(const std::filesystem::path&)>;

  // UNAVAILABLE also if another process has the folder.
  static absl::StatusOr<std::unique_ptr<ObjectCache>> Open(std::filesystem::path folder,
                                                           uint64_t max_bytes);
  ~ObjectCache();

  std::filesystem::path NewTemporaryPath() const;
  // The file of the object. Whoever wants it while it is being downloaded gets that outcome, unless
  // the one that downloads has lost its patience.
  absl::StatusOr<ObjectFile> Get(std::string_view name, const Download& download,
                                 const Patience& patience = {}) EXCLUDES(mutex_);
  // If it is here; else nullptr. One of an earlier life is checked first.
  ObjectFile Find(std::string_view name) EXCLUDES(mutex_);
  // Moves `file`, which holds the object, into the cache. Nothing if that is not possible.
  void Add(std::string_view name, const std::filesystem::path& file, const std::string& sha256)
      EXCLUDES(mutex_);
  // The object was deleted.
  void Remove(std::string_view name) EXCLUDES(mutex_);

 private:
  struct Entry {
    ObjectFile file;
    uint64_t bytes = 0;
    // Not checked since the start.
    bool unchecked = false;
    // In recent_.
    std::list<std::string>::iterator place;
  };
  struct Arrival {
    bool done = false;
    // Nothing is known: the one that downloaded gave it up.
    bool given_up = false;
    absl::StatusOr<ObjectFile> outcome;
  };

  ObjectCache(std::filesystem::path folder, uint64_t max_bytes, int lock)
      : folder_(std::move(folder)), max_bytes_(max_bytes), lock_(lock) {}
  void FindFiles() EXCLUDES(mutex_);
  // A file of an earlier life, if it is still what its name says; else nullptr.
  ObjectFile Check(const std::string& name) EXCLUDES(mutex_);
  void Conclude(const std::string& name, Arrival& arrival, absl::StatusOr<ObjectFile> outcome,
                bool given_up) REQUIRES(mutex_);
  ObjectFile FindChecked(const std::string& name) REQUIRES(mutex_);
  // Waits; false if patience ends first.
  bool Await(const Patience& patience, const std::function<bool()>& ready) REQUIRES(mutex_);
  absl::StatusOr<ObjectFile> Arrive(const std::string& name, const Download& download)
      EXCLUDES(mutex_);
  absl::StatusOr<ObjectFile> Move(const std::string& name, const std::filesystem::path& file,
                                  const std::string& sha256) EXCLUDES(mutex_);
  void Keep(const std::string& name, ObjectFile file, uint64_t bytes, bool unchecked)
      REQUIRES(mutex_);
  void Drop(const std::string& name) REQUIRES(mutex_);
  void Evict() REQUIRES(mutex_);

  const std::filesystem::path folder_;
  const uint64_t max_bytes_;
  const int lock_;

  Mutex mutex_;
  CondVar changed_;
  std::map<std::string, Entry, std::less<>> entries_ GUARDED_BY(mutex_);
  // Most recently used first.
  std::list<std::string> recent_ GUARDED_BY(mutex_);
  uint64_t bytes_ GUARDED_BY(mutex_) = 0;
  std::map<std::string, std::shared_ptr<Arrival>, std::less<>> arriving_ GUARDED_BY(mutex_);
  int downloads_ GUARDED_BY(mutex_) = 0;
};

}  // namespace sluice

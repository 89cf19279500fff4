// Disk space that is set aside so that a shard can start where the disk is full: RocksDB writes a
// manifest when it opens, and what was not persisted, which the journal gives back, may have to be
// flushed before all of it is applied. Without that nothing could be read.
//
// A file beside the journal and the store, as large as their memtables may be together.
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <utility>

#include "common/base/mutex.h"
#include "services/log/file.h"

namespace sluice::log {

class Reserve {
 public:
  // Nothing is done yet.
  Reserve(std::filesystem::path path, uint64_t bytes, FileSystem& files)
      : path_(std::move(path)), bytes_(bytes), files_(files) {}

  // Sets the space aside if it is not already, and if as much is left to write to. False: there is
  // not so much.
  bool Hold() EXCLUDES(mutex_);
  // Gives it back, for a start.
  void Release() EXCLUDES(mutex_);
  // After a start: all of it again, or as much as is there, for the next one, and false.
  bool HoldWhatIsLeft() EXCLUDES(mutex_);

 private:
  // Whether the disk has so much; the file then takes `size` of it.
  bool Allocate(uint64_t bytes, uint64_t size) REQUIRES(mutex_);

  const std::filesystem::path path_;
  const uint64_t bytes_;
  FileSystem& files_;
  Mutex mutex_;
  bool held_ GUARDED_BY(mutex_) = false;
};

}  // namespace sluice::log

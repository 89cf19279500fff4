// RocksDB's way to the disk. Three things that RocksDB's own file system does not do:
//
// Its I/O errors are such that RocksDB can go on after them. It takes most of them for fatal, and
// writes no more until it is opened again. Those of a compaction become errors that may pass, which
// it tries again by itself; all others that of a full disk: the one after which it does nothing in
// the background until it is told to resume (Store::Recover). What an error says stays as it was.
//
// Where a file system knows no direct I/O, files are written and read without.
//
// What it writes by direct I/O goes in small pieces, so that a sync of the journal does not wait on
// the disk behind a MiB of a flush; but a flush that is late (Hurry) writes as RocksDB says, which
// is faster.
//
// Thread-safe.
#pragma once

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <atomic>
#include <memory>
#include <string>

namespace sluice::log {

class StoreFiles : public rocksdb::FileSystemWrapper {
 public:
  explicit StoreFiles(const std::shared_ptr<rocksdb::FileSystem>& target)
      : FileSystemWrapper(target) {}
  // While in scope, this thread compacts.
  struct Compacting {
    Compacting();
    ~Compacting();
  };

  // Whether a memtable waits for the flush that is under way.
  void Hurry(bool late) { late_.store(late, std::memory_order_relaxed); }

  static const char* kClassName() { return "SluiceStoreFiles"; }
  const char* Name() const override { return kClassName(); }

  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewRandomAccessFile(const std::string& path,
                                        const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                                        rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewDirectory(const std::string& path, const rocksdb::IOOptions& options,
                                 std::unique_ptr<rocksdb::FSDirectory>* folder,
                                 rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;

 private:
  // Outlives the files.
  std::atomic<bool> late_{false};
};

// RocksDB writes a log of its own beside each database that it opens; not with this one. (Where the
// disk is full, Debian's RocksDB ends the process when it writes the next line of it.)
class NoLog : public rocksdb::Logger {
 public:
  using Logger::Logv;
  void Logv(const char*, va_list) override {}
};

}  // namespace sluice::log

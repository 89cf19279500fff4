// RocksDB's way to the disk. Two things that RocksDB's own file system does not do:
//
// I/O errors are marked as retryable: without that, RocksDB takes a failed flush, compaction or
// manifest write for fatal and writes no more until it is opened again. A full disk is an I/O error
// like any other: else RocksDB would wait for space, and resume, by itself (SstFileManager), beside
// Store::Recover.
//
// Where a file system knows no direct I/O, files are written and read without.
//
// Thread-safe.
#pragma once

#include <rocksdb/file_system.h>

#include <memory>
#include <string>

namespace sluice::log {

class StoreFiles : public rocksdb::FileSystemWrapper {
 public:
  explicit StoreFiles(const std::shared_ptr<rocksdb::FileSystem>& target)
      : FileSystemWrapper(target) {}
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
};

}  // namespace sluice::log

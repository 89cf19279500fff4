#include "services/log/store_files.h"

#include <algorithm>
#include <utility>

namespace sluice::log {
namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

// A quarter of a millisecond of what a disk of 500 MB/s does.
constexpr size_t kPieceBytes = 128 << 10;

thread_local bool compacting = false;

IOStatus Resumable(IOStatus status) {
  // What is not there will not be there the next time either.
  if (!status.IsIOError() || status.IsPathNotFound()) return status;
  if (!compacting) return status.IsNoSpace() ? status : IOStatus::NoSpace(status.getState());
  if (status.IsNoSpace()) status = IOStatus::IOError(status.getState());
  status.SetRetryable(true);
  return status;
}

class WritableFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  WritableFile(std::unique_ptr<rocksdb::FSWritableFile> file, const std::atomic<bool>* late)
      : FSWritableFileOwnerWrapper(std::move(file)), late_(late) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    return Resumable(FSWritableFileOwnerWrapper::Append(data, options, debug));
  }
  IOStatus Append(const Slice& data, const IOOptions& options,
                  const rocksdb::DataVerificationInfo& verification,
                  IODebugContext* debug) override {
    return Resumable(FSWritableFileOwnerWrapper::Append(data, options, verification, debug));
  }
  IOStatus PositionedAppend(const Slice& data, uint64_t offset, const IOOptions& options,
                            IODebugContext* debug) override {
    for (Slice left = data; !left.empty();) {
      const bool whole = !compacting && late_->load(std::memory_order_relaxed);
      const Slice piece(left.data(), whole ? left.size() : std::min(left.size(), kPieceBytes));
      IOStatus status = FSWritableFileOwnerWrapper::PositionedAppend(piece, offset, options, debug);
      if (!status.ok()) return Resumable(std::move(status));
      offset += piece.size();
      left.remove_prefix(piece.size());
    }
    return IOStatus::OK();
  }
  IOStatus PositionedAppend(const Slice& data, uint64_t offset, const IOOptions& options,
                            const rocksdb::DataVerificationInfo& verification,
                            IODebugContext* debug) override {
    return Resumable(
        FSWritableFileOwnerWrapper::PositionedAppend(data, offset, options, verification, debug));
  }
  IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* debug) override {
    return Resumable(FSWritableFileOwnerWrapper::Truncate(size, options, debug));
  }
  IOStatus Close(const IOOptions& options, IODebugContext* debug) override {
    return Resumable(FSWritableFileOwnerWrapper::Close(options, debug));
  }
  IOStatus Flush(const IOOptions& options, IODebugContext* debug) override {
    return Resumable(FSWritableFileOwnerWrapper::Flush(options, debug));
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    return Resumable(FSWritableFileOwnerWrapper::Sync(options, debug));
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Resumable(FSWritableFileOwnerWrapper::Fsync(options, debug));
  }
  IOStatus RangeSync(uint64_t offset, uint64_t bytes, const IOOptions& options,
                     IODebugContext* debug) override {
    return Resumable(FSWritableFileOwnerWrapper::RangeSync(offset, bytes, options, debug));
  }

 private:
  const std::atomic<bool>* const late_;
};

class ReadableFile : public rocksdb::FSRandomAccessFileOwnerWrapper {
 public:
  using FSRandomAccessFileOwnerWrapper::FSRandomAccessFileOwnerWrapper;

  IOStatus Read(uint64_t offset, size_t n, const IOOptions& options, Slice* result, char* scratch,
                IODebugContext* debug) const override {
    return Resumable(
        FSRandomAccessFileOwnerWrapper::Read(offset, n, options, result, scratch, debug));
  }
};

class Folder : public rocksdb::FSDirectoryWrapper {
 public:
  using FSDirectoryWrapper::FSDirectoryWrapper;

  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Resumable(FSDirectoryWrapper::Fsync(options, debug));
  }
  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* debug,
                               const rocksdb::DirFsyncOptions& what) override {
    return Resumable(FSDirectoryWrapper::FsyncWithDirOptions(options, debug, what));
  }
};

}  // namespace

StoreFiles::Compacting::Compacting() { compacting = true; }

StoreFiles::Compacting::~Compacting() { compacting = false; }

IOStatus StoreFiles::NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                     std::unique_ptr<rocksdb::FSWritableFile>* file,
                                     IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSWritableFile> opened;
  IOStatus status = target()->NewWritableFile(path, options, &opened, debug);
  if (status.IsIOError() && !status.IsNoSpace() && options.use_direct_writes) {
    rocksdb::FileOptions buffered = options;
    buffered.use_direct_writes = false;
    status = target()->NewWritableFile(path, buffered, &opened, debug);
  }
  if (status.ok()) *file = std::make_unique<WritableFile>(std::move(opened), &late_);
  return Resumable(std::move(status));
}

IOStatus StoreFiles::NewRandomAccessFile(const std::string& path,
                                         const rocksdb::FileOptions& options,
                                         std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                                         IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSRandomAccessFile> opened;
  IOStatus status = target()->NewRandomAccessFile(path, options, &opened, debug);
  if (status.IsIOError() && options.use_direct_reads) {
    rocksdb::FileOptions buffered = options;
    buffered.use_direct_reads = false;
    status = target()->NewRandomAccessFile(path, buffered, &opened, debug);
  }
  if (status.ok()) *file = std::make_unique<ReadableFile>(std::move(opened));
  return Resumable(std::move(status));
}

IOStatus StoreFiles::NewDirectory(const std::string& path, const IOOptions& options,
                                  std::unique_ptr<rocksdb::FSDirectory>* folder,
                                  IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSDirectory> opened;
  IOStatus status = target()->NewDirectory(path, options, &opened, debug);
  if (status.ok()) *folder = std::make_unique<Folder>(std::move(opened));
  return Resumable(std::move(status));
}

IOStatus StoreFiles::RenameFile(const std::string& from, const std::string& to,
                                const IOOptions& options, IODebugContext* debug) {
  return Resumable(target()->RenameFile(from, to, options, debug));
}

}  // namespace sluice::log

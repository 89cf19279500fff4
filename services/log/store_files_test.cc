#include "services/log/store_files.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "services/log/test_support.h"

namespace sluice::log {
namespace {

// A file of the machine's that remembers the sizes of what is written to it.
class Recorded : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  Recorded(std::unique_ptr<rocksdb::FSWritableFile> file, std::vector<size_t>* sizes)
      : FSWritableFileOwnerWrapper(std::move(file)), sizes_(sizes) {}
  rocksdb::IOStatus PositionedAppend(const rocksdb::Slice& data, uint64_t offset,
                                     const rocksdb::IOOptions& options,
                                     rocksdb::IODebugContext* debug) override {
    sizes_->push_back(data.size());
    return FSWritableFileOwnerWrapper::PositionedAppend(data, offset, options, debug);
  }

 private:
  std::vector<size_t>* const sizes_;
};

class RecordingFiles : public rocksdb::FileSystemWrapper {
 public:
  RecordingFiles() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  static const char* kClassName() { return "RecordingFiles"; }
  const char* Name() const override { return kClassName(); }
  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override {
    std::unique_ptr<rocksdb::FSWritableFile> opened;
    rocksdb::IOStatus status = target()->NewWritableFile(path, options, &opened, debug);
    if (status.ok()) *file = std::make_unique<Recorded>(std::move(opened), &sizes);
    return status;
  }

  std::vector<size_t> sizes;
};

TEST(StoreFilesTest, WritesInSmallPiecesUnlessAFlushIsLate) {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "file").string();
  const auto disk = std::make_shared<RecordingFiles>();
  StoreFiles files(disk);
  std::unique_ptr<rocksdb::FSWritableFile> file;
  ASSERT_TRUE(files.NewWritableFile(path, {}, &file, nullptr).ok());

  const size_t kBytes = (1 << 20) + 4096;
  std::string written;
  const auto write = [&](char fill) {
    const std::string data(kBytes, fill);
    ASSERT_TRUE(file->PositionedAppend(data, written.size(), {}, nullptr).ok());
    written += data;
  };
  write('a');
  EXPECT_EQ(disk->sizes.size(), 9);
  for (const size_t size : disk->sizes) EXPECT_LE(size, 128 << 10);

  disk->sizes.clear();
  files.Hurry(true);
  write('b');
  EXPECT_EQ(disk->sizes, std::vector<size_t>{kBytes});

  // A compaction is never in such a hurry.
  disk->sizes.clear();
  {
    const StoreFiles::Compacting compacting;
    write('c');
  }
  EXPECT_EQ(disk->sizes.size(), 9);

  disk->sizes.clear();
  files.Hurry(false);
  write('d');
  EXPECT_EQ(disk->sizes.size(), 9);

  ASSERT_TRUE(file->Close({}, nullptr).ok());
  std::string read;
  ASSERT_TRUE(rocksdb::ReadFileToString(rocksdb::Env::Default(), path, &read).ok());
  EXPECT_EQ(read, written);
}

}  // namespace
}  // namespace sluice::log

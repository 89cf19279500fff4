#include "common/segment/rows.h"

#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/sst_file_reader.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/table.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/coding.h"
#include "common/errors/errors.h"
#include "common/segment/files.h"
#include "common/segment/format.h"

namespace sluice {
namespace {

constexpr size_t kCacheBytes = 32 << 20;
constexpr size_t kBlockBytes = 16 << 10;
// A cursor walks over this many unwanted rows rather than seek past them.
constexpr uint32_t kWalkRows = 8;

// What RocksDB asks us to open: the name says nothing, since a SectionFileSystem has one file.
constexpr const char* kSectionName = "rows";

using rocksdb::FileOptions;
using rocksdb::FSRandomAccessFile;
using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

class SectionFile final : public FSRandomAccessFile {
 public:
  explicit SectionFile(std::string_view bytes) : bytes_(bytes) {}

  IOStatus Read(uint64_t offset, size_t n, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) const override {
    const size_t begin = std::min<uint64_t>(offset, bytes_.size());
    // Copied, since a block may stay in the cache for longer than the segment is open.
    *result = Slice(scratch, bytes_.copy(scratch, n, begin));
    return IOStatus::OK();
  }
  // Memory needs no read-ahead.
  IOStatus Prefetch(uint64_t, size_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::OK();
  }

 private:
  const std::string_view bytes_;
};

// Not synced: the segment is, once the section was copied into it.
class ScratchFile final : public FSWritableFile {
 public:
  explicit ScratchFile(Scratch* out) : out_(out), begin_(out->size()) {}

  using FSWritableFile::Append;
  IOStatus Append(const Slice& data, const IOOptions&, IODebugContext*) override {
    const absl::Status appended = out_->Append({data.data(), data.size()});
    return appended.ok() ? IOStatus::OK() : IOStatus::IOError(std::string(appended.message()));
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  IOStatus Flush(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  IOStatus Sync(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  uint64_t GetFileSize(const IOOptions&, IODebugContext*) override { return out_->size() - begin_; }

 private:
  Scratch* const out_;
  const uint64_t begin_;
};

// One file: `read`, or a new one that appends to `write`.
class SectionFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  explicit SectionFileSystem(std::string_view read, Scratch* write)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), read_(read), write_(write) {}

  const char* Name() const override { return "SegmentSection"; }
  IOStatus NewRandomAccessFile(const std::string&, const FileOptions&,
                               std::unique_ptr<FSRandomAccessFile>* file,
                               IODebugContext*) override {
    *file = std::make_unique<SectionFile>(read_);
    return IOStatus::OK();
  }
  IOStatus GetFileSize(const std::string&, const IOOptions&, uint64_t* size,
                       IODebugContext*) override {
    *size = read_.size();
    return IOStatus::OK();
  }
  IOStatus NewWritableFile(const std::string&, const FileOptions&,
                           std::unique_ptr<FSWritableFile>* file, IODebugContext*) override {
    *file = std::make_unique<ScratchFile>(write_);
    return IOStatus::OK();
  }
  // After a failed write: the scratch space goes by itself.
  IOStatus DeleteFile(const std::string&, const IOOptions&, IODebugContext*) override {
    return IOStatus::OK();
  }

 private:
  const std::string_view read_;
  Scratch* const write_;
};

rocksdb::Options RowsOptions(rocksdb::Env* env) {
  static const rocksdb::Options* const shared = [] {
    rocksdb::BlockBasedTableOptions table;
    table.block_size = kBlockBytes;
    table.format_version = 5;
    table.checksum = rocksdb::kXXH3;
    table.block_cache = rocksdb::NewLRUCache(kCacheBytes);
    auto* options = new rocksdb::Options;
    options->table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    options->compression = rocksdb::kLZ4Compression;
    // Would otherwise be the name of the machine.
    options->db_host_id = "";
    return options;
  }();
  rocksdb::Options options = *shared;
  options.env = env;
  return options;
}

std::string Key(uint32_t row) {
  std::string key;
  PutFixed(&key, __builtin_bswap32(row));
  return key;
}

bool IsAt(const rocksdb::Iterator& it, std::string_view key) {
  return it.Valid() && std::string_view(it.key().data(), it.key().size()) == key;
}

std::string_view ValueOf(const rocksdb::Iterator& it) {
  return {it.value().data(), it.value().size()};
}

// Of a row that is not where it must be.
absl::Status RowError(const rocksdb::Iterator& it, uint32_t row, const std::string& object) {
  return SegmentCorrupt(
      object,
      absl::StrCat("row ", row, ": ", it.status().ok() ? "missing" : it.status().ToString()));
}

}  // namespace

struct RowsWriter::Rep {
  explicit Rep(Scratch* out)
      : env(rocksdb::NewCompositeEnv(std::make_shared<SectionFileSystem>("", out))),
        options(RowsOptions(env.get())),
        sst(rocksdb::EnvOptions(), options) {}

  std::unique_ptr<rocksdb::Env> env;
  rocksdb::Options options;
  rocksdb::SstFileWriter sst;
};

RowsWriter::RowsWriter(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
RowsWriter::~RowsWriter() = default;

absl::StatusOr<std::unique_ptr<RowsWriter>> RowsWriter::Create(Scratch* out) {
  auto rep = std::make_unique<Rep>(out);
  if (const auto s = rep->sst.Open(kSectionName); !s.ok()) {
    return absl::UnavailableError(s.ToString());
  }
  return std::unique_ptr<RowsWriter>(new RowsWriter(std::move(rep)));
}

absl::Status RowsWriter::Add(std::string_view value) {
  const auto s = rep_->sst.Put(Key(rows_), Slice(value.data(), value.size()));
  if (!s.ok()) return absl::UnavailableError(s.ToString());
  ++rows_;
  return absl::OkStatus();
}

absl::Status RowsWriter::Finish() {
  const auto s = rep_->sst.Finish();
  return s.ok() ? absl::OkStatus() : absl::UnavailableError(s.ToString());
}

struct RowsReader::Rep {
  Rep(std::string_view section, std::string name)
      : object(std::move(name)),
        env(rocksdb::NewCompositeEnv(std::make_shared<SectionFileSystem>(section, nullptr))),
        sst(RowsOptions(env.get())) {}

  const std::string object;
  std::unique_ptr<rocksdb::Env> env;
  mutable rocksdb::SstFileReader sst;
};

RowsReader::RowsReader(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
RowsReader::~RowsReader() = default;

absl::StatusOr<std::unique_ptr<RowsReader>> RowsReader::Open(std::string_view section,
                                                             uint64_t rows, std::string object) {
  auto rep = std::make_unique<Rep>(section, std::move(object));
  if (const auto s = rep->sst.Open(kSectionName); !s.ok()) {
    return SegmentCorrupt(rep->object, s.ToString());
  }
  if (const auto stored = rep->sst.GetTableProperties()->num_entries; stored != rows) {
    return SegmentCorrupt(rep->object, absl::StrCat(stored, " rows instead of ", rows));
  }
  return std::unique_ptr<RowsReader>(new RowsReader(std::move(rep)));
}

absl::StatusOr<std::string> RowsReader::Read(uint32_t row) const {
  const std::unique_ptr<rocksdb::Iterator> it(rep_->sst.NewIterator(rocksdb::ReadOptions()));
  const std::string key = Key(row);
  it->Seek(key);
  if (!IsAt(*it, key)) return RowError(*it, row, rep_->object);
  return std::string(ValueOf(*it));
}

const std::string& RowsReader::object() const { return rep_->object; }

struct RowsReader::Cursor::Rep {
  Rep(const std::string& of, std::unique_ptr<rocksdb::Iterator> iterator)
      : object(of), it(std::move(iterator)) {}

  const std::string& object;
  std::unique_ptr<rocksdb::Iterator> it;
  // Where `it` stands, if it is valid.
  uint32_t row = 0;
};

RowsReader::Cursor::Cursor(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
RowsReader::Cursor::Cursor(Cursor&&) noexcept = default;
RowsReader::Cursor::~Cursor() = default;

RowsReader::Cursor RowsReader::NewCursor() const {
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  return Cursor(std::make_unique<Cursor::Rep>(
      rep_->object, std::unique_ptr<rocksdb::Iterator>(rep_->sst.NewIterator(options))));
}

absl::StatusOr<std::string_view> RowsReader::Cursor::Read(uint32_t row) {
  rocksdb::Iterator& it = *rep_->it;
  const std::string key = Key(row);
  if (it.Valid() && row - rep_->row <= kWalkRows) {
    while (it.Valid() && rep_->row < row) {
      it.Next();
      ++rep_->row;
    }
  } else {
    it.Seek(key);
  }
  rep_->row = row;
  if (!IsAt(it, key)) return RowError(it, row, rep_->object);
  return ValueOf(it);
}

}  // namespace sluice

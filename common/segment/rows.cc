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

constexpr size_t kCacheBytes = 64 << 20;
constexpr size_t kBlockBytes = 8 << 10;
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

// The bytes of a section, in memory or read by range.
struct Source {
  std::string_view memory;
  RowsReader::ReadRange read;
  uint64_t size = 0;
};

IOStatus ToRocksDb(const absl::Status& error) {
  const std::string message(error.message());
  if (absl::IsNotFound(error)) return IOStatus::PathNotFound(message);
  if (absl::IsDataLoss(error)) return IOStatus::Corruption(message);
  return IOStatus::IOError(message);
}

class SectionFile final : public FSRandomAccessFile {
 public:
  // `source` outlives it.
  explicit SectionFile(const Source& source) : source_(source) {}

  IOStatus Read(uint64_t offset, size_t n, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) const override {
    const uint64_t begin = std::min(offset, source_.size);
    const size_t bytes = std::min<uint64_t>(n, source_.size - begin);
    if (!source_.read) {
      // Copied, since a block may stay in the cache for longer than the segment is open.
      *result = Slice(scratch, source_.memory.copy(scratch, bytes, begin));
      return IOStatus::OK();
    }
    const absl::StatusOr<std::string> range = source_.read(begin, bytes);
    if (!range.ok()) return ToRocksDb(range.status());
    *result = Slice(scratch, range->copy(scratch, bytes));
    return IOStatus::OK();
  }
  // Nothing is read ahead: what is read at opening is at hand already.
  IOStatus Prefetch(uint64_t, size_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::OK();
  }

 private:
  const Source& source_;
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

// One file: that of `read`, or a new one that appends to `write`.
class SectionFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  SectionFileSystem(Source read, Scratch* write)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), read_(std::move(read)), write_(write) {}

  const char* Name() const override { return "SegmentSection"; }
  IOStatus NewRandomAccessFile(const std::string&, const FileOptions&,
                               std::unique_ptr<FSRandomAccessFile>* file,
                               IODebugContext*) override {
    *file = std::make_unique<SectionFile>(read_);
    return IOStatus::OK();
  }
  IOStatus GetFileSize(const std::string&, const IOOptions&, uint64_t* size,
                       IODebugContext*) override {
    *size = read_.size;
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
  const Source read_;
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

// What is not as it must be, or could not be read.
absl::Status ReadError(const rocksdb::Status& error, const std::string& object,
                       const std::string& what) {
  const std::string message = absl::StrCat(what, error.ok() ? "missing" : error.ToString());
  if (error.IsPathNotFound()) return absl::NotFoundError(message);
  if (error.IsIOError()) return absl::UnavailableError(message);
  return SegmentCorrupt(object, message);
}

// Of a row that is not where it must be.
absl::Status RowError(const rocksdb::Iterator& it, uint32_t row, const std::string& object) {
  return ReadError(it.status(), object, absl::StrCat("row ", row, ": "));
}

}  // namespace

struct RowsWriter::Rep {
  explicit Rep(Scratch* out)
      : env(rocksdb::NewCompositeEnv(std::make_shared<SectionFileSystem>(Source(), out))),
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
  Rep(Source section, std::string name)
      : object(std::move(name)),
        bytes(section.size),
        by_range(section.read != nullptr),
        env(rocksdb::NewCompositeEnv(
            std::make_shared<SectionFileSystem>(std::move(section), nullptr))),
        sst(RowsOptions(env.get())) {}

  const std::string object;
  const uint64_t bytes;
  const bool by_range;
  std::unique_ptr<rocksdb::Env> env;
  mutable rocksdb::SstFileReader sst;
};

RowsReader::RowsReader(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
RowsReader::~RowsReader() = default;

absl::StatusOr<std::unique_ptr<RowsReader>> RowsReader::Open(std::string_view section,
                                                             uint64_t rows, std::string object) {
  return Open(
      std::make_unique<Rep>(Source{.memory = section, .read = nullptr, .size = section.size()},
                            std::move(object)),
      rows);
}

absl::StatusOr<std::unique_ptr<RowsReader>> RowsReader::Open(ReadRange read, uint64_t bytes,
                                                             uint64_t rows, std::string object) {
  return Open(std::make_unique<Rep>(Source{.memory = {}, .read = std::move(read), .size = bytes},
                                    std::move(object)),
              rows);
}

absl::StatusOr<std::unique_ptr<RowsReader>> RowsReader::Open(std::unique_ptr<Rep> rep,
                                                             uint64_t rows) {
  if (const auto s = rep->sst.Open(kSectionName); !s.ok()) return ReadError(s, rep->object, "");
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
uint64_t RowsReader::bytes() const { return rep_->bytes; }

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

RowsReader::Cursor RowsReader::NewCursorAhead(uint64_t bytes) const {
  rocksdb::ReadOptions options;
  if (rep_->by_range) options.readahead_size = bytes;
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

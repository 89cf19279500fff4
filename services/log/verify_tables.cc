#include "services/log/verify_tables.h"

#include <google/protobuf/io/coded_stream.h>
#include <rocksdb/env.h>
#include <rocksdb/sst_file_reader.h>
#include <xxhash.h>

#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/coding.h"
#include "common/errors/errors.h"
#include "services/log/store.h"
#include "services/log/store_files.h"

namespace sluice::log {
namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

// RocksDB's block based table, format 5, whose blocks have checksums by XXH3: what Store writes.
//   footer, 53 bytes: u8 kind of checksum; two handles (of the index of other blocks, of the index
//   of data), padded to 40 bytes; u32 version; u64 magic
//   handle: varint offset, varint size
//   block: `size` bytes, u8 compression, u32 checksum of both
constexpr size_t kFooterBytes = 53;
constexpr size_t kHandlesBytes = 40;
constexpr size_t kTrailerBytes = 5;
constexpr uint8_t kXxh3 = 4;
constexpr uint32_t kVersion = 5;
constexpr uint64_t kMagic = 0x88e241b785f4cff7;
constexpr std::string_view kProperties = "rocksdb.properties";
// Of what is read of a table at once.
constexpr size_t kReadAheadBytes = 2 << 20;

struct Handle {
  uint64_t offset = 0;
  uint64_t size = 0;
};

// Varints and bytes, off the front of a string.
class Varints {
 public:
  explicit Varints(std::string_view bytes)
      : in_(reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int>(bytes.size())) {}
  std::optional<uint64_t> Next() {
    uint64_t value = 0;
    if (!in_.ReadVarint64(&value)) return std::nullopt;
    return value;
  }
  std::optional<std::string> Bytes(uint64_t n) {
    std::string bytes;
    if (n > INT32_MAX || !in_.ReadString(&bytes, static_cast<int>(n))) return std::nullopt;
    return bytes;
  }
  std::optional<Handle> NextHandle() {
    const auto offset = Next();
    const auto size = Next();
    if (!offset || !size) return std::nullopt;
    return Handle{*offset, *size};
  }
  bool done() { return in_.CurrentPosition() >= end_; }
  void EndAt(int position) { end_ = position; }

 private:
  google::protobuf::io::CodedInputStream in_;
  int end_ = 0;
};

uint32_t BlockChecksum(std::string_view bytes_and_compression) {
  const std::string_view bytes = bytes_and_compression.substr(0, bytes_and_compression.size() - 1);
  const auto last = static_cast<uint8_t>(bytes_and_compression.back());
  return static_cast<uint32_t>(XXH3_64bits(bytes.data(), bytes.size())) ^
         (uint32_t{last} * 0x6b9083d9U);
}

class TableFrame {
 public:
  explicit TableFrame(const std::filesystem::path& path)
      : path_(path), in_(path, std::ios::binary) {}

  absl::Status Check() {
    if (!in_) return absl::NotFoundError(absl::StrCat(path_.string(), ": cannot be opened"));
    in_.seekg(0, std::ios::end);
    size_ = static_cast<uint64_t>(in_.tellg());
    if (size_ < kFooterBytes) return Damaged("is too short for a table");
    const absl::StatusOr<std::string> footer = ReadAt(size_ - kFooterBytes, kFooterBytes);
    SLUICE_RETURN_IF_ERROR(footer.status());
    Decoder in(*footer);
    const auto checksum = in.Fixed<uint8_t>();
    Varints handles(in.Bytes(kHandlesBytes));
    const auto others = handles.NextHandle();
    const auto data_index = handles.NextHandle();
    const auto version = in.Fixed<uint32_t>();
    if (in.Fixed<uint64_t>() != kMagic || version != kVersion || checksum != kXxh3 || !others ||
        !data_index || !Within(*data_index)) {
      return Damaged("its footer cannot be read");
    }
    SLUICE_ASSIGN_OR_RETURN(const std::string index,
                            ReadBlock(*others, "its index of other blocks"));
    const auto properties = FindProperties(index);
    if (!properties) return Damaged("it does not say where its properties are");
    return ReadBlock(*properties, "its properties").status();
  }

 private:
  absl::Status Damaged(std::string_view what) const {
    return absl::DataLossError(absl::StrCat(path_.string(), ": ", std::string(what)));
  }
  bool Within(const Handle& block) const {
    const uint64_t end = size_ - kFooterBytes;
    return block.offset <= end && block.size <= end &&
           block.offset + block.size + kTrailerBytes <= end;
  }
  absl::StatusOr<std::string> ReadAt(uint64_t offset, uint64_t bytes) {
    std::string read(bytes, '\0');
    in_.seekg(static_cast<std::streamoff>(offset));
    if (!in_.read(read.data(), static_cast<std::streamsize>(bytes))) {
      return absl::UnavailableError(absl::StrCat("reading ", path_.string()));
    }
    return read;
  }
  absl::StatusOr<std::string> ReadBlock(const Handle& block, std::string_view what) {
    const std::string name(what);
    if (!Within(block)) return Damaged(name + " cannot be where the footer says");
    SLUICE_ASSIGN_OR_RETURN(std::string bytes, ReadAt(block.offset, block.size + kTrailerBytes));
    const auto stored = GetFixed<uint32_t>(bytes.data() + block.size + 1);
    if (BlockChecksum({bytes.data(), block.size + 1}) != stored) {
      return Damaged(name + " do not match their checksum");
    }
    bytes.resize(block.size);
    return bytes;
  }
  // Entries of a block: bytes shared with the key before, further bytes of the key, bytes of the
  // value, key, value; at the end u32 places of entries that share nothing, and how many.
  static std::optional<Handle> FindProperties(const std::string& index) {
    if (index.size() < sizeof(uint32_t)) return std::nullopt;
    const uint64_t places = GetFixed<uint32_t>(index.data() + index.size() - sizeof(uint32_t));
    if ((places + 1) * sizeof(uint32_t) > index.size()) return std::nullopt;
    Varints in(index);
    in.EndAt(static_cast<int>(index.size() - (places + 1) * sizeof(uint32_t)));
    std::string key;
    while (!in.done()) {
      const auto shared = in.Next();
      const auto further = in.Next();
      const auto value_bytes = in.Next();
      if (!shared || !further || !value_bytes || *shared > key.size()) return std::nullopt;
      const auto rest = in.Bytes(*further);
      const auto value = in.Bytes(*value_bytes);
      if (!rest || !value) return std::nullopt;
      key = key.substr(0, *shared) + *rest;
      if (key == kProperties) return Varints(*value).NextHandle();
    }
    return std::nullopt;
  }

  const std::filesystem::path path_;
  std::ifstream in_;
  uint64_t size_ = 0;
};

class PacedFile : public rocksdb::FSRandomAccessFileOwnerWrapper {
 public:
  PacedFile(std::unique_ptr<rocksdb::FSRandomAccessFile> file, VerifyWork* work)
      : FSRandomAccessFileOwnerWrapper(std::move(file)), work_(work) {}
  IOStatus Read(uint64_t offset, size_t n, const IOOptions& options, rocksdb::Slice* result,
                char* scratch, IODebugContext* debug) const override {
    if (!work_->Read(n).ok()) return IOStatus::Aborted("the verification was ended");
    return FSRandomAccessFileOwnerWrapper::Read(offset, n, options, result, scratch, debug);
  }

 private:
  VerifyWork* const work_;
};

class PacedFiles : public rocksdb::FileSystemWrapper {
 public:
  explicit PacedFiles(VerifyWork* work)
      : FileSystemWrapper(std::make_shared<StoreFiles>(rocksdb::FileSystem::Default())),
        work_(work) {}
  static const char* kClassName() { return "SluicePacedFiles"; }
  const char* Name() const override { return kClassName(); }
  IOStatus NewRandomAccessFile(const std::string& path, const rocksdb::FileOptions& options,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                               IODebugContext* debug) override {
    std::unique_ptr<rocksdb::FSRandomAccessFile> opened;
    IOStatus status = target()->NewRandomAccessFile(path, options, &opened, debug);
    if (status.ok()) *file = std::make_unique<PacedFile>(std::move(opened), work_);
    return status;
  }

 private:
  VerifyWork* const work_;
};

}  // namespace

absl::Status CheckTableFrame(const std::filesystem::path& path) { return TableFrame(path).Check(); }

absl::Status CheckTableBlocks(const std::filesystem::path& path, VerifyWork& work) {
  const std::unique_ptr<rocksdb::Env> env =
      rocksdb::NewCompositeEnv(std::make_shared<PacedFiles>(&work));
  rocksdb::Options options;
  options.env = env.get();
  // What nobody else reads is not to take the page cache from what is read.
  options.use_direct_reads = true;
  // Opening reads the parts of filters too: where a start does so, it fails on one that is damaged.
  rocksdb::BlockBasedTableOptions table = TableOptions();
  table.metadata_cache_options.partition_pinning = rocksdb::PinningTier::kAll;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  options.prefix_extractor = BloomPrefix();
  rocksdb::ReadOptions read;
  read.fill_cache = false;
  read.readahead_size = kReadAheadBytes;
  rocksdb::SstFileReader reader(options);
  rocksdb::Status status = reader.Open(path.string());
  if (status.ok()) status = reader.VerifyChecksum(read);
  SLUICE_RETURN_IF_ERROR(work.Read(0));
  if (status.ok()) return absl::OkStatus();
  const std::string message = absl::StrCat(path.string(), ": ", status.ToString());
  if (status.IsPathNotFound()) return absl::NotFoundError(message);
  return status.IsCorruption() ? absl::DataLossError(message) : absl::UnavailableError(message);
}

}  // namespace sluice::log

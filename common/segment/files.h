// The files under a segment: written once from front to back, mapped to be read, and scratch space
// while writing. Each is an RAII owner; one thread, but what is mapped may be read by any. Errors:
// UNAVAILABLE with path and errno.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace sluice {

// A descriptor, closed at the end.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& o) noexcept {
    std::swap(fd_, o.fd_);
    return *this;
  }
  ~FileDescriptor();
  int get() const { return fd_; }

 private:
  int fd_;
};

class MappedFile;

// A new file, removed again unless it is kept.
class OutputFile {
 public:
  static absl::StatusOr<std::unique_ptr<OutputFile>> Create(std::filesystem::path path);
  ~OutputFile();

  absl::Status Append(std::string_view bytes);
  // Zeros up to a multiple of `alignment`.
  absl::Status Pad(size_t alignment);
  uint64_t size() const { return size_; }
  // Of all that was appended.
  uint32_t crc32c() const { return crc32c_; }
  // What was appended so far.
  absl::StatusOr<std::unique_ptr<MappedFile>> Map();
  // Everything is on the disk afterwards, and the file stays.
  absl::Status SyncAndKeep();

 private:
  OutputFile(std::filesystem::path path, FileDescriptor fd);
  absl::Status Flush();

  const std::filesystem::path path_;
  FileDescriptor fd_;
  std::string buffer_;
  uint64_t size_ = 0;
  uint32_t crc32c_ = 0;
  bool keep_ = false;
};

// A whole file in memory, read-only; stays valid when the file is unlinked. Limitation: if the disk
// fails under a page that is not in memory, or the file is cut short by somebody, reading raises
// SIGBUS.
class MappedFile {
 public:
  // NOT_FOUND if there is no such file.
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::string_view bytes() const { return {data_, size_}; }

 private:
  MappedFile(const char* data, size_t size) : data_(data), size_(size) {}
  const char* data_;
  size_t size_;
};

// Bytes appended now and read later: in memory up to `memory_limit`, beyond that in an unlinked
// file.
class Scratch {
 public:
  // `path`: where the file is made, if there has to be one.
  Scratch(std::filesystem::path path, size_t memory_limit)
      : path_(std::move(path)), memory_limit_(memory_limit) {}

  absl::Status Append(std::string_view bytes);
  // `*out`: the `size` bytes at `offset`, which must have been appended.
  absl::Status Read(uint64_t offset, size_t size, std::string* out) const;
  uint64_t size() const { return spilled_ + buffer_.size(); }

 private:
  absl::Status Spill();

  const std::filesystem::path path_;
  const size_t memory_limit_;
  FileDescriptor fd_;
  uint64_t spilled_ = 0;
  // What follows the first `spilled_` bytes.
  std::string buffer_;
};

}  // namespace sluice

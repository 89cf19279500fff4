#include "common/segment/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/errors/errors.h"

namespace sluice {
namespace {

constexpr size_t kBufferBytes = 256 << 10;

// Of the last system call.
absl::Status IoError(const char* call, const std::filesystem::path& path) {
  const std::error_code error(errno, std::generic_category());
  return absl::UnavailableError(absl::StrCat(path.string(), ": ", call, ": ", error.message()));
}

absl::Status WriteAll(const FileDescriptor& fd, std::string_view bytes,
                      const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd.get(), bytes.data(), bytes.size());
    if (n < 0 && errno != EINTR) return IoError("write", path);
    if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

}  // namespace

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<std::unique_ptr<OutputFile>> OutputFile::Create(std::filesystem::path path) {
  FileDescriptor fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (fd.get() < 0) return IoError("open", path);
  return std::unique_ptr<OutputFile>(new OutputFile(std::move(path), std::move(fd)));
}

OutputFile::OutputFile(std::filesystem::path path, FileDescriptor fd)
    : path_(std::move(path)), fd_(std::move(fd)) {
  buffer_.reserve(kBufferBytes);
}

OutputFile::~OutputFile() {
  if (!keep_) unlink(path_.c_str());
}

absl::Status OutputFile::Append(std::string_view bytes) {
  size_ += bytes.size();
  if (buffer_.size() + bytes.size() <= kBufferBytes) {
    buffer_ += bytes;
    return absl::OkStatus();
  }
  SLUICE_RETURN_IF_ERROR(Flush());
  if (bytes.size() <= kBufferBytes) {
    buffer_ += bytes;
    return absl::OkStatus();
  }
  crc32c_ = Crc32c(bytes, crc32c_);
  return WriteAll(fd_, bytes, path_);
}

absl::Status OutputFile::Pad(size_t alignment) {
  return Append(std::string((alignment - size_ % alignment) % alignment, '\0'));
}

absl::Status OutputFile::Flush() {
  crc32c_ = Crc32c(buffer_, crc32c_);
  absl::Status written = WriteAll(fd_, buffer_, path_);
  buffer_.clear();
  return written;
}

absl::StatusOr<std::unique_ptr<MappedFile>> OutputFile::Map() {
  SLUICE_RETURN_IF_ERROR(Flush());
  return MappedFile::Open(path_);
}

absl::Status OutputFile::SyncAndKeep() {
  SLUICE_RETURN_IF_ERROR(Flush());
  if (fdatasync(fd_.get()) != 0) return IoError("fdatasync", path_);
  keep_ = true;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<MappedFile>> MappedFile::Open(const std::filesystem::path& path) {
  const FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0 && errno == ENOENT) {
    return absl::NotFoundError(absl::StrCat(path.string(), ": no such file"));
  }
  if (fd.get() < 0) return IoError("open", path);
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return IoError("fstat", path);
  const size_t size = static_cast<size_t>(info.st_size);
  // An empty mapping cannot be made, and is not needed.
  if (size == 0) return std::unique_ptr<MappedFile>(new MappedFile(nullptr, 0));
  void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (data == MAP_FAILED) return IoError("mmap", path);
  return std::unique_ptr<MappedFile>(new MappedFile(static_cast<const char*>(data), size));
}

MappedFile::~MappedFile() {
  if (size_ > 0) munmap(const_cast<char*>(data_), size_);
}

absl::Status Scratch::Append(std::string_view bytes) {
  buffer_ += bytes;
  return buffer_.size() > memory_limit_ ? Spill() : absl::OkStatus();
}

absl::Status Scratch::Spill() {
  if (fd_.get() < 0) {
    fd_ = FileDescriptor(open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (fd_.get() < 0) return IoError("open", path_);
    if (unlink(path_.c_str()) != 0) return IoError("unlink", path_);
  }
  SLUICE_RETURN_IF_ERROR(WriteAll(fd_, buffer_, path_));
  spilled_ += buffer_.size();
  buffer_.clear();
  return absl::OkStatus();
}

absl::Status Scratch::Read(uint64_t offset, size_t size, std::string* out) const {
  SLUICE_CHECK(offset + size <= this->size());
  out->resize(size);
  size_t done = 0;
  while (done < size && offset + done < spilled_) {
    const size_t wanted = std::min<uint64_t>(size - done, spilled_ - offset - done);
    const ssize_t n =
        pread(fd_.get(), out->data() + done, wanted, static_cast<off_t>(offset + done));
    if (n == 0) return absl::UnavailableError(absl::StrCat(path_.string(), ": cut short"));
    if (n < 0 && errno != EINTR) return IoError("pread", path_);
    if (n > 0) done += static_cast<size_t>(n);
  }
  if (done < size) buffer_.copy(out->data() + done, size - done, offset + done - spilled_);
  return absl::OkStatus();
}

}  // namespace sluice

#include "services/log/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace sluice::log {
namespace {

absl::Status Failed(const char* call, const std::filesystem::path& path, int error) {
  const std::string message = absl::StrCat(call, " ", path.string(), ": ", std::strerror(error));
  return error == ENOENT ? absl::NotFoundError(message) : absl::UnavailableError(message);
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

class MachineFile : public File {
 public:
  MachineFile(int fd, std::filesystem::path path) : fd_(fd), path_(std::move(path)) {}

  absl::Status Write(uint64_t offset, std::span<const std::string_view> parts) override {
    iovecs_.clear();
    for (const std::string_view part : parts) {
      if (!part.empty()) iovecs_.push_back({const_cast<char*>(part.data()), part.size()});
    }
    size_t first = 0;
    while (first < iovecs_.size()) {
      const int count = static_cast<int>(std::min<size_t>(iovecs_.size() - first, IOV_MAX));
      const ssize_t n = ::pwritev(fd_.get(), &iovecs_[first], count, static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return Failed("pwritev", path_, n < 0 ? errno : EIO);
      offset += static_cast<uint64_t>(n);
      size_t written = static_cast<size_t>(n);
      while (first < iovecs_.size() && written >= iovecs_[first].iov_len) {
        written -= iovecs_[first++].iov_len;
      }
      if (written > 0) {
        iovecs_[first].iov_base = static_cast<char*>(iovecs_[first].iov_base) + written;
        iovecs_[first].iov_len -= written;
      }
    }
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    return ::fdatasync(fd_.get()) == 0 ? absl::OkStatus() : Failed("fdatasync", path_, errno);
  }

  absl::Status Truncate(uint64_t size) override {
    return ::ftruncate(fd_.get(), static_cast<off_t>(size)) == 0
               ? absl::OkStatus()
               : Failed("ftruncate", path_, errno);
  }

 private:
  Descriptor fd_;
  std::filesystem::path path_;
  std::vector<iovec> iovecs_;
};

class MachineFileSystem : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<File>> Open(const std::filesystem::path& path,
                                             uint64_t allocate) override {
    Descriptor fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (fd.get() < 0) return Failed("open", path, errno);
    if (allocate > 0) {
      const int error = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(allocate));
      if (error != 0) return Failed("posix_fallocate", path, error);
    }
    return std::make_unique<MachineFile>(fd.release(), path);
  }

  absl::StatusOr<std::string> Read(const std::filesystem::path& path) override {
    const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (fd.get() < 0) return Failed("open", path, errno);
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0) return Failed("fstat", path, errno);
    std::string bytes(static_cast<size_t>(status.st_size), '\0');
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t n =
          ::pread(fd.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Failed("pread", path, errno);
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    bytes.resize(done);
    return bytes;
  }

  absl::Status Rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    return ::rename(from.c_str(), to.c_str()) == 0 ? absl::OkStatus()
                                                   : Failed("rename", from, errno);
  }

  absl::Status Remove(const std::filesystem::path& path) override {
    return ::unlink(path.c_str()) == 0 ? absl::OkStatus() : Failed("unlink", path, errno);
  }

  absl::Status SyncFolder(const std::filesystem::path& folder) override {
    const Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() < 0) return Failed("open", folder, errno);
    return ::fsync(fd.get()) == 0 ? absl::OkStatus() : Failed("fsync", folder, errno);
  }

  absl::Status MakeFolder(const std::filesystem::path& folder) override {
    if (::mkdir(folder.c_str(), 0755) == 0) {
      const std::filesystem::path parent = folder.parent_path();
      return SyncFolder(parent.empty() ? "." : parent);
    }
    if (errno == EEXIST) return absl::OkStatus();
    if (errno != ENOENT || !folder.has_parent_path() || folder.parent_path() == folder) {
      return Failed("mkdir", folder, errno);
    }
    absl::Status made = MakeFolder(folder.parent_path());
    return made.ok() ? MakeFolder(folder) : made;
  }

  absl::StatusOr<std::shared_ptr<void>> Lock(const std::filesystem::path& path) override {
    auto fd =
        std::make_shared<Descriptor>(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (fd->get() < 0) return Failed("open", path, errno);
    if (::flock(fd->get(), LOCK_EX | LOCK_NB) == 0) return std::shared_ptr<void>(std::move(fd));
    return absl::FailedPreconditionError(
        absl::StrCat(path.string(), " is in use by another process"));
  }

  absl::StatusOr<std::vector<std::string>> List(const std::filesystem::path& folder) override {
    std::vector<std::string> names;
    std::error_code error;
    for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
         it.increment(error)) {
      names.push_back(it->path().filename().string());
    }
    if (error) return Failed("readdir", folder, error.value());
    return names;
  }
};

}  // namespace

FileSystem* FileSystem::Machine() {
  static MachineFileSystem* const machine = new MachineFileSystem;
  return machine;
}

}  // namespace sluice::log

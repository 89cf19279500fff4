#include "common/objects/folder_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/base/ids.h"
#include "common/errors/errors.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

// Cannot be the part of a name.
constexpr char kTemporaryFolder[] = ".tmp";
constexpr std::chrono::hours kTemporaryFilesLive{24};

absl::Status IoError(std::string_view what, const fs::path& path, std::error_code error) {
  return absl::UnavailableError(
      absl::StrCat(std::string(what), " ", path.string(), ": ", error.message()));
}

std::error_code Errno() { return {errno, std::generic_category()}; }

// An open file or folder.
class Opened {
 public:
  explicit Opened(const fs::path& path)
      : path_(path), fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)), error_(Errno()) {}
  ~Opened() {
    if (fd_ >= 0) close(fd_);
  }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

  absl::Status Sync() const {
    if (fd_ < 0) return IoError("cannot open", path_, error_);
    if (fsync(fd_) != 0) return IoError("cannot sync", path_, Errno());
    return absl::OkStatus();
  }
  absl::StatusOr<uint64_t> Size() const {
    if (fd_ < 0 && error_ == std::errc::no_such_file_or_directory) {
      return absl::NotFoundError("no such object: " + path_.string());
    }
    if (fd_ < 0) return IoError("cannot open", path_, error_);
    const off_t end = lseek(fd_, 0, SEEK_END);
    if (end < 0) return IoError("cannot read", path_, Errno());
    return static_cast<uint64_t>(end);
  }
  // Which lie within it.
  absl::StatusOr<std::string> Read(uint64_t offset, uint64_t bytes) const {
    std::string content(bytes, '\0');
    for (uint64_t done = 0; done < bytes;) {
      const ssize_t n =
          pread(fd_, content.data() + done, bytes - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return IoError("cannot read", path_, Errno());
      if (n == 0) return absl::UnavailableError("cut short: " + path_.string());
      done += static_cast<uint64_t>(n);
    }
    return content;
  }

 private:
  const fs::path path_;
  const int fd_;
  const std::error_code error_;
};

// Syncs every folder from that of `file` up to `root`, since any of them may be new.
absl::Status SyncFoldersOf(const fs::path& file, const fs::path& root) {
  for (fs::path folder = file.parent_path();; folder = folder.parent_path()) {
    SLUICE_RETURN_IF_ERROR(Opened(folder).Sync());
    if (folder == root) return absl::OkStatus();
  }
}

// Gives `file` its second name, unless somebody has it. A link, not a rename: a rename replaces,
// and renameat2's RENAME_NOREPLACE is refused by network file systems.
absl::Status Link(const fs::path& file, const fs::path& target) {
  while (true) {
    std::error_code error;
    fs::create_directories(target.parent_path(), error);
    if (!error && link(file.c_str(), target.c_str()) == 0) return absl::OkStatus();
    if (!error) error = Errno();
    if (error == std::errc::file_exists) {
      return absl::AlreadyExistsError("object exists: " + target.string());
    }
    // A Delete has just removed a folder on the way, as it was empty: once more.
    if (error == std::errc::no_such_file_or_directory && fs::exists(file)) continue;
    return IoError("cannot create", target, error);
  }
}

// Adds the names of the files under `folder`. A folder that is removed meanwhile was empty;
// anything else that keeps the list from being complete is an error.
absl::Status ListFiles(const fs::path& root, const fs::path& folder,
                       std::vector<std::string>* names) {
  std::error_code error;
  fs::directory_iterator it(folder, error);
  if (error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory) {
    return absl::OkStatus();
  }
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    if (it->path().filename() == kTemporaryFolder) continue;
    std::error_code unknown;
    if (it->is_directory(unknown)) {
      SLUICE_RETURN_IF_ERROR(ListFiles(root, it->path(), names));
    } else {
      names->push_back(it->path().lexically_relative(root).string());
    }
  }
  return error ? IoError("cannot list", folder, error) : absl::OkStatus();
}

class FileReader final : public ObjectReader {
 public:
  FileReader(fs::path path, uint64_t bytes) : path_(std::move(path)), bytes_(bytes) {}

  absl::StatusOr<std::string> Read(uint64_t offset, uint64_t bytes) const override {
    const Opened file(path_);
    SLUICE_ASSIGN_OR_RETURN(const uint64_t size, file.Size());
    if (size != bytes_) return WrongSize(path_.string(), size, bytes_);
    return file.Read(offset, bytes);
  }

 private:
  const fs::path path_;
  const uint64_t bytes_;
};

void RemoveOldTemporaryFiles(const fs::path& folder) {
  std::error_code ignored;
  const auto oldest = fs::file_time_type::clock::now() - kTemporaryFilesLive;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const auto written = entry.last_write_time(ignored);
    if (!ignored && written < oldest) fs::remove_all(entry.path(), ignored);
  }
}

}  // namespace

absl::StatusOr<FolderStore> FolderStore::Open(fs::path root) {
  std::error_code error;
  root = fs::absolute(root, error);
  if (!error) fs::create_directories(root / kTemporaryFolder, error);
  if (error) return IoError("cannot create", root, error);
  RemoveOldTemporaryFiles(root / kTemporaryFolder);
  return FolderStore(std::move(root));
}

fs::path FolderStore::NewTemporaryPath() const {
  return root_ / kTemporaryFolder / Uuid::Random().ToString();
}

absl::Status FolderStore::Put(std::string_view name, const fs::path& file) const {
  SLUICE_RETURN_IF_ERROR(CheckObjectName(name));
  const fs::path target = root_ / name;
  SLUICE_RETURN_IF_ERROR(Opened(file).Sync());
  SLUICE_RETURN_IF_ERROR(Link(file, target));
  SLUICE_RETURN_IF_ERROR(SyncFoldersOf(target, root_));
  // What is left behind if this fails is one more name, which Open removes.
  std::error_code ignored;
  fs::remove(file, ignored);
  return absl::OkStatus();
}

absl::StatusOr<ObjectFile> FolderStore::Fetch(std::string_view name, const Patience&) const {
  SLUICE_RETURN_IF_ERROR(CheckObjectName(name));
  fs::path path = root_ / name;
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_regular_file(status)) return std::make_shared<const fs::path>(std::move(path));
  if (fs::exists(status) || status.type() == fs::file_type::not_found) {
    return absl::NotFoundError("no such object: " + path.string());
  }
  return IoError("cannot read", path, error);
}

ObjectFile FolderStore::FetchLocal(std::string_view name) const {
  absl::StatusOr<ObjectFile> file = Fetch(name);
  return file.ok() ? *std::move(file) : nullptr;
}

absl::StatusOr<std::unique_ptr<const ObjectReader>> FolderStore::OpenReader(std::string_view name,
                                                                            uint64_t bytes) const {
  SLUICE_RETURN_IF_ERROR(CheckObjectName(name));
  return std::make_unique<const FileReader>(root_ / name, bytes);
}

absl::Status FolderStore::Delete(std::string_view name) const {
  SLUICE_RETURN_IF_ERROR(CheckObjectName(name));
  const fs::path path = root_ / name;
  // Opened first: another Delete may remove it as soon as it is empty.
  const Opened folder_of_object(path.parent_path());
  if (unlink(path.c_str()) == 0) {
    SLUICE_RETURN_IF_ERROR(folder_of_object.Sync());
  } else if (errno != ENOENT && errno != ENOTDIR) {
    return IoError("cannot delete", path, Errno());
  }
  // Ends at the first that is not empty.
  for (fs::path folder = path.parent_path(); folder != root_; folder = folder.parent_path()) {
    if (rmdir(folder.c_str()) != 0 && errno != ENOENT) break;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> FolderStore::List(std::string_view prefix) const {
  if (!prefix.empty()) SLUICE_RETURN_IF_ERROR(CheckObjectName(prefix));
  std::vector<std::string> names;
  SLUICE_RETURN_IF_ERROR(ListFiles(root_, root_ / prefix, &names));
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace sluice

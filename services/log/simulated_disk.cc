#include "services/log/simulated_disk.h"

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"

namespace sluice::log {
namespace {

constexpr uint64_t kSector = 512;

std::pair<std::string_view, std::string_view> SplitLast(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  SLUICE_CHECK(slash != std::string_view::npos);
  return {path.substr(0, slash), path.substr(slash + 1)};
}

absl::Status ToStatus(int error, std::string_view path) {
  if (error == 0) return absl::OkStatus();
  const std::string message = absl::StrCat(std::string(path), ": ", std::strerror(error));
  return error == ENOENT ? absl::NotFoundError(message) : absl::UnavailableError(message);
}

// As RocksDB's own file system reports them.
rocksdb::IOStatus ToRocks(int error, std::string_view path) {
  const std::string name(path);
  switch (error) {
    case 0:
      return rocksdb::IOStatus::OK();
    case ENOENT:
      return rocksdb::IOStatus::PathNotFound(name, std::strerror(error));
    case ENOSPC: {
      rocksdb::IOStatus status = rocksdb::IOStatus::NoSpace(name, std::strerror(error));
      status.SetRetryable(true);
      return status;
    }
    default:
      return rocksdb::IOStatus::IOError(name, std::strerror(error));
  }
}

}  // namespace

// The journal's way

class SimulatedDisk::JournalFile : public File {
 public:
  JournalFile(SimulatedDisk& disk, Handle handle) : disk_(disk), handle_(std::move(handle)) {}

  absl::Status Write(uint64_t offset, std::span<const std::string_view> parts) override {
    std::string bytes;
    for (const std::string_view part : parts) bytes += part;
    const std::lock_guard lock(disk_.mutex_);
    return ToStatus(disk_.WriteLocked(handle_, offset, bytes), handle_.path);
  }
  absl::Status Sync() override {
    const std::lock_guard lock(disk_.mutex_);
    return ToStatus(disk_.SyncLocked(handle_), handle_.path);
  }
  absl::Status Truncate(uint64_t size) override {
    const std::lock_guard lock(disk_.mutex_);
    return ToStatus(disk_.ResizeLocked(handle_, size, /*only_grow=*/false), handle_.path);
  }

 private:
  SimulatedDisk& disk_;
  const Handle handle_;
};

class SimulatedDisk::JournalFiles : public FileSystem {
 public:
  explicit JournalFiles(SimulatedDisk& disk) : disk_(disk) {}

  absl::StatusOr<std::unique_ptr<File>> Open(const std::filesystem::path& path,
                                             uint64_t allocate) override {
    const std::lock_guard lock(disk_.mutex_);
    Handle handle;
    int error = disk_.OpenLocked(path.native(), /*create=*/true, /*truncate=*/false, &handle);
    if (error == 0 && allocate > handle.node->bytes.size()) {
      error = disk_.ResizeLocked(handle, allocate, /*only_grow=*/true);
    }
    if (error != 0) return ToStatus(error, path.native());
    return std::make_unique<JournalFile>(disk_, std::move(handle));
  }
  absl::StatusOr<std::string> Read(const std::filesystem::path& path) override {
    const std::lock_guard lock(disk_.mutex_);
    Handle handle;
    std::string bytes;
    int error = disk_.OpenLocked(path.native(), /*create=*/false, /*truncate=*/false, &handle);
    if (error == 0) error = disk_.ReadLocked(handle, 0, SIZE_MAX, &bytes);
    if (error != 0) return ToStatus(error, path.native());
    return bytes;
  }
  absl::Status Rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    const std::lock_guard lock(disk_.mutex_);
    return ToStatus(disk_.RenameLocked(from.native(), to.native()), from.native());
  }
  absl::Status Remove(const std::filesystem::path& path) override {
    const std::lock_guard lock(disk_.mutex_);
    return ToStatus(disk_.RemoveLocked(path.native()), path.native());
  }
  absl::Status SyncFolder(const std::filesystem::path& folder) override {
    const std::lock_guard lock(disk_.mutex_);
    return ToStatus(disk_.SyncFolderLocked(folder.native()), folder.native());
  }
  absl::Status MakeFolder(const std::filesystem::path& folder) override {
    const std::lock_guard lock(disk_.mutex_);
    const int error = disk_.MakeFolderLocked(folder.native());
    if (error == EEXIST) return absl::OkStatus();
    if (error != 0) return ToStatus(error, folder.native());
    return ToStatus(disk_.SyncFolderLocked(folder.parent_path().native()), folder.native());
  }
  absl::StatusOr<std::vector<std::string>> List(const std::filesystem::path& folder) override {
    const std::lock_guard lock(disk_.mutex_);
    std::vector<std::string> names;
    const int error = disk_.ListLocked(folder.native(), &names);
    if (error != 0) return ToStatus(error, folder.native());
    return names;
  }
  absl::StatusOr<std::shared_ptr<void>> Lock(const std::filesystem::path& path) override {
    const std::lock_guard lock(disk_.mutex_);
    const int error = disk_.LockLocked(path.native());
    if (error == EAGAIN) {
      return absl::FailedPreconditionError(
          absl::StrCat(path.string(), " is in use by another process"));
    }
    if (error != 0) return ToStatus(error, path.native());
    return std::shared_ptr<void>(nullptr, [this, path, boot = disk_.boot_](void*) {
      const std::lock_guard again(disk_.mutex_);
      if (boot == disk_.boot_) disk_.locks_.erase(path.native());
    });
  }

 private:
  SimulatedDisk& disk_;
};

// RocksDB's way

class SimulatedDisk::WritableFile : public rocksdb::FSWritableFile {
 public:
  WritableFile(SimulatedDisk& disk, Handle handle) : disk_(disk), handle_(std::move(handle)) {}
  using FSWritableFile::Append;

  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions&,
                           rocksdb::IODebugContext*) override {
    const std::lock_guard lock(disk_.mutex_);
    const int error =
        disk_.WriteLocked(handle_, handle_.node->bytes.size(), {data.data(), data.size()});
    return ToRocks(error, handle_.path);
  }
  rocksdb::IOStatus Truncate(uint64_t size, const rocksdb::IOOptions&,
                             rocksdb::IODebugContext*) override {
    const std::lock_guard lock(disk_.mutex_);
    return ToRocks(disk_.ResizeLocked(handle_, size, /*only_grow=*/false), handle_.path);
  }
  rocksdb::IOStatus Close(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override {
    return rocksdb::IOStatus::OK();
  }
  rocksdb::IOStatus Flush(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override {
    return rocksdb::IOStatus::OK();
  }
  rocksdb::IOStatus Sync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override {
    const std::lock_guard lock(disk_.mutex_);
    return ToRocks(disk_.SyncLocked(handle_), handle_.path);
  }
  uint64_t GetFileSize(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override {
    const std::lock_guard lock(disk_.mutex_);
    return handle_.node->bytes.size();
  }

 private:
  SimulatedDisk& disk_;
  const Handle handle_;
};

class SimulatedDisk::ReadableFile : public rocksdb::FSRandomAccessFile {
 public:
  ReadableFile(SimulatedDisk& disk, Handle handle) : disk_(disk), handle_(std::move(handle)) {}

  rocksdb::IOStatus Read(uint64_t offset, size_t n, const rocksdb::IOOptions&,
                         rocksdb::Slice* result, char* scratch,
                         rocksdb::IODebugContext*) const override {
    std::string bytes;
    const std::lock_guard lock(disk_.mutex_);
    const int error = disk_.ReadLocked(handle_, offset, n, &bytes);
    std::memcpy(scratch, bytes.data(), bytes.size());
    *result = rocksdb::Slice(scratch, bytes.size());
    return ToRocks(error, handle_.path);
  }

 private:
  SimulatedDisk& disk_;
  const Handle handle_;
};

class SimulatedDisk::SequentialFile : public rocksdb::FSSequentialFile {
 public:
  SequentialFile(SimulatedDisk& disk, Handle handle) : disk_(disk), handle_(std::move(handle)) {}

  rocksdb::IOStatus Read(size_t n, const rocksdb::IOOptions&, rocksdb::Slice* result, char* scratch,
                         rocksdb::IODebugContext*) override {
    std::string bytes;
    const std::lock_guard lock(disk_.mutex_);
    const int error = disk_.ReadLocked(handle_, at_, n, &bytes);
    std::memcpy(scratch, bytes.data(), bytes.size());
    *result = rocksdb::Slice(scratch, bytes.size());
    at_ += bytes.size();
    return ToRocks(error, handle_.path);
  }
  rocksdb::IOStatus Skip(uint64_t n) override {
    at_ += n;
    return rocksdb::IOStatus::OK();
  }

 private:
  SimulatedDisk& disk_;
  const Handle handle_;
  uint64_t at_ = 0;
};

class SimulatedDisk::Folder : public rocksdb::FSDirectory {
 public:
  Folder(SimulatedDisk& disk, std::string path) : disk_(disk), path_(std::move(path)) {}

  rocksdb::IOStatus Fsync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override {
    const std::lock_guard lock(disk_.mutex_);
    return ToRocks(disk_.SyncFolderLocked(path_), path_);
  }

 private:
  SimulatedDisk& disk_;
  const std::string path_;
};

class SimulatedDisk::RocksFiles : public rocksdb::FileSystem {
 public:
  explicit RocksFiles(SimulatedDisk& disk) : disk_(disk) {}
  static const char* kClassName() { return "SimulatedDisk"; }
  const char* Name() const override { return kClassName(); }

  rocksdb::IOStatus NewSequentialFile(const std::string& path, const rocksdb::FileOptions&,
                                      std::unique_ptr<rocksdb::FSSequentialFile>* file,
                                      rocksdb::IODebugContext*) override {
    return Open<SequentialFile>(path, /*write=*/false, file);
  }
  rocksdb::IOStatus NewRandomAccessFile(const std::string& path, const rocksdb::FileOptions&,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                                        rocksdb::IODebugContext*) override {
    return Open<ReadableFile>(path, /*write=*/false, file);
  }
  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions&,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext*) override {
    return Open<WritableFile>(path, /*write=*/true, file);
  }
  rocksdb::IOStatus NewDirectory(const std::string& path, const rocksdb::IOOptions&,
                                 std::unique_ptr<rocksdb::FSDirectory>* folder,
                                 rocksdb::IODebugContext*) override {
    *folder = std::make_unique<Folder>(disk_, path);
    return rocksdb::IOStatus::OK();
  }
  rocksdb::IOStatus FileExists(const std::string& path, const rocksdb::IOOptions&,
                               rocksdb::IODebugContext*) override {
    const std::lock_guard lock(disk_.mutex_);
    return disk_.Find(path) ? rocksdb::IOStatus::OK() : rocksdb::IOStatus::NotFound(path);
  }
  rocksdb::IOStatus GetChildren(const std::string& path, const rocksdb::IOOptions&,
                                std::vector<std::string>* names,
                                rocksdb::IODebugContext*) override {
    const std::lock_guard lock(disk_.mutex_);
    return ToRocks(disk_.ListLocked(path, names), path);
  }
  rocksdb::IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions&,
                               rocksdb::IODebugContext*) override {
    const std::lock_guard lock(disk_.mutex_);
    return ToRocks(disk_.RemoveLocked(path), path);
  }
  rocksdb::IOStatus CreateDir(const std::string& path, const rocksdb::IOOptions&,
                              rocksdb::IODebugContext*) override {
    const std::lock_guard lock(disk_.mutex_);
    return ToRocks(disk_.MakeFolderLocked(path), path);
  }
  rocksdb::IOStatus CreateDirIfMissing(const std::string& path, const rocksdb::IOOptions&,
                                       rocksdb::IODebugContext*) override {
    const std::lock_guard lock(disk_.mutex_);
    const int error = disk_.MakeFolderLocked(path);
    return ToRocks(error == EEXIST ? 0 : error, path);
  }
  rocksdb::IOStatus DeleteDir(const std::string& path, const rocksdb::IOOptions&,
                              rocksdb::IODebugContext*) override {
    const std::lock_guard lock(disk_.mutex_);
    return ToRocks(disk_.RemoveLocked(path), path);
  }
  rocksdb::IOStatus GetFileSize(const std::string& path, const rocksdb::IOOptions&, uint64_t* size,
                                rocksdb::IODebugContext*) override {
    const std::lock_guard lock(disk_.mutex_);
    const NodeRef node = disk_.Find(path);
    if (node) *size = node->bytes.size();
    return ToRocks(node ? 0 : ENOENT, path);
  }
  rocksdb::IOStatus GetFileModificationTime(const std::string&, const rocksdb::IOOptions&,
                                            uint64_t* time, rocksdb::IODebugContext*) override {
    *time = 0;
    return rocksdb::IOStatus::OK();
  }
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                               const rocksdb::IOOptions&, rocksdb::IODebugContext*) override {
    const std::lock_guard lock(disk_.mutex_);
    return ToRocks(disk_.RenameLocked(from, to), from);
  }
  rocksdb::IOStatus LockFile(const std::string& path, const rocksdb::IOOptions&,
                             rocksdb::FileLock** file_lock, rocksdb::IODebugContext*) override {
    const std::lock_guard lock(disk_.mutex_);
    const int error = disk_.LockLocked(path);
    *file_lock = error == 0 ? new PathLock{path, disk_.boot_} : nullptr;
    return ToRocks(error, path);
  }
  rocksdb::IOStatus UnlockFile(rocksdb::FileLock* file_lock, const rocksdb::IOOptions&,
                               rocksdb::IODebugContext*) override {
    const std::unique_ptr<PathLock> held(static_cast<PathLock*>(file_lock));
    const std::lock_guard lock(disk_.mutex_);
    if (held->boot == disk_.boot_) disk_.locks_.erase(held->path);
    return rocksdb::IOStatus::OK();
  }
  rocksdb::IOStatus GetTestDirectory(const rocksdb::IOOptions&, std::string* path,
                                     rocksdb::IODebugContext*) override {
    *path = "/data";
    return rocksdb::IOStatus::OK();
  }
  // RocksDB's own notes would only make the operations harder to count.
  rocksdb::IOStatus NewLogger(const std::string&, const rocksdb::IOOptions&,
                              std::shared_ptr<rocksdb::Logger>* logger,
                              rocksdb::IODebugContext*) override {
    *logger = std::make_shared<NoLogger>();
    return rocksdb::IOStatus::OK();
  }
  rocksdb::IOStatus GetAbsolutePath(const std::string& path, const rocksdb::IOOptions&,
                                    std::string* absolute, rocksdb::IODebugContext*) override {
    *absolute = path;
    return rocksdb::IOStatus::OK();
  }
  rocksdb::IOStatus IsDirectory(const std::string& path, const rocksdb::IOOptions&, bool* folder,
                                rocksdb::IODebugContext*) override {
    const std::lock_guard lock(disk_.mutex_);
    const NodeRef node = disk_.Find(path);
    *folder = node && node->folder;
    return ToRocks(node ? 0 : ENOENT, path);
  }

 private:
  struct PathLock : rocksdb::FileLock {
    PathLock(std::string locked, uint64_t at_boot) : path(std::move(locked)), boot(at_boot) {}
    const std::string path;
    const uint64_t boot;
  };

  struct NoLogger : rocksdb::Logger {
    using Logger::Logv;
    void Logv(const char*, va_list) override {}
    size_t GetLogFileSize() const override { return 0; }
  };

  template <class Opened, class Base>
  rocksdb::IOStatus Open(const std::string& path, bool write, std::unique_ptr<Base>* file) {
    const std::lock_guard lock(disk_.mutex_);
    Handle handle;
    const int error = disk_.OpenLocked(path, /*create=*/write, /*truncate=*/write, &handle);
    if (error == 0) *file = std::make_unique<Opened>(disk_, std::move(handle));
    return ToRocks(error, path);
  }

  SimulatedDisk& disk_;
};

// The disk

SimulatedDisk::SimulatedDisk(uint64_t seed)
    : random_(seed),
      root_(std::make_shared<Node>()),
      files_(std::make_unique<JournalFiles>(*this)),
      rocks_(std::make_shared<RocksFiles>(*this)) {
  root_->folder = true;
  SLUICE_CHECK(files_->MakeFolder("/data").ok());
}

SimulatedDisk::~SimulatedDisk() = default;

void SimulatedDisk::SetFaults(std::function<int(Op, std::string_view)> faults) {
  const std::lock_guard lock(mutex_);
  faults_ = std::move(faults);
}

void SimulatedDisk::SetCapacity(uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  capacity_ = bytes;
}

uint64_t SimulatedDisk::UsedBytes() const {
  const std::lock_guard lock(mutex_);
  return UsedLocked();
}

uint64_t SimulatedDisk::Operations() const {
  const std::lock_guard lock(mutex_);
  return operations_;
}

void SimulatedDisk::CutPowerAfter(uint64_t operations) {
  const std::lock_guard lock(mutex_);
  power_until_ = operations_ + operations;
}

bool SimulatedDisk::HasPower() const {
  const std::lock_guard lock(mutex_);
  return power_;
}

void SimulatedDisk::Restart() {
  const std::lock_guard lock(mutex_);
  Lose(*root_);
  power_ = true;
  power_until_ = UINT64_MAX;
  ++boot_;
  locks_.clear();
}

std::string SimulatedDisk::Contents(std::string_view path) const {
  const std::lock_guard lock(mutex_);
  const NodeRef node = Find(path);
  return node ? node->bytes : "";
}

void SimulatedDisk::SetContents(std::string_view path, std::string bytes) {
  const std::lock_guard lock(mutex_);
  const NodeRef node = Find(path);
  SLUICE_CHECK(node && !node->folder);
  node->changes.clear();
  node->durable_bytes = bytes;
  node->bytes = std::move(bytes);
}

std::vector<std::string> SimulatedDisk::List(std::string_view folder) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  (void)ListLocked(folder, &names);
  return names;
}

int SimulatedDisk::Begin(Op op, std::string_view path) {
  interrupted_ = false;
  if (!power_) return EIO;
  if (op != Op::kRead && operations_++ >= power_until_) {
    power_ = false;
    interrupted_ = random_() % 2 == 0;
    return EIO;
  }
  return faults_ ? faults_(op, path) : 0;
}

int SimulatedDisk::OpenLocked(std::string_view path, bool create, bool truncate, Handle* handle) {
  const int error = Begin(create ? Op::kOpen : Op::kRead, path);
  if (error != 0) return error;
  NodeRef node = Find(path);
  if (node && node->folder) return EISDIR;
  if (!node) {
    if (!create) return ENOENT;
    std::string name;
    const NodeRef folder = Parent(path, &name);
    if (!folder) return ENOENT;
    node = std::make_shared<Node>();
    ChangeEntries(*folder, {{name, node}});
  } else if (truncate && !node->bytes.empty()) {
    node->bytes.clear();
    node->changes.push_back(Resize{0});
  }
  *handle = {std::move(node), std::string(path), boot_};
  return 0;
}

int SimulatedDisk::WriteLocked(const Handle& handle, uint64_t offset, std::string_view bytes) {
  int error = handle.boot == boot_ ? Begin(Op::kWrite, handle.path) : EIO;
  if (handle.boot != boot_ || (!power_ && !interrupted_)) return error;
  const uint64_t before = handle.node->bytes.size();
  const uint64_t growth = offset + bytes.size() > before ? offset + bytes.size() - before : 0;
  const uint64_t used = capacity_ == UINT64_MAX ? 0 : UsedLocked();
  if (error == 0 && used + growth > capacity_) error = ENOSPC;
  if (error != 0 && !interrupted_) {
    // A short write.
    const uint64_t sectors = random_() % (bytes.size() / kSector + 1);
    bytes = bytes.substr(0, sectors * kSector);
    if (used + bytes.size() > capacity_) return error;
  }
  Change change = Write{offset, std::string(bytes)};
  Apply(change, &handle.node->bytes);
  handle.node->changes.push_back(std::move(change));
  return error;
}

int SimulatedDisk::ResizeLocked(const Handle& handle, uint64_t size, bool only_grow) {
  if (handle.boot != boot_) return EIO;
  const int error = Begin(Op::kResize, handle.path);
  if (error != 0) return error;
  const uint64_t before = handle.node->bytes.size();
  if (only_grow && size <= before) return 0;
  if (size > before && capacity_ != UINT64_MAX && UsedLocked() + (size - before) > capacity_) {
    return ENOSPC;
  }
  Change change = Resize{size};
  Apply(change, &handle.node->bytes);
  handle.node->changes.push_back(std::move(change));
  return 0;
}

int SimulatedDisk::SyncLocked(const Handle& handle) {
  if (handle.boot != boot_) return EIO;
  const int error = Begin(Op::kSync, handle.path);
  if (error != 0) return error;
  for (const Change& change : handle.node->changes) Apply(change, &handle.node->durable_bytes);
  handle.node->changes.clear();
  return 0;
}

int SimulatedDisk::ReadLocked(const Handle& handle, uint64_t offset, size_t n, std::string* out) {
  if (handle.boot != boot_) return EIO;
  const int error = Begin(Op::kRead, handle.path);
  if (error != 0) return error;
  const std::string& bytes = handle.node->bytes;
  *out = offset < bytes.size() ? bytes.substr(offset, n) : "";
  return 0;
}

int SimulatedDisk::RenameLocked(std::string_view from, std::string_view to) {
  const int error = Begin(Op::kRename, from);
  if (error != 0 && !interrupted_) return error;
  std::string old_name;
  std::string new_name;
  const NodeRef folder = Parent(from, &old_name);
  SLUICE_CHECK(folder == Parent(to, &new_name));  // nobody moves files between folders
  if (!folder || !folder->entries.contains(old_name)) return ENOENT;
  const NodeRef node = folder->entries[old_name];
  ChangeEntries(*folder, {{old_name, nullptr}, {new_name, node}});
  return error;
}

int SimulatedDisk::RemoveLocked(std::string_view path) {
  const int error = Begin(Op::kRemove, path);
  if (error != 0 && !interrupted_) return error;
  std::string name;
  const NodeRef folder = Parent(path, &name);
  if (!folder || !folder->entries.contains(name)) return ENOENT;
  ChangeEntries(*folder, {{name, nullptr}});
  return error;
}

int SimulatedDisk::SyncFolderLocked(std::string_view path) {
  const int error = Begin(Op::kSyncFolder, path);
  if (error != 0) return error;
  const NodeRef node = Find(path);
  if (!node) return ENOENT;
  for (const EntryChange& change : node->entry_changes) Apply(change, &node->durable_entries);
  node->entry_changes.clear();
  return 0;
}

int SimulatedDisk::MakeFolderLocked(std::string_view path) {
  if (Find(path)) return power_ ? EEXIST : EIO;
  const int error = Begin(Op::kMakeFolder, path);
  if (error != 0 && !interrupted_) return error;
  std::string name;
  const NodeRef parent = Parent(path, &name);
  if (!parent) return ENOENT;
  const auto node = std::make_shared<Node>();
  node->folder = true;
  ChangeEntries(*parent, {{name, node}});
  return error;
}

int SimulatedDisk::ListLocked(std::string_view path, std::vector<std::string>* names) const {
  const NodeRef node = Find(path);
  names->clear();
  if (!power_) return EIO;
  if (!node || !node->folder) return ENOENT;
  for (const auto& [name, entry] : node->entries) names->push_back(name);
  return 0;
}

int SimulatedDisk::LockLocked(std::string_view path) {
  const int error = Begin(Op::kLock, path);
  if (error != 0) return error;
  return locks_.insert(std::string(path)).second ? 0 : EAGAIN;
}

SimulatedDisk::NodeRef SimulatedDisk::Find(std::string_view path) const {
  NodeRef node = root_;
  while (!path.empty()) {
    const size_t begin = path.find_first_not_of('/');
    if (begin == std::string_view::npos) break;
    path.remove_prefix(begin);
    const std::string name(path.substr(0, path.find('/')));
    path.remove_prefix(name.size());
    const auto entry = node->entries.find(name);
    if (entry == node->entries.end()) return nullptr;
    node = entry->second;
  }
  return node;
}

SimulatedDisk::NodeRef SimulatedDisk::Parent(std::string_view path, std::string* name) const {
  const auto [folder, last] = SplitLast(path);
  *name = last;
  return Find(folder);
}

void SimulatedDisk::ChangeEntries(Node& folder, EntryChange change) {
  Apply(change, &folder.entries);
  folder.entry_changes.push_back(std::move(change));
}

void SimulatedDisk::Lose(Node& node) {
  if (!node.folder) return LoseData(node);
  const size_t survive = random_() % (node.entry_changes.size() + 1);
  for (size_t i = 0; i < survive; ++i) Apply(node.entry_changes[i], &node.durable_entries);
  node.entry_changes.clear();
  node.entries = node.durable_entries;
  for (const auto& [name, entry] : node.entries) Lose(*entry);
}

void SimulatedDisk::LoseData(Node& file) {
  const auto& changes = file.changes;
  const uint64_t size_before = file.durable_bytes.size();
  const bool resized = std::any_of(changes.begin(), changes.end(), [](const Change& change) {
    return std::holds_alternative<Resize>(change);
  });
  // The changes before `whole` survive, and of the others those sectors that `survives` says.
  size_t whole = changes.size();
  size_t torn = whole;
  std::function<bool(uint64_t end)> survives;
  switch (random_() % 4) {
    case 0:
      whole = torn = 0;
      break;
    case 1:
      break;
    case 2:
      if (!resized) {
        const uint64_t growth = file.bytes.size() - size_before;
        const uint64_t grown = size_before + random_() % (growth + 1);
        whole = 0;
        survives = [=, this](uint64_t end) {
          return end <= size_before ? random_() % 2 == 0 : end <= grown;
        };
        break;
      }
      [[fallthrough]];
    default:
      if (changes.empty()) break;
      whole = random_() % changes.size();
      torn = whole + 1;
      survives = [left = random_() % 64](uint64_t) mutable { return left > 0 && left-- > 0; };
  }
  for (size_t i = 0; i < torn; ++i) {
    const auto* write = std::get_if<Write>(&changes[i]);
    if (i < whole) {
      Apply(changes[i], &file.durable_bytes);
      continue;
    }
    if (!write) continue;
    // Sectors are those of the disk, not of the write.
    for (uint64_t at = 0; at < write->bytes.size();) {
      const uint64_t begin = write->offset + at;
      const uint64_t n = std::min<uint64_t>(kSector - begin % kSector, write->bytes.size() - at);
      if (survives(begin + n)) {
        Apply(Write{begin, write->bytes.substr(at, n)}, &file.durable_bytes);
      }
      at += n;
    }
  }
  file.changes.clear();
  file.bytes = file.durable_bytes;
}

uint64_t SimulatedDisk::UsedLocked() const { return UsedBy(*root_); }

uint64_t SimulatedDisk::UsedBy(const Node& node) {
  uint64_t bytes = node.bytes.size();
  for (const auto& [name, entry] : node.entries) bytes += UsedBy(*entry);
  return bytes;
}

void SimulatedDisk::Apply(const Change& change, std::string* bytes) {
  if (const auto* resize = std::get_if<Resize>(&change)) {
    bytes->resize(resize->size);
    return;
  }
  const auto& write = std::get<Write>(change);
  if (write.bytes.empty()) return;
  const uint64_t end = write.offset + write.bytes.size();
  if (bytes->size() < end) bytes->resize(end);
  bytes->replace(write.offset, write.bytes.size(), write.bytes);
}

void SimulatedDisk::Apply(const EntryChange& change, std::map<std::string, NodeRef>* entries) {
  for (const auto& [name, node] : change) {
    if (node) {
      (*entries)[name] = node;
    } else {
      entries->erase(name);
    }
  }
}

}  // namespace sluice::log

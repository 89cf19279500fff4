// The few file operations that the journal needs, so that tests can make them fail, tear and
// forget. Errors are UNAVAILABLE and name path and errno; "no such file" is NOT_FOUND. A FileSystem
// is thread-safe, a File is not.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sluice::log {

class File {
 public:
  virtual ~File() = default;
  // Writes all parts, one after the other, from `offset` on. After an error any of it may have been
  // written.
  virtual absl::Status Write(uint64_t offset, std::span<const std::string_view> parts) = 0;
  // Makes the contents durable.
  virtual absl::Status Sync() = 0;
  virtual absl::Status Truncate(uint64_t size) = 0;
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  // The machine's own.
  static FileSystem* Machine();

  // Opens for writing; makes the file, and its size at least `allocate` bytes that the disk has set
  // aside.
  virtual absl::StatusOr<std::unique_ptr<File>> Open(const std::filesystem::path& path,
                                                     uint64_t allocate) = 0;
  virtual absl::StatusOr<std::string> Read(const std::filesystem::path& path) = 0;
  // Replaces `to`.
  virtual absl::Status Rename(const std::filesystem::path& from,
                              const std::filesystem::path& to) = 0;
  virtual absl::Status Remove(const std::filesystem::path& path) = 0;
  // Makes the folder's entries durable.
  virtual absl::Status SyncFolder(const std::filesystem::path& folder) = 0;
  // Makes the folder and those above it, durably.
  virtual absl::Status MakeFolder(const std::filesystem::path& folder) = 0;
  // Holds the file, which is made if need be, against other processes for as long as the result
  // lives. FAILED_PRECONDITION if another holds it. The kernel lets go when the process ends,
  // however it ends.
  virtual absl::StatusOr<std::shared_ptr<void>> Lock(const std::filesystem::path& path) = 0;
  // Names of the files in the folder.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::filesystem::path& folder) = 0;
};

}  // namespace sluice::log

// A file system in memory that is soon full. Mounting one needs rights that not every machine
// gives.
#pragma once

#include <sys/mount.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <string>
#include <utility>

namespace sluice::testing {

class SmallDisk {
 public:
  SmallDisk(std::filesystem::path path, size_t mebibytes) : path_(std::move(path)) {
    std::filesystem::create_directory(path_);
    const std::string size = "size=" + std::to_string(mebibytes) + "m";
    error_ = ::mount("tmpfs", path_.c_str(), "tmpfs", 0, size.c_str()) == 0 ? 0 : errno;
  }
  ~SmallDisk() {
    if (error_ == 0) ::umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  // 0, or the errno of the mount.
  int error() const { return error_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  const std::filesystem::path path_;
  int error_ = 0;
};

}  // namespace sluice::testing

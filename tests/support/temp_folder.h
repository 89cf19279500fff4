// A new folder under the system's temporary folder, or another, removed with everything in it at
// the end of the scope.
#pragma once

#include <filesystem>
#include <string>
#include <system_error>

#include "common/base/ids.h"

namespace sluice::testing {

class TempFolder {
 public:
  explicit TempFolder(const std::filesystem::path& parent = std::filesystem::temp_directory_path())
      : path_(parent / ("sluice-test-" + Uuid::Random().ToString())) {
    std::filesystem::create_directories(path_);
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace sluice::testing

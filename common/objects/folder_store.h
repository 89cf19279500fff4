// An object store in a folder that compactors and frontends share; several processes may use it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/objects/object_store.h"

namespace sluice {

class FolderStore : public ObjectStore {
 public:
  // Creates the folder if need be, and removes what a crash left of unfinished files a day ago.
  static absl::StatusOr<FolderStore> Open(std::filesystem::path root);

  // In the store's own file system, so that Put can move it.
  std::filesystem::path NewTemporaryPath() const override;
  // Syncs the file first.
  absl::Status Put(std::string_view name, const std::filesystem::path& file) const override;
  absl::StatusOr<ObjectFile> Fetch(std::string_view name,
                                   const Patience& patience = {}) const override;
  ObjectFile FetchLocal(std::string_view name) const override;
  absl::StatusOr<std::unique_ptr<const ObjectReader>> OpenReader(std::string_view name,
                                                                 uint64_t bytes) const override;
  // Removes folders left empty.
  absl::Status Delete(std::string_view name) const override;
  absl::StatusOr<std::vector<std::string>> List(std::string_view prefix) const override;

 private:
  explicit FolderStore(std::filesystem::path root) : root_(std::move(root)) {}

  std::filesystem::path root_;
};

}  // namespace sluice

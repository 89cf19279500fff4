// Where segments live: named, write-once objects in a folder that compactors and frontends share.
//
// Names are relative paths of [a-z0-9-] parts: "<collection>/<incarnation>/<token>/<number>". Put
// is atomic and durable: an object is there whole or not at all, and survives power loss.
// Thread-safe; several processes may use one folder. Errors: NOT_FOUND, ALREADY_EXISTS (an object
// is never replaced), UNAVAILABLE (I/O: the message has path and errno), INVALID_ARGUMENT (name).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace sluice {

class ObjectStore {
 public:
  // Creates the folder if need be.
  static absl::StatusOr<ObjectStore> Open(std::filesystem::path root);

  // A path for a new file in the store's own file system, so that Put can move it: unique, not yet
  // created. What a crash leaves there is removed by Open after a day.
  std::filesystem::path NewTemporaryPath() const;
  // Moves `file` (made at NewTemporaryPath, complete) into place; syncs it first. An object of the
  // same name: ALREADY_EXISTS, and `file` stays where it was, as after any error. After UNAVAILABLE
  // the object may be there.
  absl::Status Put(std::string_view name, const std::filesystem::path& file) const;

  // A path to read the object from; valid until the object is deleted (an open file or mapping
  // stays valid beyond).
  absl::StatusOr<std::filesystem::path> Fetch(std::string_view name) const;

  // OK also if it does not exist. Removes folders left empty.
  absl::Status Delete(std::string_view name) const;
  // Names under "prefix/", or all if it is empty; sorted.
  absl::StatusOr<std::vector<std::string>> List(std::string_view prefix) const;

 private:
  explicit ObjectStore(std::filesystem::path root) : root_(std::move(root)) {}

  std::filesystem::path root_;
};

}  // namespace sluice

// Where segments live: named, write-once objects that compactors and frontends share. In a folder
// (folder_store.h), or in a bucket of S3 (s3_store.h).
//
// Names are relative paths of [a-z0-9-] parts: "<collection>/<incarnation>/<token>/<number>". Put
// is atomic and durable: an object is there whole or not at all, and survives power loss.
// Thread-safe; calls block. Errors: NOT_FOUND, ALREADY_EXISTS (an object is never replaced),
// UNAVAILABLE (I/O: the message says where and why), SEGMENT_CORRUPT (what arrives does not match
// the checksum it was put with), INVALID_ARGUMENT (name).
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace sluice {

// The path of a file that holds an object. It is there for as long as this is held, unless the
// object is deleted (an open file or mapping stays valid beyond).
using ObjectFile = std::shared_ptr<const std::filesystem::path>;

// When a call that may take long is given up, however much of it is done.
struct Patience {
  // UNAVAILABLE, saying what was in the way.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  // CANCELLED.
  std::stop_token given_up;

  bool is_over() const {
    return given_up.stop_requested() || std::chrono::steady_clock::now() >= deadline;
  }
};

// Reads pieces of one object where it lies, and nothing into memory or onto the disk beyond them.
// They come as they are: whoever put the object knows how to check a piece. Thread-safe; the store
// outlives it.
class ObjectReader {
 public:
  virtual ~ObjectReader() = default;
  // The `bytes` at `offset`, which lie within the object. NOT_FOUND: it was deleted, or another has
  // its name. SEGMENT_CORRUPT: it is not of the size it should have.
  virtual absl::StatusOr<std::string> Read(uint64_t offset, uint64_t bytes) const = 0;

 protected:
  ObjectReader() = default;
  ObjectReader(const ObjectReader&) = default;
  ObjectReader& operator=(const ObjectReader&) = default;
};

class ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  // A path for a new file that Put can take: unique, not yet created. What a crash leaves there is
  // removed at the next start, or the first that is a day later.
  virtual std::filesystem::path NewTemporaryPath() const = 0;
  // Takes `file` (made at NewTemporaryPath, complete) as the object. An object of the same name:
  // ALREADY_EXISTS, and `file` stays where it was, as after any error. After UNAVAILABLE the object
  // may be there.
  virtual absl::Status Put(std::string_view name, const std::filesystem::path& file) const = 0;

  // Whole, on the local disk.
  virtual absl::StatusOr<ObjectFile> Fetch(std::string_view name,
                                           const Patience& patience = {}) const = 0;
  // The same if it is there already, else nullptr; may read the whole file to find out.
  virtual ObjectFile FetchLocal(std::string_view name) const = 0;
  // Of an object of so many bytes. Asks for nothing yet.
  virtual absl::StatusOr<std::unique_ptr<const ObjectReader>> OpenReader(std::string_view name,
                                                                         uint64_t bytes) const = 0;

  // OK also if it does not exist.
  virtual absl::Status Delete(std::string_view name) const = 0;
  // Names under "prefix/", or all if it is empty; sorted.
  virtual absl::StatusOr<std::vector<std::string>> List(std::string_view prefix) const = 0;

 protected:
  ObjectStore() = default;
  ObjectStore(const ObjectStore&) = default;
  ObjectStore(ObjectStore&&) = default;
  ObjectStore& operator=(const ObjectStore&) = default;
  ObjectStore& operator=(ObjectStore&&) = default;
};

absl::Status CheckObjectName(std::string_view name);
// SEGMENT_CORRUPT.
absl::Status WrongSize(std::string_view object, uint64_t bytes, uint64_t expected);

// `opened`, which reads `file`, and holds it from now on.
template <typename T>
std::shared_ptr<T> Holding(ObjectFile file, std::shared_ptr<T> opened) {
  auto both = std::make_shared<std::pair<ObjectFile, std::shared_ptr<T>>>(std::move(file),
                                                                          std::move(opened));
  return std::shared_ptr<T>(both, both->second.get());
}

}  // namespace sluice

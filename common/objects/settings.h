// Where segments live, as settings: the form of the place chooses the store.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/objects/object_store.h"
#include "common/server/settings.h"

namespace sluice {

// Those of S3, under `objects.`; README.md has the table.
struct ObjectSettings {
  std::string cache;
  uint64_t cache_bytes = 0;
  std::string endpoint;
  std::string region;
  bool path_style = true;
  std::string credentials_file;
  std::string ca_file;
  uint64_t part_bytes = 0;
  uint64_t timeout_ms = 0;
  uint64_t stall_ms = 0;

  void Declare(server::Settings& settings);
};

// `place`: a folder, or s3://BUCKET/PREFIX. `user`: who opens it, in a word; a cache of objects on
// the local disk is its own. INVALID_ARGUMENT or UNAVAILABLE, saying why.
absl::StatusOr<std::unique_ptr<ObjectStore>> OpenObjectStore(const std::string& place,
                                                             const ObjectSettings& settings,
                                                             std::string_view user);

}  // namespace sluice

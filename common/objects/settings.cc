#include "common/objects/settings.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "common/objects/folder_store.h"
#include "common/objects/s3_store.h"

namespace sluice {

void ObjectSettings::Declare(server::Settings& settings) {
  settings.Add("objects.cache", &cache, "sluice-data/cache",
               "Folder for objects of S3 on the local disk, in a folder each for compactor and "
               "frontend; of one process");
  settings.Add("objects.cache_bytes", &cache_bytes, uint64_t{10} << 30, 0, uint64_t{1} << 50,
               "Bytes of objects kept there by each; what is in use stays even beyond it");
  settings.Add("objects.s3.endpoint", &endpoint, "",
               "URL of the server, without a path; empty means https://s3.REGION.amazonaws.com");
  settings.Add("objects.s3.region", &region, "us-east-1", "Region that requests are signed for");
  settings.Add("objects.s3.path_style", &path_style, true,
               "Whether the bucket is the first part of the path, or else of the host's name");
  settings.Add("objects.s3.credentials_file", &credentials_file, "",
               "File in the form of ~/.aws/credentials, whose first section is read for each "
               "request; empty means the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
               "and AWS_SESSION_TOKEN");
  settings.Add("objects.s3.ca_file", &ca_file, "",
               "PEM file of the authorities to trust; empty means the system's");
  settings.Add("objects.s3.part_bytes", &part_bytes, 64 << 20, 5 << 20, uint64_t{5} << 30,
               "Objects beyond this size are sent in parts of it");
  settings.Add("objects.s3.timeout_ms", &timeout_ms, 300'000, 1'000, 3'600'000,
               "Longest that one object, or one part, may take with all retries");
  settings.Add("objects.s3.stall_ms", &stall_ms, 10'000, 1'000, 600'000,
               "A transfer slower than 1 KiB/s for this long is tried again; in whole seconds");
}

absl::StatusOr<std::unique_ptr<ObjectStore>> OpenObjectStore(const std::string& place,
                                                             const ObjectSettings& settings,
                                                             std::string_view user) {
  if (absl::StrContains(place, "://")) return S3Store::Open(place, settings, user);
  SLUICE_ASSIGN_OR_RETURN(FolderStore folder, FolderStore::Open(place));
  return std::make_unique<FolderStore>(std::move(folder));
}

}  // namespace sluice

// An object store in a bucket of S3, or of a server that speaks its protocol and honours
// If-None-Match on PUT and CompleteMultipartUpload: that is what keeps an object from being
// replaced. Objects are read through a cache on the local disk (object_cache.h).
//
// An object carries the SHA-256 of its bytes (x-amz-meta-sluice-sha256), which is verified when it
// is read; one without it is SEGMENT_CORRUPT. Nothing is held in memory beyond a piece of a file.
//
// 5xx, 429, timeouts, stalls and connections that break are tried again, with pauses that grow and
// vary, until the time of the settings is up; for 3 s also what is refused for the credentials,
// which are read anew for each try, and may be about to be replaced. No other answer is. A download
// goes on where it broke off. A Put that was tried more than once and finds the name taken looks
// whether the object there is its own. A piece of an object (ObjectReader) is given at most 10 s:
// whoever reads one can fetch the whole.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/objects/object_cache.h"
#include "common/objects/object_store.h"
#include "common/objects/s3_client.h"
#include "common/objects/settings.h"

namespace sluice {

class S3Store : public ObjectStore {
 public:
  // `place`: s3://BUCKET or s3://BUCKET/PREFIX. Asks nothing of the server.
  static absl::StatusOr<std::unique_ptr<S3Store>> Open(std::string_view place,
                                                       const ObjectSettings& settings,
                                                       std::string_view user);

  std::filesystem::path NewTemporaryPath() const override { return cache_->NewTemporaryPath(); }
  // What was put is in the cache.
  absl::Status Put(std::string_view name, const std::filesystem::path& file) const override;
  absl::StatusOr<ObjectFile> Fetch(std::string_view name,
                                   const Patience& patience = {}) const override;
  ObjectFile FetchLocal(std::string_view name) const override { return cache_->Find(name); }
  absl::StatusOr<std::unique_ptr<const ObjectReader>> OpenReader(std::string_view name,
                                                                 uint64_t bytes) const override;
  absl::Status Delete(std::string_view name) const override;
  absl::StatusOr<std::vector<std::string>> List(std::string_view prefix) const override;

 private:
  class Reader;
  struct Upload {
    std::string key;
    std::filesystem::path file;
    uint64_t bytes = 0;
    std::string sha256;
  };

  S3Store(S3Endpoint endpoint, std::string prefix, const ObjectSettings& settings,
          std::unique_ptr<ObjectCache> cache);
  std::string KeyOf(std::string_view name) const { return prefix_ + std::string(name); }
  // Until an answer is no reason to try again, or `timeout` is up. *tries counts.
  S3Answer Send(const S3Request& request, std::chrono::milliseconds timeout,
                int* tries = nullptr) const;
  absl::Status PutWhole(const Upload& upload) const;
  absl::Status PutInParts(const Upload& upload) const;
  absl::StatusOr<std::string> PutParts(const Upload& upload, const std::string& upload_id) const;
  // What a Put ends with whose last answer is `answer`, after so many tries.
  absl::Status Concluded(const Upload& upload, const S3Answer& answer, int tries) const;
  absl::StatusOr<std::string> Download(const std::string& key, const std::filesystem::path& to,
                                       const Patience& patience) const;

  const std::unique_ptr<S3Client> client_;
  // Empty, or with a '/' at its end.
  const std::string prefix_;
  const uint64_t part_bytes_;
  const std::chrono::milliseconds timeout_;
  const std::unique_ptr<ObjectCache> cache_;
};

}  // namespace sluice

// Who signs requests to S3. Never logged, and part of no error.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace sluice {

struct S3Credentials {
  std::string key_id;
  std::string secret;
  // Empty: none.
  std::string session_token;
};

// From the first section of a file in the form of ~/.aws/credentials; if `file` is empty, from the
// environment. UNAVAILABLE if a key or its secret is missing, or holds what no header can.
absl::StatusOr<S3Credentials> ReadS3Credentials(const std::string& file);

}  // namespace sluice

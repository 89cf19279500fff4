// Single requests to one bucket of S3, signed by libcurl (CURLOPT_AWS_SIGV4), connections kept.
//
// What libcurl 7.88 signs wrongly is kept from it: it takes queries as they are (so they are
// sorted, encoded, and each name has its '='), an upload as UNSIGNED-PAYLOAD (so the payload's hash
// is given), and headers without a value as sent (so there are none).
// Redirects are not followed, proxies not used. Thread-safe; calls block.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/mutex.h"

namespace sluice {

struct S3Endpoint {
  // Without a path, as in http://127.0.0.1:9000.
  std::string url;
  std::string region;
  std::string bucket;
  bool path_style = true;
  std::string credentials_file;
  std::string ca_file;
  std::chrono::seconds stall{10};
};

struct S3Answer {
  bool ok() const { return error.empty() && status / 100 == 2; }
  // By its name in lower case; empty: there is none.
  std::string Header(const std::string& name) const;

  // Why there is no whole answer; empty: there is one.
  std::string error;
  // Then: whether it is that there are no credentials.
  bool has_no_credentials = false;
  long status = 0;
  std::map<std::string, std::string> headers;
  // Unless a sink took it; at most 16 MiB.
  std::string body;
};

struct S3Request {
  std::string method;
  // [A-Za-z0-9._/-]; empty: the bucket itself.
  std::string key;
  std::map<std::string, std::string> query;
  // "Name: value".
  std::vector<std::string> headers;
  // Sent: `bytes` of `file` from `from`, whose SHA-256 in hex is `sha256`; else `body`.
  std::filesystem::path file;
  uint64_t from = 0;
  uint64_t bytes = 0;
  std::string sha256;
  std::string body;
  // Takes the body of a good answer, of which status and headers are known, in pieces. False ends
  // the request.
  std::function<bool(const S3Answer& head, std::string_view piece)> sink;
};

class S3Client {
 public:
  explicit S3Client(S3Endpoint endpoint);
  ~S3Client();

  // One attempt, which ends within about a second once `given_up` is stopped.
  S3Answer Send(const S3Request& request, std::chrono::milliseconds timeout,
                std::stop_token given_up = {}) EXCLUDES(mutex_);

 private:
  std::string Url(const S3Request& request) const;

  const S3Endpoint endpoint_;
  Mutex mutex_;
  // CURL handles that nobody uses: each keeps its connection.
  std::vector<void*> idle_ GUARDED_BY(mutex_);
};

}  // namespace sluice

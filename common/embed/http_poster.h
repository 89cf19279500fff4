// POSTs over HTTP by libcurl: one thread for any number of requests under way, connections kept.
// Redirects are not followed, proxies and .netrc not used: what is sent goes to the URL's host and
// nowhere else.
//
// Thread-safe. `done` is called once for each request, on the thread; the destructor ends what runs
// with an error and joins, so it must not run within a `done`.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/base/mutex.h"

namespace sluice::embed {

struct HttpRequest {
  std::string url;
  // "Name: value".
  std::vector<std::string> headers;
  std::string body;
  std::chrono::milliseconds deadline;
  // PEM; empty: the system's.
  std::string ca_file;
};

struct HttpReply {
  // Empty, or why there is no whole answer; then nothing else is set.
  std::string error;
  long status = 0;
  std::string body;
  std::optional<std::chrono::milliseconds> retry_after;
};

class HttpPoster {
 public:
  using Done = std::function<void(HttpReply)>;

  HttpPoster();
  ~HttpPoster();

  void Post(HttpRequest request, Done done) EXCLUDES(mutex_);

 private:
  struct Transfer;
  struct Multi;

  void Run(const std::stop_token& stop) EXCLUDES(mutex_);
  std::vector<std::unique_ptr<Transfer>> TakeQueued() EXCLUDES(mutex_);

  const std::unique_ptr<Multi> multi_;
  Mutex mutex_;
  bool closed_ GUARDED_BY(mutex_) = false;
  std::vector<std::unique_ptr<Transfer>> queued_ GUARDED_BY(mutex_);
  std::jthread thread_;
};

}  // namespace sluice::embed

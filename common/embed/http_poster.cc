#include "common/embed/http_poster.h"

#include <curl/curl.h>

#include <array>
#include <map>
#include <utility>

#include "common/base/check.h"

namespace sluice::embed {
namespace {

// More than 2,048 vectors of 8,192 components in base64 would be; an answer beyond it is cut off.
constexpr size_t kMaxAnswerBytes = 128 << 20;

}  // namespace

struct HttpPoster::Transfer {
  explicit Transfer(HttpRequest r, Done d)
      : request(std::move(r)), done(std::move(d)), easy(curl_easy_init()) {
    SLUICE_CHECK(easy != nullptr);
    for (const std::string& header : request.headers) {
      headers = curl_slist_append(headers, header.c_str());
    }
    // No pause before the body.
    headers = curl_slist_append(headers, "Expect:");
    curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.data());
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(request.deadline.count()));
    if (!request.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, request.ca_file.c_str());
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error.data());
    curl_easy_setopt(easy, CURLOPT_PRIVATE, this);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, this);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Transfer::Write);
  }
  ~Transfer() {
    curl_easy_cleanup(easy);
    curl_slist_free_all(headers);
  }
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  static size_t Write(char* data, size_t size, size_t count, void* transfer) {
    std::string& body = static_cast<Transfer*>(transfer)->reply.body;
    if (body.size() + size * count > kMaxAnswerBytes) return 0;
    body.append(data, size * count);
    return size * count;
  }

  void Finish(CURLcode code) {
    if (code != CURLE_OK) {
      reply = {.error = error[0] != 0 ? error.data() : curl_easy_strerror(code)};
    } else {
      curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &reply.status);
      curl_off_t seconds = 0;
      curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds);
      if (seconds > 0) reply.retry_after = std::chrono::seconds(seconds);
    }
    done(std::move(reply));
  }

  const HttpRequest request;
  const Done done;
  CURL* const easy;
  curl_slist* headers = nullptr;
  std::array<char, CURL_ERROR_SIZE> error{};
  HttpReply reply;
};

struct HttpPoster::Multi {
  Multi() : handle(curl_multi_init()) { SLUICE_CHECK(handle != nullptr); }
  ~Multi() { curl_multi_cleanup(handle); }
  Multi(const Multi&) = delete;
  Multi& operator=(const Multi&) = delete;

  CURLM* const handle;
};

HttpPoster::HttpPoster()
    : multi_([] {
        static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
        SLUICE_CHECK(ready == CURLE_OK);
        return std::make_unique<Multi>();
      }()) {
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

HttpPoster::~HttpPoster() {
  thread_.request_stop();
  curl_multi_wakeup(multi_->handle);
  thread_.join();
}

void HttpPoster::Post(HttpRequest request, Done done) {
  auto transfer = std::make_unique<Transfer>(std::move(request), std::move(done));
  {
    const MutexLock lock(mutex_);
    if (!closed_) {
      queued_.push_back(std::move(transfer));
      curl_multi_wakeup(multi_->handle);
      return;
    }
  }
  transfer->done({.error = "stopping"});
}

std::vector<std::unique_ptr<HttpPoster::Transfer>> HttpPoster::TakeQueued() {
  const MutexLock lock(mutex_);
  return std::exchange(queued_, {});
}

void HttpPoster::Run(const std::stop_token& stop) {
  std::map<CURL*, std::unique_ptr<Transfer>> running;
  while (!stop.stop_requested()) {
    for (std::unique_ptr<Transfer>& transfer : TakeQueued()) {
      CURL* const easy = transfer->easy;
      running.emplace(easy, std::move(transfer));
      curl_multi_add_handle(multi_->handle, easy);
    }
    int still_running = 0;
    curl_multi_perform(multi_->handle, &still_running);
    int left = 0;
    while (const CURLMsg* const message = curl_multi_info_read(multi_->handle, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      const CURLcode result = message->data.result;
      auto ended = running.extract(message->easy_handle);
      curl_multi_remove_handle(multi_->handle, ended.key());
      ended.mapped()->Finish(result);
    }
    curl_multi_poll(multi_->handle, nullptr, 0, 1'000, nullptr);
  }
  {
    const MutexLock lock(mutex_);
    closed_ = true;
  }
  for (auto& [easy, transfer] : running) {
    curl_multi_remove_handle(multi_->handle, easy);
    transfer->done({.error = "stopping"});
  }
  for (const std::unique_ptr<Transfer>& transfer : TakeQueued())
    transfer->done({.error = "stopping"});
}

}  // namespace sluice::embed

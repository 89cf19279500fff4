#include "common/objects/s3_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/check.h"
#include "common/objects/s3_credentials.h"
#include "common/objects/sha256.h"

namespace sluice {
namespace {

constexpr size_t kMaxBodyBytes = 16 << 20;
constexpr size_t kMaxIdle = 16;
constexpr long kSlowBytesPerSecond = 1024;
constexpr long kConnectTimeoutMs = 5'000;
constexpr long kExpectTimeoutMs = 200;

std::string Encode(std::string_view text) {
  std::string encoded;
  for (const unsigned char c : text) {
    if (std::isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~') {
      encoded += static_cast<char>(c);
    } else {
      absl::StrAppendFormat(&encoded, "%%%02X", c);
    }
  }
  return encoded;
}

struct Transfer {
  const S3Request& request;
  const std::stop_token given_up;
  std::ifstream file;
  uint64_t sent = 0;
  S3Answer answer;

  bool is_upload() const { return !request.file.empty(); }

  bool Rewind() {
    file.clear();
    file.seekg(static_cast<std::streamoff>(request.from));
    sent = 0;
    return file.good();
  }

  static size_t Read(char* into, size_t size, size_t count, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    const uint64_t wanted =
        std::min<uint64_t>(size * count, transfer.request.bytes - transfer.sent);
    transfer.file.read(into, static_cast<std::streamsize>(wanted));
    const auto got = static_cast<uint64_t>(transfer.file.gcount());
    if (got < wanted) return CURL_READFUNC_ABORT;
    transfer.sent += got;
    return got;
  }

  static int Seek(void* self, curl_off_t offset, int origin) {
    const bool rewound =
        offset == 0 && origin == SEEK_SET && static_cast<Transfer*>(self)->Rewind();
    return rewound ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
  }

  static int Progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<Transfer*>(self)->given_up.stop_requested() ? 1 : 0;
  }

  static size_t Head(char* data, size_t size, size_t count, void* self) {
    S3Answer& answer = static_cast<Transfer*>(self)->answer;
    const absl::string_view line(data, size * count);
    if (absl::StartsWith(line, "HTTP/")) {
      // A new answer, after 100 Continue.
      answer = {};
      const size_t space = line.find(' ');
      if (space != line.npos) answer.status = std::atol(std::string(line.substr(space)).c_str());
    } else if (const size_t colon = line.find(':'); colon != line.npos) {
      answer.headers[absl::AsciiStrToLower(line.substr(0, colon))] =
          std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
    }
    return line.size();
  }

  static size_t Write(char* data, size_t size, size_t count, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    const std::string_view piece(data, size * count);
    if (transfer.request.sink && transfer.answer.status / 100 == 2) {
      return transfer.request.sink(transfer.answer, piece) ? piece.size() : 0;
    }
    if (transfer.answer.body.size() + piece.size() > kMaxBodyBytes) return 0;
    transfer.answer.body.append(piece);
    return piece.size();
  }
};

}  // namespace

std::string S3Answer::Header(const std::string& name) const {
  const auto header = headers.find(name);
  return header == headers.end() ? "" : header->second;
}

S3Client::S3Client(S3Endpoint endpoint) : endpoint_(std::move(endpoint)) {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  SLUICE_CHECK(ready == CURLE_OK);
}

S3Client::~S3Client() {
  for (void* const easy : idle_) curl_easy_cleanup(easy);
}

std::string S3Client::Url(const S3Request& request) const {
  std::string url = endpoint_.url;
  if (endpoint_.path_style) {
    absl::StrAppend(&url, "/", endpoint_.bucket);
  } else {
    url.insert(url.find("://") + 3, endpoint_.bucket + ".");
  }
  absl::StrAppend(&url, "/", request.key);
  char separator = '?';
  for (const auto& [name, value] : request.query) {
    absl::StrAppend(&url, std::string(1, separator), name, "=", Encode(value));
    separator = '&';
  }
  return url;
}

S3Answer S3Client::Send(const S3Request& request, std::chrono::milliseconds timeout,
                        std::stop_token given_up) {
  const absl::StatusOr<S3Credentials> credentials = ReadS3Credentials(endpoint_.credentials_file);
  if (!credentials.ok()) {
    return {.error = std::string(credentials.status().message()), .has_no_credentials = true};
  }
  Transfer transfer{.request = request, .given_up = std::move(given_up)};
  if (transfer.is_upload()) {
    transfer.file.open(request.file, std::ios::binary);
    if (!transfer.Rewind()) return {.error = "cannot read " + request.file.string()};
  }

  CURL* easy = nullptr;
  {
    const MutexLock lock(mutex_);
    if (!idle_.empty()) {
      easy = idle_.back();
      idle_.pop_back();
    }
  }
  if (easy == nullptr) easy = curl_easy_init();
  SLUICE_CHECK(easy != nullptr);

  curl_slist* headers = nullptr;
  const auto add = [&](const std::string& header) {
    headers = curl_slist_append(headers, header.c_str());
  };
  for (const std::string& header : request.headers) add(header);
  add("x-amz-content-sha256: " + (transfer.is_upload() ? request.sha256 : Sha256Of(request.body)));
  if (!credentials->session_token.empty()) {
    add("x-amz-security-token: " + credentials->session_token);
  }

  std::array<char, CURL_ERROR_SIZE> error{};
  const std::string url = Url(request);
  const std::string signing = absl::StrCat("aws:amz:", endpoint_.region, ":s3");
  curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_PROXY, "");
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, signing.c_str());
  curl_easy_setopt(easy, CURLOPT_USERNAME, credentials->key_id.c_str());
  curl_easy_setopt(easy, CURLOPT_PASSWORD, credentials->secret.c_str());
  if (transfer.is_upload()) {
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.bytes));
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, &Transfer::Read);
    curl_easy_setopt(easy, CURLOPT_READDATA, &transfer);
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, &Transfer::Seek);
    curl_easy_setopt(easy, CURLOPT_SEEKDATA, &transfer);
  } else if (request.method == "POST") {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.data());
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
  } else if (request.method == "HEAD") {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else if (request.method != "GET") {
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(timeout.count()));
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
  // libcurl asks before every upload whether it may send; some servers do not answer that.
  curl_easy_setopt(easy, CURLOPT_EXPECT_100_TIMEOUT_MS, kExpectTimeoutMs);
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, kSlowBytesPerSecond);
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, static_cast<long>(endpoint_.stall.count()));
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 256L << 10);
  curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
  if (!endpoint_.ca_file.empty()) {
    curl_easy_setopt(easy, CURLOPT_CAINFO, endpoint_.ca_file.c_str());
  }
  curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, &Transfer::Progress);
  curl_easy_setopt(easy, CURLOPT_XFERINFODATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error.data());
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &Transfer::Head);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Transfer::Write);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);

  const CURLcode code = curl_easy_perform(easy);
  if (code != CURLE_OK) {
    transfer.answer.error = error[0] != 0 ? error.data() : curl_easy_strerror(code);
  }
  curl_slist_free_all(headers);
  curl_easy_reset(easy);
  const MutexLock lock(mutex_);
  if (idle_.size() < kMaxIdle) {
    idle_.push_back(easy);
  } else {
    curl_easy_cleanup(easy);
  }
  return std::move(transfer.answer);
}

}  // namespace sluice

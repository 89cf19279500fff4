// A server of S3 that misbehaves on demand, for tests: one bucket in memory, no signatures checked.
#pragma once

#include <civetweb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/mutex.h"

namespace sluice {

class FakeS3 {
 public:
  enum class Fault {
    kNone,
    k500,
    kSlowDown,
    kTooMany,
    kConflict,
    kWrongKey,
    kWrongSignature,
    kExpired,
    kDenied,
    kSkewed,
    // Nothing is done, and the connection breaks.
    kBreak,
    // It is done, and then the connection breaks.
    kDoneThenBreak,
    // It is done, and then the answer is 500.
    kDoneThen500,
    // Half of the body is sent.
    kTruncate,
    kWrongBytes,
    // All of the object, whatever range was asked for.
    kWhole,
    // A byte less than was asked for, and says so.
    kShort,
    // No answer until the server ends.
    kHang,
  };
  struct Request {
    std::string method;
    std::string uri;
    std::string query;
    std::map<std::string, std::string> headers;
  };

  FakeS3() {
    const char* options[] = {"listening_ports",          "127.0.0.1:0", "num_threads", "8",
                             "enable_auth_domain_check", "no",          nullptr};
    context_ = mg_start(nullptr, this, options);
    SLUICE_CHECK(context_ != nullptr);
    mg_set_request_handler(context_, "/", &FakeS3::Handle, this);
    mg_server_port port[1];
    SLUICE_CHECK(mg_get_server_ports(context_, 1, port) == 1);
    port_ = port[0].port;
  }
  ~FakeS3() {
    {
      const MutexLock lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    // civetweb looks whether it is to stop after each connection, or every two seconds.
    std::jthread waker([this](const std::stop_token& stopped) {
      while (!stopped.stop_requested()) Connect();
    });
    mg_stop(context_);
  }

  std::string endpoint() const { return absl::StrCat("http://127.0.0.1:", port_); }
  int port() const { return port_; }

  // Of the next requests of this method, in turn.
  void Fail(const std::string& method, const std::vector<Fault>& faults) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    for (const Fault fault : faults) faults_[method].push_back(fault);
  }
  // Says what happens to each request as it arrives; may block, and may change what is stored.
  // Those of Fail come first.
  void OnRequest(std::function<Fault(const Request&)> hook) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    on_request_ = std::move(hook);
  }
  std::vector<Request> Requests(const std::string& method) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    std::vector<Request> some;
    for (const Request& request : requests_) {
      if (request.method == method) some.push_back(request);
    }
    return some;
  }
  void Set(const std::string& key, const std::string& body, const std::string& sha256)
      EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    Store(key, body, sha256);
  }
  void Remove(const std::string& key) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    objects_.erase(key);
  }
  // Of all bodies.
  uint64_t bytes_sent() EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return bytes_sent_;
  }
  std::string Body(const std::string& key) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return objects_[key].body;
  }
  size_t uploads() EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return uploads_.size();
  }
  // Of one page of a list.
  void set_page(size_t keys) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    page_ = keys;
  }

 private:
  struct Object {
    std::string body;
    std::string sha256;
    std::string etag;
  };
  struct Upload {
    std::string key;
    std::string sha256;
    std::map<int, std::string> parts;
  };
  struct Answer {
    int status = 200;
    std::string body;
    std::string headers;
  };
  static constexpr std::string_view kBucket = "/bucket/";

  void Connect() const {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port_));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int socket_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)connect(socket_fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    close(socket_fd);
  }

  static int Handle(mg_connection* connection, void* self) {
    return static_cast<FakeS3*>(self)->Serve(connection);
  }

  int Serve(mg_connection* connection) EXCLUDES(mutex_) {
    const mg_request_info* const info = mg_get_request_info(connection);
    Request request{info->request_method,
                    info->local_uri,
                    info->query_string == nullptr ? "" : info->query_string,
                    {}};
    for (int i = 0; i < info->num_headers; ++i) {
      std::string name = info->http_headers[i].name;
      for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      request.headers[name] = info->http_headers[i].value;
    }
    std::string body;
    // Not on the stack, which civetweb keeps small.
    std::vector<char> piece(1 << 16);
    for (int got; (got = mg_read(connection, piece.data(), piece.size())) > 0;) {
      body.append(piece.data(), static_cast<size_t>(got));
    }

    std::function<Fault(const Request&)> hook;
    {
      const MutexLock lock(mutex_);
      hook = on_request_;
    }
    Fault fault = hook ? hook(request) : Fault::kNone;
    Answer answer;
    {
      MutexLock lock(mutex_);
      requests_.push_back(request);
      if (auto& faults = faults_[request.method]; !faults.empty()) {
        fault = faults.front();
        faults.pop_front();
      }
      if (fault == Fault::kHang) {
        while (!ending_) changed_.wait(mutex_);
      }
      switch (fault) {
        case Fault::kNone:
        case Fault::kDoneThenBreak:
        case Fault::kTruncate:
        case Fault::kWrongBytes:
        case Fault::kShort:
          answer = Do(request, body);
          break;
        case Fault::kWhole:
          request.headers.erase("range");
          answer = Do(request, body);
          break;
        case Fault::kDoneThen500:
          Do(request, body);
          [[fallthrough]];
        case Fault::k500:
          answer = Error(500, "InternalError");
          break;
        case Fault::kSlowDown:
          answer = Error(503, "SlowDown");
          break;
        case Fault::kTooMany:
          answer = Error(429, "TooManyRequests");
          break;
        case Fault::kConflict:
          answer = Error(409, "ConditionalRequestConflict");
          break;
        case Fault::kWrongKey:
          answer = Error(403, "InvalidAccessKeyId");
          break;
        case Fault::kWrongSignature:
          answer = Error(403, "SignatureDoesNotMatch");
          break;
        case Fault::kExpired:
          answer = Error(400, "ExpiredToken");
          break;
        case Fault::kDenied:
          answer = Error(403, "AccessDenied");
          break;
        case Fault::kSkewed:
          answer = Error(403, "RequestTimeTooSkewed");
          break;
        case Fault::kBreak:
        case Fault::kHang:
          break;
      }
    }
    if (fault == Fault::kShort && !answer.body.empty()) answer.body.pop_back();
    const bool is_broken =
        fault == Fault::kBreak || fault == Fault::kDoneThenBreak || fault == Fault::kHang;
    if (is_broken) return 200;
    mg_printf(connection, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%sConnection: close\r\n\r\n",
              answer.status, answer.body.size(), answer.headers.c_str());
    if (request.method == "HEAD") return answer.status;
    if (fault == Fault::kWrongBytes) answer.body[answer.body.size() / 2] ^= 1;
    if (fault == Fault::kTruncate) answer.body.resize(answer.body.size() / 2);
    {
      const MutexLock lock(mutex_);
      bytes_sent_ += answer.body.size();
    }
    mg_write(connection, answer.body.data(), answer.body.size());
    return answer.status;
  }

  static Answer Error(int status, const std::string& code) {
    return {status, absl::StrCat("<Error><Code>", code, "</Code></Error>"), ""};
  }

  static std::string Parameter(const Request& request, const std::string& name) {
    std::array<char, 1024> value{};
    const int length = mg_get_var(request.query.data(), request.query.size(), name.c_str(),
                                  value.data(), value.size());
    return length > 0 ? std::string(value.data(), static_cast<size_t>(length)) : "";
  }

  Answer Do(const Request& request, const std::string& body) REQUIRES(mutex_) {
    if (!request.uri.starts_with(kBucket)) return Error(404, "NoSuchBucket");
    const std::string key = request.uri.substr(kBucket.size());
    const auto header = [&](const char* name) {
      const auto found = request.headers.find(name);
      return found == request.headers.end() ? std::string() : found->second;
    };
    const std::string upload_id = Parameter(request, "uploadId");
    const bool may_not = header("if-none-match") == "*" && objects_.contains(key);
    if (request.method == "PUT" && !upload_id.empty()) {
      uploads_[upload_id].parts[std::atoi(Parameter(request, "partNumber").c_str())] = body;
      return {200, "", "ETag: \"part\"\r\n"};
    }
    if (request.method == "PUT") {
      if (may_not) return Error(412, "PreconditionFailed");
      Store(key, body, header("x-amz-meta-sluice-sha256"));
      return {200, "", "ETag: \"whole\"\r\n"};
    }
    if (request.method == "POST" && upload_id.empty()) {
      const std::string id = absl::StrCat("upload-", ++last_upload_);
      uploads_[id] = {key, header("x-amz-meta-sluice-sha256"), {}};
      return {200, absl::StrCat("<R><UploadId>", id, "</UploadId></R>"), ""};
    }
    if (request.method == "POST") {
      const auto upload = uploads_.find(upload_id);
      if (upload == uploads_.end()) return Error(404, "NoSuchUpload");
      if (may_not) return Error(412, "PreconditionFailed");
      std::string whole;
      for (const auto& [number, part] : upload->second.parts) whole += part;
      Store(key, whole, upload->second.sha256);
      uploads_.erase(upload);
      return {200, "<CompleteMultipartUploadResult/>", ""};
    }
    if (request.method == "DELETE") {
      upload_id.empty() ? objects_.erase(key) : uploads_.erase(upload_id);
      return {204, "", ""};
    }
    if (key.empty()) return List(request);
    const auto object = objects_.find(key);
    if (object == objects_.end()) return Error(404, "NoSuchKey");
    return Get(request, object->second);
  }

  static Answer Get(const Request& request, const Object& object) {
    const auto if_match = request.headers.find("if-match");
    if (if_match != request.headers.end() && if_match->second != object.etag) {
      return Error(412, "PreconditionFailed");
    }
    Answer answer{200, object.body, absl::StrCat("ETag: ", object.etag, "\r\n")};
    if (!object.sha256.empty()) {
      absl::StrAppend(&answer.headers, "x-amz-meta-sluice-sha256: ", object.sha256, "\r\n");
    }
    const auto range = request.headers.find("range");
    if (range == request.headers.end()) return answer;
    // bytes=FROM- or bytes=FROM-TO
    char* end = nullptr;
    const uint64_t from = std::strtoull(range->second.c_str() + 6, &end, 10);
    const uint64_t to = end[1] == 0 ? object.body.size() - 1 : std::strtoull(end + 1, nullptr, 10);
    if (from >= object.body.size()) {
      answer = Error(416, "InvalidRange");
      answer.headers = absl::StrCat("Content-Range: bytes */", object.body.size(), "\r\n");
      return answer;
    }
    answer.status = 206;
    answer.body = object.body.substr(from, to - from + 1);
    absl::StrAppend(&answer.headers, "Content-Range: bytes ", from, "-",
                    from + answer.body.size() - 1, "/", object.body.size(), "\r\n");
    return answer;
  }

  void Store(const std::string& key, const std::string& body, const std::string& sha256)
      REQUIRES(mutex_) {
    objects_[key] = {body, sha256, absl::StrCat("\"e", ++last_etag_, "\"")};
  }

  Answer List(const Request& request) REQUIRES(mutex_) {
    const std::string prefix = Parameter(request, "prefix");
    const std::string after = Parameter(request, "continuation-token");
    std::string body = "<ListBucketResult>";
    size_t keys = 0;
    for (const auto& [key, object] : objects_) {
      if (!absl::StartsWith(key, prefix) || absl::StrCat("<&", key) <= after) continue;
      if (keys++ == page_) {
        return {200, absl::StrCat(body, "<IsTruncated>true</IsTruncated></ListBucketResult>"), ""};
      }
      absl::StrAppend(&body, "<Contents><Key>", key, "</Key></Contents>");
      if (keys == page_) {
        absl::StrAppend(&body, "<NextContinuationToken>&lt;&amp;", key, "</NextContinuationToken>");
      }
    }
    return {200, absl::StrCat(body, "<IsTruncated>false</IsTruncated></ListBucketResult>"), ""};
  }

  mg_context* context_ = nullptr;
  int port_ = 0;

  Mutex mutex_;
  CondVar changed_;
  bool ending_ GUARDED_BY(mutex_) = false;
  std::map<std::string, Object> objects_ GUARDED_BY(mutex_);
  std::map<std::string, Upload> uploads_ GUARDED_BY(mutex_);
  int last_upload_ GUARDED_BY(mutex_) = 0;
  int last_etag_ GUARDED_BY(mutex_) = 0;
  uint64_t bytes_sent_ GUARDED_BY(mutex_) = 0;
  size_t page_ GUARDED_BY(mutex_) = 1000;
  std::map<std::string, std::deque<Fault>> faults_ GUARDED_BY(mutex_);
  std::function<Fault(const Request&)> on_request_ GUARDED_BY(mutex_);
  std::vector<Request> requests_ GUARDED_BY(mutex_);
};

}  // namespace sluice

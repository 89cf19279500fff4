#include "common/objects/s3_store.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <stop_token>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/base/check.h"
#include "common/base/mutex.h"
#include "common/errors/errors.h"
#include "common/objects/sha256.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kFirstPause{100};
constexpr milliseconds kLongestPause{5'000};
// Of a piece of an object, with all retries, until its last try begins; that has a millisecond more
// for each so many bytes (1 MB/s).
constexpr milliseconds kPieceTimeout{10'000};
constexpr uint64_t kPieceBytesPerMs = 1'000;
constexpr uint64_t kMaxParts = 10'000;
// Whole downloads whose bytes do not match their checksum, before the object is called corrupt.
constexpr int kMaxMismatches = 3;
constexpr char kSha256Header[] = "x-amz-meta-sluice-sha256";

// Of tries that are refused for their credentials, which are read for each: somebody may be about
// to replace them.
constexpr milliseconds kRotation{3'000};

// Whether another try may be answered better.
enum class Hope { kNone, kIfCredentialsChange, kInTime };

// Pauses between tries, until the time is up: twice as long each time, between half and all of it.
class Retries {
 public:
  explicit Retries(milliseconds timeout, const Patience& patience = {})
      : end_(std::min(steady_clock::now() + timeout, patience.deadline)),
        given_up_(patience.given_up) {}

  milliseconds left() const {
    return std::max(milliseconds(1), std::chrono::ceil<milliseconds>(end_ - steady_clock::now()));
  }
  bool are_over() const { return given_up_.stop_requested() || steady_clock::now() >= end_; }
  // False: there is no hope, or no time is left for another try.
  bool Pause(Hope hope) {
    if (hope == Hope::kNone) return false;
    const bool is_refused = hope == Hope::kIfCredentialsChange;
    if (is_refused != refused_since_.has_value()) {
      pause_ = kFirstPause;
      refused_since_.reset();
      if (is_refused) refused_since_ = steady_clock::now();
    }
    const milliseconds pause(absl::Uniform<int64_t>(random_, pause_.count() / 2, pause_.count()));
    pause_ = std::min(pause_ * 2, kLongestPause);
    const auto next = steady_clock::now() + pause;
    if (next >= end_ || (is_refused && next >= *refused_since_ + kRotation)) return false;
    Mutex mutex;
    const MutexLock lock(mutex);
    CondVar never;
    never.wait_for(mutex, given_up_, pause, [] { return false; });
    return !given_up_.stop_requested();
  }

 private:
  const steady_clock::time_point end_;
  const std::stop_token given_up_;
  // Since when all tries were refused for their credentials; null: the last was not.
  std::optional<steady_clock::time_point> refused_since_;
  // The next, of tries that failed in the same way as the last.
  milliseconds pause_ = kFirstPause;
  absl::BitGen random_;
};

// What is between <element> and </element>, the first from *from on, which then is behind it.
std::optional<std::string> Element(const std::string& xml, const std::string& element,
                                   size_t* from) {
  const std::string begin = absl::StrCat("<", element, ">");
  const size_t start = xml.find(begin, *from);
  const size_t end = xml.find(absl::StrCat("</", element, ">"), start);
  if (start == xml.npos || end == xml.npos) return std::nullopt;
  *from = end;
  return absl::StrReplaceAll(
      xml.substr(start + begin.size(), end - start - begin.size()),
      {{"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&#34;", "\""}, {"&amp;", "&"}});
}

std::optional<std::string> Element(const std::string& xml, const std::string& element) {
  size_t from = 0;
  return Element(xml, element, &from);
}

std::string CodeOf(const S3Answer& answer) { return Element(answer.body, "Code").value_or(""); }

// What S3 says of credentials that it does not know, or knows no longer.
bool IsOfCredentials(std::string_view code) {
  return code == "InvalidAccessKeyId" || code == "SignatureDoesNotMatch" ||
         code == "ExpiredToken" || code == "InvalidToken" || code == "TokenRefreshRequired";
}

Hope HopeOf(const S3Answer& answer) {
  if (answer.has_no_credentials) return Hope::kIfCredentialsChange;
  if (!answer.error.empty() || answer.status >= 500 || answer.status == 429 ||
      answer.status == 408 || answer.status == 409) {
    return Hope::kInTime;
  }
  return IsOfCredentials(CodeOf(answer)) ? Hope::kIfCredentialsChange : Hope::kNone;
}

absl::Status ErrorOf(const S3Request& request, const S3Answer& answer) {
  const std::string what = absl::StrCat(request.method, " ", request.key, ": ");
  if (!answer.error.empty()) return absl::UnavailableError(what + answer.error);
  const std::string code = CodeOf(answer);
  if (IsOfCredentials(code)) {
    return absl::UnavailableError(absl::StrCat(what, "S3 does not accept the credentials (", code,
                                               "); objects.s3.credentials_file, or the environment "
                                               "in its place, has them"));
  }
  if (code == "RequestTimeTooSkewed") {
    return absl::UnavailableError(
        absl::StrCat(what, "the clock of this machine differs from that of S3 (", code, ")"));
  }
  if (answer.status == 403) {
    return absl::UnavailableError(
        absl::StrCat(what, "S3 denies access (403 ", code,
                     "); the credentials must allow to get, put, delete and list"));
  }
  // A bucket that is not there is not an object that is not there.
  if (answer.status == 404 && code != "NoSuchBucket") {
    return absl::NotFoundError(absl::StrCat(what, "no such object"));
  }
  return absl::UnavailableError(absl::StrCat(what, "S3 answers ", answer.status, " ", code));
}

bool IsGoodPlace(std::string_view bucket, std::string_view prefix) {
  const auto all = [](std::string_view text, std::string_view others) {
    return std::all_of(text.begin(), text.end(), [&](unsigned char c) {
      return c < 0x80 && (std::isalnum(c) != 0 || others.find(c) != others.npos);
    });
  };
  const std::string path = "/" + std::string(prefix) + "/";
  return bucket.size() >= 3 && bucket.size() <= 63 && all(bucket, ".-") && all(prefix, "._-/") &&
         !absl::StrContains(path, "//") && !absl::StrContains(path, "/./") &&
         !absl::StrContains(path, "/../");
}

}  // namespace

absl::StatusOr<std::unique_ptr<S3Store>> S3Store::Open(std::string_view place,
                                                       const ObjectSettings& settings,
                                                       std::string_view user) {
  std::string_view rest = place;
  const bool is_s3 = rest.starts_with("s3://");
  rest.remove_prefix(is_s3 ? 5 : 0);
  const std::string bucket(rest.substr(0, rest.find('/')));
  std::string prefix(rest.substr(std::min(rest.size(), bucket.size() + 1)));
  if (prefix.ends_with('/')) prefix.pop_back();
  if (!is_s3 || !(prefix.empty() ? IsGoodPlace(bucket, "x") : IsGoodPlace(bucket, prefix))) {
    return absl::InvalidArgumentError(
        absl::StrCat("neither a folder nor s3://BUCKET/PREFIX: ", std::string(place)));
  }
  if (!prefix.empty()) prefix += '/';
  std::string url = settings.endpoint;
  if (url.empty()) url = absl::StrCat("https://s3.", settings.region, ".amazonaws.com");
  if (url.ends_with('/')) url.pop_back();
  const size_t host = url.find("://");
  if ((!url.starts_with("http://") && !url.starts_with("https://")) ||
      url.find_first_of("/?#@", host + 3) != url.npos) {
    return absl::InvalidArgumentError(
        "objects.s3.endpoint: not a URL of http or https without a path: " + url);
  }
  SLUICE_ASSIGN_OR_RETURN(std::unique_ptr<ObjectCache> cache,
                          ObjectCache::Open(fs::path(settings.cache) / user, settings.cache_bytes));
  return std::unique_ptr<S3Store>(new S3Store(
      {.url = std::move(url),
       .region = settings.region,
       .bucket = bucket,
       .path_style = settings.path_style,
       .credentials_file = settings.credentials_file,
       .ca_file = settings.ca_file,
       .stall = std::chrono::ceil<std::chrono::seconds>(milliseconds(settings.stall_ms))},
      std::move(prefix), settings, std::move(cache)));
}

S3Store::S3Store(S3Endpoint endpoint, std::string prefix, const ObjectSettings& settings,
                 std::unique_ptr<ObjectCache> cache)
    : client_(std::make_unique<S3Client>(std::move(endpoint))),
      prefix_(std::move(prefix)),
      part_bytes_(settings.part_bytes),
      timeout_(settings.timeout_ms),
      cache_(std::move(cache)) {}

S3Answer S3Store::Send(const S3Request& request, milliseconds timeout, int* tries) const {
  Retries retries(timeout);
  std::optional<S3Answer> last;
  while (true) {
    S3Answer answer = client_->Send(request, retries.left());
    // A try that the end of the time cut off tells less than the answer before it.
    if (!answer.error.empty() && retries.are_over() && last) return *std::move(last);
    // CompleteMultipartUpload may say 200 before it fails.
    if (request.method == "POST" && answer.status == 200 &&
        absl::StrContains(answer.body, "<Error>")) {
      answer.status = 500;
    }
    if (tries != nullptr) ++*tries;
    if (!retries.Pause(HopeOf(answer))) return answer;
    last = std::move(answer);
  }
}

absl::Status S3Store::Put(std::string_view name, const fs::path& file) const {
  SLUICE_RETURN_IF_ERROR(CheckObjectName(name));
  Upload upload{.key = KeyOf(name), .file = file};
  SLUICE_ASSIGN_OR_RETURN(upload.sha256, Sha256OfFile(file));
  std::error_code error;
  upload.bytes = fs::file_size(file, error);
  if (error) return absl::UnavailableError("cannot read " + file.string());
  SLUICE_RETURN_IF_ERROR(upload.bytes <= part_bytes_ ? PutWhole(upload) : PutInParts(upload));
  cache_->Add(name, file, upload.sha256);
  return absl::OkStatus();
}

absl::Status S3Store::PutWhole(const Upload& upload) const {
  int tries = 0;
  const S3Answer answer =
      Send({.method = "PUT",
            .key = upload.key,
            .headers = {"If-None-Match: *", absl::StrCat(kSha256Header, ": ", upload.sha256)},
            .file = upload.file,
            .bytes = upload.bytes,
            .sha256 = upload.sha256},
           timeout_, &tries);
  return Concluded(upload, answer, tries);
}

absl::Status S3Store::Concluded(const Upload& upload, const S3Answer& answer, int tries) const {
  if (answer.ok()) return absl::OkStatus();
  // An earlier try may be what is there: then the name is taken, or the upload is no more.
  const bool is_taken = answer.error.empty() && answer.status == 412;
  const bool is_gone = answer.error.empty() && answer.status == 404 && tries > 1;
  if ((is_taken && tries > 1) || is_gone) {
    const S3Request head{.method = "HEAD", .key = upload.key};
    const S3Answer found = Send(head, timeout_);
    if (!found.ok()) return absl::UnavailableError(ErrorOf(head, found).message());
    if (found.Header(kSha256Header) == upload.sha256) return absl::OkStatus();
    return absl::AlreadyExistsError("object exists: " + upload.key);
  }
  if (is_taken) return absl::AlreadyExistsError("object exists: " + upload.key);
  return absl::UnavailableError(ErrorOf({.method = "PUT", .key = upload.key}, answer).message());
}

absl::Status S3Store::PutInParts(const Upload& upload) const {
  const S3Request begin{.method = "POST",
                        .key = upload.key,
                        .query = {{"uploads", ""}},
                        .headers = {absl::StrCat(kSha256Header, ": ", upload.sha256)}};
  const S3Answer begun = Send(begin, timeout_);
  const std::optional<std::string> id = Element(begun.body, "UploadId");
  if (!begun.ok() || !id) return absl::UnavailableError(ErrorOf(begin, begun).message());

  absl::StatusOr<std::string> parts = PutParts(upload, *id);
  absl::Status result = parts.status();
  if (parts.ok()) {
    int tries = 0;
    const S3Answer answer = Send({.method = "POST",
                                  .key = upload.key,
                                  .query = {{"uploadId", *id}},
                                  .headers = {"Content-Type: application/xml", "If-None-Match: *"},
                                  .body = *parts},
                                 timeout_, &tries);
    result = Concluded(upload, answer, tries);
  }
  // Parts that were stored cost until somebody says so; one try, as a rule of the bucket sees to
  // the rest.
  if (!result.ok()) {
    client_->Send({.method = "DELETE", .key = upload.key, .query = {{"uploadId", *id}}}, timeout_);
  }
  return result;
}

absl::StatusOr<std::string> S3Store::PutParts(const Upload& upload,
                                              const std::string& upload_id) const {
  const uint64_t part_bytes = std::max(part_bytes_, (upload.bytes + kMaxParts - 1) / kMaxParts);
  std::string list = "<CompleteMultipartUpload>";
  uint64_t number = 0;
  for (uint64_t from = 0; from < upload.bytes; from += part_bytes) {
    ++number;
    const uint64_t bytes = std::min(part_bytes, upload.bytes - from);
    SLUICE_ASSIGN_OR_RETURN(std::string sha256, Sha256OfRange(upload.file, from, bytes));
    const S3Request request{
        .method = "PUT",
        .key = upload.key,
        .query = {{"partNumber", absl::StrCat(number)}, {"uploadId", upload_id}},
        .file = upload.file,
        .from = from,
        .bytes = bytes,
        .sha256 = std::move(sha256)};
    const S3Answer answer = Send(request, timeout_);
    if (!answer.ok()) return absl::UnavailableError(ErrorOf(request, answer).message());
    absl::StrAppend(&list, "<Part><PartNumber>", number, "</PartNumber><ETag>",
                    answer.Header("etag"), "</ETag></Part>");
  }
  return list + "</CompleteMultipartUpload>";
}

absl::StatusOr<ObjectFile> S3Store::Fetch(std::string_view name, const Patience& patience) const {
  SLUICE_RETURN_IF_ERROR(CheckObjectName(name));
  return cache_->Get(
      name, [&](const fs::path& to) { return Download(KeyOf(name), to, patience); }, patience);
}

class S3Store::Reader final : public ObjectReader {
 public:
  Reader(const S3Store& store, std::string key, uint64_t bytes)
      : store_(store), key_(std::move(key)), bytes_(bytes) {}

  absl::StatusOr<std::string> Read(uint64_t offset, uint64_t bytes) const override {
    SLUICE_CHECK(offset <= bytes_ && bytes <= bytes_ - offset);
    if (bytes == 0) return "";
    Retries retries(std::min(store_.timeout_, kPieceTimeout));
    const milliseconds transfer(bytes / kPieceBytesPerMs);
    const std::string range = absl::StrCat(offset, "-", offset + bytes - 1);
    std::string content;
    S3Request request{.method = "GET", .key = key_};
    request.sink = [&](const S3Answer& head, std::string_view piece) {
      content.append(piece);
      return head.status == 206 && content.size() <= bytes;
    };
    while (true) {
      content.clear();
      request.headers = {"Range: bytes=" + range};
      if (const std::string etag = Etag(); !etag.empty()) {
        request.headers.push_back("If-Match: " + etag);
      }
      S3Answer answer =
          store_.client_->Send(request, std::min(store_.timeout_, retries.left() + transfer));
      const std::string place = answer.Header("content-range");
      if (answer.error.empty() && (answer.status == 206 || answer.status == 416)) {
        SLUICE_RETURN_IF_ERROR(CheckSize(place));
      }
      if (answer.ok() && answer.status == 206 && content.size() == bytes &&
          absl::StartsWith(place, absl::StrCat("bytes ", range, "/"))) {
        if (!IsOfSameObject(answer.Header("etag"))) return OtherObject();
        return content;
      }
      if (answer.error.empty() && (answer.status == 412 || answer.status == 416)) {
        return OtherObject();
      }
      if (answer.status / 100 == 2) {
        answer.error = absl::StrCat("S3 answers with other bytes than ", range);
      }
      if (!retries.Pause(HopeOf(answer))) return ErrorOf(request, answer);
    }
  }

 private:
  std::string Etag() const EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return etag_;
  }

  // As the pieces so far, if there are any.
  bool IsOfSameObject(const std::string& etag) const EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    if (etag_.empty()) etag_ = etag;
    return etag_ == etag;
  }
  absl::Status OtherObject() const {
    return absl::NotFoundError(absl::StrCat("another object than before: ", key_));
  }

  // `place`: "bytes FROM-TO/TOTAL", or "bytes */TOTAL" where there are none at the range.
  absl::Status CheckSize(absl::string_view place) const {
    uint64_t size = 0;
    const size_t slash = place.rfind('/');
    if (slash == place.npos || !absl::SimpleAtoi(place.substr(slash + 1), &size) ||
        size == bytes_) {
      return absl::OkStatus();
    }
    return WrongSize(key_, size, bytes_);
  }

  const S3Store& store_;
  const std::string key_;
  const uint64_t bytes_;
  mutable Mutex mutex_;
  // Of the object that the pieces so far are of; empty: there are none.
  mutable std::string etag_ GUARDED_BY(mutex_);
};

absl::StatusOr<std::unique_ptr<const ObjectReader>> S3Store::OpenReader(std::string_view name,
                                                                        uint64_t bytes) const {
  SLUICE_RETURN_IF_ERROR(CheckObjectName(name));
  return std::make_unique<const Reader>(*this, KeyOf(name), bytes);
}

absl::StatusOr<std::string> S3Store::Download(const std::string& key, const fs::path& to,
                                              const Patience& patience) const {
  Retries retries(timeout_, patience);
  std::ofstream file;
  std::optional<Sha256> hash;
  uint64_t received = 0;
  std::string etag;
  const auto start_over = [&] {
    file.close();
    file.open(to, std::ios::binary | std::ios::trunc);
    hash.emplace();
    received = 0;
  };
  start_over();
  for (int mismatches = 0;;) {
    S3Request request{.method = "GET", .key = key};
    if (received > 0) {
      request.headers = {absl::StrCat("Range: bytes=", received, "-"), "If-Match: " + etag};
    }
    request.sink = [&, ranged = received > 0](const S3Answer& head, std::string_view piece) {
      if (received > 0 && ranged && head.status == 200) start_over();
      etag = head.Header("etag");
      hash->Update(piece);
      file.write(piece.data(), static_cast<std::streamsize>(piece.size()));
      received += piece.size();
      return file.good();
    };
    const S3Answer answer = client_->Send(request, retries.left(), patience.given_up);
    file.flush();
    if (!file) return absl::UnavailableError("cannot write " + to.string());
    Hope hope = HopeOf(answer);
    if (answer.ok()) {
      const std::string sha256 = hash->Hex();
      if (sha256 == answer.Header(kSha256Header)) return sha256;
      if (++mismatches == kMaxMismatches || answer.Header(kSha256Header).empty()) {
        return MakeError(Reason::SEGMENT_CORRUPT,
                         absl::StrCat("object ", key, " does not match its checksum"),
                         {{"object", key}});
      }
      start_over();
      hope = Hope::kInTime;
    } else if (answer.error.empty() && (answer.status == 412 || answer.status == 416)) {
      start_over();
      hope = Hope::kInTime;
    }
    if (!retries.Pause(hope)) {
      absl::Status error = ErrorOf(request, answer);
      if (!patience.given_up.stop_requested() || absl::IsNotFound(error)) return error;
      return absl::CancelledError(error.message());
    }
  }
}

absl::Status S3Store::Delete(std::string_view name) const {
  SLUICE_RETURN_IF_ERROR(CheckObjectName(name));
  const S3Request request{.method = "DELETE", .key = KeyOf(name)};
  const S3Answer answer = Send(request, timeout_);
  if (!answer.ok()) {
    absl::Status error = ErrorOf(request, answer);
    if (!absl::IsNotFound(error)) return error;
  }
  cache_->Remove(name);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> S3Store::List(std::string_view prefix) const {
  if (!prefix.empty()) SLUICE_RETURN_IF_ERROR(CheckObjectName(prefix));
  S3Request request{
      .method = "GET",
      .query = {{"list-type", "2"}, {"prefix", KeyOf(prefix) + (prefix.empty() ? "" : "/")}}};
  std::vector<std::string> names;
  while (true) {
    const S3Answer answer = Send(request, timeout_);
    if (!answer.ok()) return absl::UnavailableError(ErrorOf(request, answer).message());
    for (size_t from = 0; const auto key = Element(answer.body, "Key", &from);) {
      names.push_back(key->substr(std::min(key->size(), prefix_.size())));
    }
    const std::string next = Element(answer.body, "NextContinuationToken").value_or("");
    if (Element(answer.body, "IsTruncated").value_or("") != "true" || next.empty()) break;
    request.query["continuation-token"] = next;
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace sluice

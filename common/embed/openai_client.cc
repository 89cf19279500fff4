#include "common/embed/openai_client.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/embed/token.h"

namespace sluice::embed {
namespace {

using nlohmann::json;

// What the API's reference states for one request.
constexpr ServerLimits kLimits{.max_texts = 2'048, .max_tokens = 300'000};

Answer Failed(Fault fault, std::string_view words,
              std::optional<std::chrono::milliseconds> retry_after = std::nullopt) {
  return {.vectors = {}, .failure = MakeFailure(fault, words, retry_after)};
}

Fault FaultOf(long status) {
  switch (status) {
    case 429:
      return Fault::kOverloaded;
    case 400:  // Also a batch that is too large: it is halved like a refused one.
    case 413:
    case 422:
      return Fault::kRefused;
    case 401:
    case 403:
    case 408:
    case 502:
    case 503:
    case 504:
      return Fault::kUnreachable;
    case 424:  // text-embeddings-inference: the backend failed.
      return Fault::kIll;
    default:
      // Redirects, unknown paths and models; else the server's own failure.
      return status >= 300 && status < 500 ? Fault::kMisfit : Fault::kIll;
  }
}

// {"error": {"message": ...}}, {"error": "..."}, {"message": ...}; else the body as it is.
std::string WordsOf(const HttpReply& reply) {
  const json body = json::parse(reply.body, nullptr, /*allow_exceptions=*/false);
  std::string words = reply.body.substr(0, kMaxWordsBytes);
  if (body.is_object()) {
    const json& error = body.contains("error") ? body["error"] : body;
    if (error.is_string()) words = error.get<std::string>();
    if (error.is_object() && error.contains("message") && error["message"].is_string()) {
      words = error["message"].get<std::string>();
    }
  }
  return absl::StrCat("HTTP ", reply.status, ": ", words);
}

// False: neither base64 of floats nor a list of numbers.
bool ReadVector(const json& embedding, std::vector<float>* vector) {
  if (embedding.is_string()) {
    std::string bytes;
    if (!absl::Base64Unescape(embedding.get_ref<const std::string&>(), &bytes)) return false;
    if (bytes.size() % sizeof(float) != 0) return false;
    vector->resize(bytes.size() / sizeof(float));
    std::memcpy(vector->data(), bytes.data(), bytes.size());
    return true;
  }
  if (!embedding.is_array()) return false;
  vector->reserve(embedding.size());
  for (const json& component : embedding) {
    if (!component.is_number()) return false;
    vector->push_back(component.get<float>());
  }
  return true;
}

class OpenAiClient final : public Client {
 public:
  OpenAiClient(const std::string& base_url, const EmbedderSettings& settings)
      : url_(absl::StrCat(absl::StripSuffix(base_url, "/"), "/embeddings")),
        ca_file_(settings.ca_file),
        token_(settings) {}

  void Embed(const Call& call, Done done) override {
    const absl::StatusOr<std::string> token = token_.Header();
    if (!token.ok()) {
      const absl::string_view words = token.status().message();
      return done(Failed(Fault::kUnreachable, {words.data(), words.size()}));
    }
    HttpRequest request{.url = url_,
                        .headers = {"Content-Type: application/json", "Accept: application/json"},
                        .body = OpenAiRequest(call),
                        .deadline = call.deadline,
                        .ca_file = ca_file_};
    if (!token->empty()) request.headers.push_back(absl::StrCat("Authorization: ", *token));
    poster_.Post(std::move(request), [call, done = std::move(done)](const HttpReply& reply) {
      done(OpenAiAnswer(call, reply));
    });
  }

  void Describe(std::chrono::milliseconds, Described done) override { done(std::nullopt, kLimits); }

 private:
  const std::string url_;
  const std::string ca_file_;
  const Token token_;
  // Last: its thread uses the rest.
  HttpPoster poster_;
};

}  // namespace

std::string OpenAiRequest(const Call& call) {
  json request{{"input", call.texts}, {"encoding_format", "base64"}};
  if (!call.model.empty()) request["model"] = call.model;
  return request.dump(-1, ' ', false, json::error_handler_t::replace);
}

Answer OpenAiAnswer(const Call& call, const HttpReply& reply) {
  if (!reply.error.empty()) return Failed(Fault::kUnreachable, reply.error);
  if (reply.status != 200) return Failed(FaultOf(reply.status), WordsOf(reply), reply.retry_after);
  const json body = json::parse(reply.body, nullptr, /*allow_exceptions=*/false);
  if (!body.is_object() || !body.contains("data") || !body["data"].is_array()) {
    return Failed(Fault::kIll, "the answer is not a list of embeddings");
  }
  const json& data = body["data"];
  if (data.size() != call.texts.size()) {
    return Failed(Fault::kIll,
                  absl::StrCat(data.size(), " vectors for ", call.texts.size(), " texts"));
  }
  Vectors vectors(data.size());
  for (const json& entry : data) {
    const bool has_index =
        entry.is_object() && entry.contains("index") && entry["index"].is_number_unsigned();
    const size_t index = has_index ? entry["index"].get<size_t>() : vectors.size();
    if (index >= vectors.size() || !vectors[index].empty()) {
      return Failed(Fault::kIll, "the answer's indexes are not one for each text");
    }
    if (!entry.contains("embedding") || !ReadVector(entry["embedding"], &vectors[index])) {
      return Failed(Fault::kIll, absl::StrCat("embedding ", index, " cannot be read"));
    }
  }
  return Checked(call, std::move(vectors));
}

std::unique_ptr<Client> MakeOpenAiClient(const std::string& base_url,
                                         const EmbedderSettings& settings) {
  return std::make_unique<OpenAiClient>(base_url, settings);
}

}  // namespace sluice::embed

#include "common/embed/settings.h"

#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/errors/errors.h"

namespace sluice::embed {
namespace {

bool IsLoopback(absl::string_view endpoint) {
  if (absl::StartsWith(endpoint, "unix:")) return true;
  absl::ConsumePrefix(&endpoint, "http://");
  absl::ConsumePrefix(&endpoint, "dns:///");
  for (const absl::string_view host : {"127.0.0.1", "localhost", "[::1]"}) {
    absl::string_view rest = endpoint;
    if (absl::ConsumePrefix(&rest, host) && (rest.empty() || rest[0] == ':' || rest[0] == '/')) {
      return true;
    }
  }
  return false;
}

}  // namespace

void EmbedderSettings::Declare(server::Settings& settings, const std::string& prefix) {
  const auto name = [&](const char* setting) { return absl::StrCat(prefix, ".", setting); };
  settings.AddChoice(name("protocol"), &protocol, "tei", {"tei", "oip", "openai"},
                     "tei: text-embeddings-inference (gRPC); oip: Open Inference Protocol v2, as "
                     "Triton, KServe and "
                     "MLServer speak it (gRPC); openai: /v1/embeddings (HTTP)");
  settings.Add(
      name("endpoints"), &endpoints, "",
      "Servers of the same model, with commas between: HOST:PORT or a gRPC URI (dns:///NAME:PORT "
      "stands for "
      "all addresses of the name, in turn); for openai URLs that /embeddings is appended to, as in "
      "http://HOST:PORT/v1");
  settings.Add(name("tls"), &tls, false,
               "Whether gRPC endpoints are reached over TLS; URLs say it themselves");
  settings.Add(name("ca_file"), &ca_file, "",
               "PEM file of the authorities to trust; empty means the system's");
  settings.Add(name("token_file"), &token_file, "",
               "File that holds a bearer token, read for each call; sent to these endpoints alone, "
               "and only over TLS or "
               "to loopback");
  settings.Add(name("token_env"), &token_env, "",
               "Or: the environment variable that holds it (not one that begins with SLUICE_)");
  settings.Add(name("deadline_ms"), &deadline_ms, 30'000, 100, 600'000,
               "Longest that one call may take");
  settings.Add(name("max_texts"), &max_texts, 256, 1, 2'048,
               "Texts of one call, at most; less if the server says so");
  settings.Add(name("max_tokens"), &max_tokens, 16'384, 64, 1'000'000,
               "Tokens of one call, about, as a server that pads counts them (texts times the "
               "longest); less if the "
               "server says so. A text that is longer goes alone");
  settings.Add(
      name("max_in_flight"), &max_in_flight, 8, 1, 256,
      "Calls at once to each endpoint, at most; fewer while it says that it is overloaded");
  settings.Add(
      name("truncate"), &truncate, true,
      "tei: embed the beginning of a text that is too long for the model, instead of refusing it");
  settings.Add(name("input_tensor"), &input_tensor, "text",
               "oip: name of the input, of type BYTES");
  settings.Add(name("output_tensor"), &output_tensor, "embedding",
               "oip: name of the output, of type FP32 or FP64");
  settings.Add(name("raw_tensors"), &raw_tensors, false,
               "oip: send texts as raw contents instead of typed; answers are read in either form");
  settings.Add(name("column_tensors"), &column_tensors, false,
               "oip: send texts in the shape [n, 1] instead of [n], as Triton's batching wants it");
}

std::vector<std::string> EmbedderSettings::Endpoints() const {
  std::vector<std::string> found;
  for (const absl::string_view part : absl::StrSplit(endpoints, ',')) {
    const absl::string_view endpoint = absl::StripAsciiWhitespace(part);
    if (!endpoint.empty()) found.emplace_back(endpoint);
  }
  return found;
}

absl::Status EmbedderSettings::Check() const {
  const std::vector<std::string> all = Endpoints();
  if (all.empty()) return absl::InvalidArgumentError("endpoints: none is given");
  if (!token_file.empty() && !token_env.empty()) {
    return absl::InvalidArgumentError("token_file and token_env exclude each other");
  }
  if (!token_env.empty() && std::getenv(token_env.c_str()) == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("token_env: ", token_env, " is not in the environment"));
  }
  for (const std::string& endpoint : all) {
    const bool is_url =
        absl::StartsWith(endpoint, "http://") || absl::StartsWith(endpoint, "https://");
    if (is_url != (protocol == "openai")) {
      return absl::InvalidArgumentError(absl::StrCat(
          "endpoints: ", endpoint,
          protocol == "openai" ? " is not a URL" : " is a URL, not an address of gRPC"));
    }
    if (absl::StrContains(endpoint, '@')) {
      return absl::InvalidArgumentError("endpoints: a URL must not carry a password");
    }
    const bool encrypted = is_url ? absl::StartsWith(endpoint, "https://") : tls;
    if (!encrypted && !IsLoopback(endpoint) && !(token_file.empty() && token_env.empty())) {
      return absl::InvalidArgumentError(
          absl::StrCat("endpoints: ", endpoint, " would be sent the token in plain text: use TLS"));
    }
  }
  return absl::OkStatus();
}

}  // namespace sluice::embed

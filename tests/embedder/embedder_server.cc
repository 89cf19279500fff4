#include "tests/embedder/embedder_server.h"

#include <CivetServer.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/embed/hashing_embedder.h"
#include "inference/grpc_service.grpc.pb.h"
#include "tei/v1/tei.grpc.pb.h"

namespace sluice::testing {
namespace {

using Wrong = Behaviour::Wrong;
using nlohmann::json;
using IsGone = std::function<bool()>;

// What clients embed to see whether we are well.
constexpr char kProbe[] = "probe";

std::vector<float> VectorOf(const Behaviour& behaviour, const std::string& text) {
  std::vector<float> vector =
      HashingEmbedder(behaviour.dimension + (behaviour.wrong == Wrong::kDimension ? 1 : 0))
          .Embed(text);
  if (behaviour.wrong == Wrong::kNotFinite) vector[0] = std::nanf("");
  return vector;
}

bool Holds(const std::vector<std::string>& texts, const char* mark) {
  return std::any_of(texts.begin(), texts.end(),
                     [&](const std::string& t) { return absl::StrContains(t, mark); });
}

bool IsRefused(const Behaviour& behaviour, const std::string& text) {
  return absl::StrContains(text, kRefusedMark) ||
         (!behaviour.refuses.empty() && absl::StrContains(text, behaviour.refuses));
}

bool IsRefused(const Behaviour& behaviour, const std::vector<std::string>& texts) {
  return std::any_of(texts.begin(), texts.end(),
                     [&](const std::string& text) { return IsRefused(behaviour, text); });
}

std::string Bearer(const std::string& token) { return "Bearer " + token; }

bool MayCome(const Behaviour& behaviour, const grpc::ServerContext& context) {
  if (behaviour.token.empty()) return true;
  const auto found = context.client_metadata().find("authorization");
  return found != context.client_metadata().end() &&
         std::string(found->second.data(), found->second.size()) == Bearer(behaviour.token);
}

}  // namespace

// One call: counted, delayed, hung.
class EmbedderServer::Running {
 public:
  Running(EmbedderServer& server, bool is_probe) : server_(server) {
    const MutexLock lock(server.mutex_);
    behaviour_ = server.behaviour_;
    counted_ = !is_probe;
    if (!counted_) return;
    ++server.calls_;
    ++server.at_once_;
    server.most_at_once_ = std::max(server.most_at_once_, server.at_once_);
    is_too_much_ = behaviour_.calls_at_once != 0 && server.at_once_ > behaviour_.calls_at_once;
  }
  ~Running() {
    const MutexLock lock(server_.mutex_);
    if (counted_) --server_.at_once_;
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  const Behaviour& behaviour() const { return behaviour_; }
  bool IsOverloaded() const { return is_too_much_ || behaviour_.wrong == Wrong::kOverloaded; }

  // Spends the latency; for ever if this call hangs. False: the caller is gone, or we are stopping.
  bool Wait(const std::vector<std::string>& texts, const IsGone& is_gone) const {
    const bool hangs = behaviour_.wrong == Wrong::kHang || Holds(texts, kHangingMark);
    const auto until = std::chrono::steady_clock::now() + behaviour_.latency;
    while (hangs || std::chrono::steady_clock::now() < until) {
      if (is_gone() || IsStopping()) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }
  void Answered(const std::vector<std::string>& texts) const {
    const MutexLock lock(server_.mutex_);
    if (counted_) server_.embedded_.insert(server_.embedded_.end(), texts.begin(), texts.end());
  }

 private:
  bool IsStopping() const {
    const MutexLock lock(server_.mutex_);
    return server_.stopping_;
  }

  EmbedderServer& server_;
  Behaviour behaviour_;
  bool counted_ = false;
  bool is_too_much_ = false;
};

namespace {

grpc::Status Unauthenticated() { return {grpc::StatusCode::UNAUTHENTICATED, "Unauthorized"}; }

// As text-embeddings-inference and Triton say it.
grpc::Status ErrorBefore(const Behaviour& behaviour, bool is_overloaded) {
  if (is_overloaded) return {grpc::StatusCode::RESOURCE_EXHAUSTED, "Model is overloaded"};
  if (behaviour.wrong == Wrong::kUnavailable)
    return {grpc::StatusCode::UNAVAILABLE, "Model is not healthy"};
  if (behaviour.wrong == Wrong::kInternal)
    return {grpc::StatusCode::FAILED_PRECONDITION, "backend error"};
  return grpc::Status::OK;
}

}  // namespace

class TeiService final : public tei::v1::Info::Service, public tei::v1::Embed::Service {
 public:
  explicit TeiService(EmbedderServer& server) : server_(server) {}

  grpc::Status Info(grpc::ServerContext* context, const tei::v1::InfoRequest*,
                    tei::v1::InfoResponse* response) override {
    const Behaviour behaviour = server_.behaviour();
    if (!MayCome(behaviour, *context)) return Unauthenticated();
    if (behaviour.wrong == Wrong::kUnavailable) return ErrorBefore(behaviour, false);
    response->set_model_id(behaviour.model);
    response->set_max_concurrent_requests(behaviour.max_concurrent_requests);
    response->set_max_batch_tokens(behaviour.max_batch_tokens);
    return grpc::Status::OK;
  }

  grpc::Status EmbedStream(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<tei::v1::EmbedResponse, tei::v1::EmbedRequest>* stream) override {
    std::vector<std::string> texts;
    tei::v1::EmbedRequest request;
    while (stream->Read(&request)) texts.push_back(request.inputs());
    const EmbedderServer::Running running(server_, texts == std::vector<std::string>{kProbe});
    const Behaviour& behaviour = running.behaviour();
    if (!MayCome(behaviour, *context)) return Unauthenticated();
    if (grpc::Status error = ErrorBefore(behaviour, running.IsOverloaded()); !error.ok())
      return error;
    if (!running.Wait(texts, [&] { return context->IsCancelled(); }))
      return grpc::Status::CANCELLED;
    if (Holds(texts, kFailingMark)) return {grpc::StatusCode::FAILED_PRECONDITION, "backend error"};
    if (behaviour.wrong == Wrong::kFewer) texts.pop_back();
    if (behaviour.wrong == Wrong::kMore) texts.push_back("one more");
    for (size_t i = 0; i < texts.size(); ++i) {
      if (behaviour.wrong == Wrong::kAbort && i >= texts.size() / 2) {
        return {grpc::StatusCode::UNAVAILABLE, "Socket closed"};
      }
      if (IsRefused(behaviour, texts[i])) {
        return {grpc::StatusCode::INVALID_ARGUMENT, "`inputs` must not be like this"};
      }
      tei::v1::EmbedResponse response;
      const std::vector<float> vector = VectorOf(behaviour, texts[i]);
      response.mutable_embeddings()->Assign(vector.begin(), vector.end());
      if (!stream->Write(response)) return grpc::Status::CANCELLED;
      running.Answered({texts[i]});
    }
    return grpc::Status::OK;
  }

 private:
  EmbedderServer& server_;
};

class OipService final : public inference::GRPCInferenceService::Service {
 public:
  explicit OipService(EmbedderServer& server) : server_(server) {}

  grpc::Status ModelInfer(grpc::ServerContext* context, const inference::ModelInferRequest* request,
                          inference::ModelInferResponse* response) override {
    const std::vector<std::string> texts = TextsOf(*request);
    const EmbedderServer::Running running(server_, texts == std::vector<std::string>{kProbe});
    const Behaviour& behaviour = running.behaviour();
    if (!MayCome(behaviour, *context)) return Unauthenticated();
    if (request->model_name() != behaviour.model) {
      return {grpc::StatusCode::NOT_FOUND,
              absl::StrCat("Model ", request->model_name(), " not found")};
    }
    if (request->inputs_size() != 1 || request->inputs(0).name() != "text") {
      return {grpc::StatusCode::INVALID_ARGUMENT, "unexpected inference input"};
    }
    if (running.IsOverloaded())
      return {grpc::StatusCode::UNAVAILABLE, "Exceeds maximum queue size"};
    if (grpc::Status error = ErrorBefore(behaviour, false); !error.ok()) return error;
    if (!running.Wait(texts, [&] { return context->IsCancelled(); }))
      return grpc::Status::CANCELLED;
    if (behaviour.wrong == Wrong::kAbort) return {grpc::StatusCode::UNAVAILABLE, "Socket closed"};
    if (Holds(texts, kFailingMark)) return {grpc::StatusCode::INTERNAL, "out of memory"};
    if (IsRefused(behaviour, texts)) return {grpc::StatusCode::INVALID_ARGUMENT, "not like this"};
    Fill(behaviour, texts, response);
    running.Answered(texts);
    return grpc::Status::OK;
  }

 private:
  static std::vector<std::string> TextsOf(const inference::ModelInferRequest& request) {
    std::vector<std::string> texts;
    if (request.inputs_size() == 1) {
      const auto& typed = request.inputs(0).contents().bytes_contents();
      texts.assign(typed.begin(), typed.end());
    }
    if (request.raw_input_contents_size() != 1) return texts;
    const std::string& raw = request.raw_input_contents(0);
    for (size_t at = 0; at + 4 <= raw.size();) {
      uint32_t size = 0;
      std::memcpy(&size, raw.data() + at, 4);
      texts.push_back(raw.substr(at + 4, size));
      at += 4 + size;
    }
    return texts;
  }

  static void Fill(const Behaviour& behaviour, std::vector<std::string> texts,
                   inference::ModelInferResponse* response) {
    const auto asked = static_cast<int64_t>(texts.size());
    if (behaviour.wrong == Wrong::kFewer) texts.pop_back();
    if (behaviour.wrong == Wrong::kMore) texts.push_back("one more");
    auto& output = *response->add_outputs();
    output.set_name("embedding");
    output.set_datatype("FP32");
    // With garbage, the shape promises more than there is.
    const auto rows = static_cast<int64_t>(texts.size());
    output.add_shape(behaviour.wrong == Wrong::kGarbage ? asked : rows);
    output.add_shape(behaviour.dimension + (behaviour.wrong == Wrong::kDimension ? 1 : 0));
    if (behaviour.wrong == Wrong::kGarbage) return;
    std::string raw;
    for (const std::string& text : texts) {
      const std::vector<float> vector = VectorOf(behaviour, text);
      if (behaviour.other_form) {
        raw.append(reinterpret_cast<const char*>(vector.data()), vector.size() * sizeof(float));
      } else {
        output.mutable_contents()->mutable_fp32_contents()->Add(vector.begin(), vector.end());
      }
    }
    if (behaviour.other_form) response->add_raw_output_contents(raw);
  }

  EmbedderServer& server_;
};

class OpenAiHandler final : public CivetHandler {
 public:
  explicit OpenAiHandler(EmbedderServer& server) : server_(server) {}

  bool handlePost(CivetServer*, mg_connection* connection) override {
    const json request = json::parse(BodyOf(connection));
    const auto texts = request["input"].get<std::vector<std::string>>();
    const EmbedderServer::Running running(server_, texts == std::vector<std::string>{kProbe});
    const Behaviour& behaviour = running.behaviour();
    const char* const token = mg_get_header(connection, "Authorization");
    if (!behaviour.token.empty() && (token == nullptr || token != Bearer(behaviour.token))) {
      return Error(connection, 401, "Incorrect API key provided");
    }
    if (request.value("model", behaviour.model) != behaviour.model) {
      return Error(connection, 404, "The model does not exist");
    }
    if (running.IsOverloaded())
      return Error(connection, 429, "Rate limit reached", "Retry-After: 1\r\n");
    if (behaviour.wrong == Wrong::kUnavailable)
      return Error(connection, 503, "The server is overloaded");
    if (behaviour.wrong == Wrong::kInternal)
      return Error(connection, 500, "The server had an error");
    if (!running.Wait(texts, [] { return false; })) return true;
    if (Holds(texts, kFailingMark)) return Error(connection, 500, "out of memory");
    if (IsRefused(behaviour, texts)) return Error(connection, 400, "'input' must not be like this");
    std::string answer = AnswerOf(behaviour, texts);
    const size_t length = answer.size();
    // Cut off in the middle, or not of this world.
    if (behaviour.wrong == Wrong::kAbort) answer.resize(answer.size() / 2);
    if (behaviour.wrong == Wrong::kGarbage) std::fill(answer.begin(), answer.end(), '}');
    running.Answered(texts);
    return Reply(connection, 200, answer, length);
  }

 private:
  static std::string BodyOf(mg_connection* connection) {
    std::string body;
    char buffer[4096];
    for (int n = 0; (n = mg_read(connection, buffer, sizeof(buffer))) > 0;) body.append(buffer, n);
    return body;
  }
  static std::string AnswerOf(const Behaviour& behaviour, const std::vector<std::string>& texts) {
    json data = json::array();
    for (size_t i = 0; i < texts.size(); ++i) {
      const std::vector<float> vector = VectorOf(behaviour, texts[i]);
      json entry{{"object", "embedding"}, {"index", i}};
      if (behaviour.other_form) {
        entry["embedding"] = vector;
        data.insert(data.begin(), entry);
      } else {
        entry["embedding"] = absl::Base64Escape(
            {reinterpret_cast<const char*>(vector.data()), vector.size() * sizeof(float)});
        data.push_back(entry);
      }
    }
    if (behaviour.wrong == Wrong::kFewer) data.erase(data.begin());
    if (behaviour.wrong == Wrong::kMore) data.push_back(data[0]);
    return json{{"object", "list"}, {"data", data}, {"model", behaviour.model}}.dump();
  }
  static bool Error(mg_connection* connection, int status, const char* message,
                    const char* headers = "") {
    const std::string body = json{{"error", {{"message", message}, {"code", status}}}}.dump();
    return Reply(connection, status, body, body.size(), headers);
  }
  static bool Reply(mg_connection* connection, int status, const std::string& body, size_t length,
                    const char* headers = "") {
    mg_printf(
        connection,
        "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%sConnection: "
        "close\r\n\r\n",
        status, mg_get_response_code_text(connection, status), length, headers);
    mg_write(connection, body.data(), body.size());
    return true;
  }

  EmbedderServer& server_;
};

struct EmbedderServer::Services {
  explicit Services(EmbedderServer& server) : tei(server), oip(server), openai(server) {}
  TeiService tei;
  OipService oip;
  OpenAiHandler openai;
};

EmbedderServer::EmbedderServer(Behaviour behaviour, const TlsFiles* tls, int grpc_port,
                               int http_port)
    : behaviour_(std::move(behaviour)), services_(std::make_unique<Services>(*this)) {
  grpc::ServerBuilder builder;
  std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials();
  if (tls != nullptr) {
    grpc::SslServerCredentialsOptions options;
    options.pem_key_cert_pairs.push_back({tls->key, tls->certificate});
    credentials = grpc::SslServerCredentials(options);
  }
  builder.AddListeningPort(absl::StrCat("127.0.0.1:", grpc_port), credentials, &grpc_port_);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.RegisterService(static_cast<tei::v1::Info::Service*>(&services_->tei));
  builder.RegisterService(static_cast<tei::v1::Embed::Service*>(&services_->tei));
  builder.RegisterService(&services_->oip);
  grpc_ = builder.BuildAndStart();
  SLUICE_CHECK(grpc_ != nullptr);
  http_ = std::make_unique<CivetServer>(std::vector<std::string>{
      "listening_ports", absl::StrCat("127.0.0.1:", http_port), "num_threads", "16"});
  http_->addHandler("/v1/embeddings", services_->openai);
  http_port_ = http_->getListeningPorts().at(0);
}

EmbedderServer::~EmbedderServer() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  grpc_->Shutdown(std::chrono::system_clock::now());
  // civetweb looks whether it is to stop only every 2 s, or when somebody connects.
  const std::jthread waker([port = http_port_](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      char error[100];
      mg_connection* const connection =
          mg_connect_client("127.0.0.1", port, 0, error, sizeof(error));
      if (connection != nullptr) mg_close_connection(connection);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
  http_.reset();
}

std::string EmbedderServer::grpc_address() const { return absl::StrCat("127.0.0.1:", grpc_port_); }
std::string EmbedderServer::url() const {
  return absl::StrCat("http://127.0.0.1:", http_port_, "/v1");
}

void EmbedderServer::Set(Behaviour behaviour) {
  const MutexLock lock(mutex_);
  behaviour_ = std::move(behaviour);
}
Behaviour EmbedderServer::behaviour() const {
  const MutexLock lock(mutex_);
  return behaviour_;
}
std::vector<std::string> EmbedderServer::embedded() const {
  const MutexLock lock(mutex_);
  return embedded_;
}
uint64_t EmbedderServer::calls() const {
  const MutexLock lock(mutex_);
  return calls_;
}
uint64_t EmbedderServer::most_at_once() const {
  const MutexLock lock(mutex_);
  return most_at_once_;
}

}  // namespace sluice::testing

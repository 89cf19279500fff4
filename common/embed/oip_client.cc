#include "common/embed/oip_client.h"

#include <grpcpp/support/client_callback.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/coding.h"
#include "common/embed/grpc_calls.h"
#include "inference/grpc_service.grpc.pb.h"

namespace sluice::embed {
namespace {

using inference::ModelInferRequest;
using inference::ModelInferResponse;
static_assert(std::endian::native == std::endian::little);

Answer Ill(std::string_view words) {
  return {.vectors = {}, .failure = MakeFailure(Fault::kIll, words)};
}

ModelInferRequest RequestOf(const Call& call, const EmbedderSettings& settings) {
  ModelInferRequest request;
  request.set_model_name(call.model);
  ModelInferRequest::InferInputTensor& input = *request.add_inputs();
  input.set_name(settings.input_tensor);
  input.set_datatype("BYTES");
  input.add_shape(static_cast<int64_t>(call.texts.size()));
  if (settings.column_tensors) input.add_shape(1);
  request.add_outputs()->set_name(settings.output_tensor);
  if (!settings.raw_tensors) {
    for (const std::string& text : call.texts) input.mutable_contents()->add_bytes_contents(text);
    return request;
  }
  std::string& raw = *request.add_raw_input_contents();
  for (const std::string& text : call.texts) {
    const auto size = static_cast<uint32_t>(text.size());
    raw.append(reinterpret_cast<const char*>(&size), sizeof(size));
    raw += text;
  }
  return request;
}

template <typename Number>
std::vector<float> NumbersOf(std::string_view bytes) {
  std::vector<Number> numbers(bytes.size() / sizeof(Number));
  std::memcpy(numbers.data(), bytes.data(), numbers.size() * sizeof(Number));
  return {numbers.begin(), numbers.end()};
}

// All components, one vector after the other; empty if the answer has none that can be read.
std::vector<float> ComponentsOf(const ModelInferResponse& response, int at) {
  const ModelInferResponse::InferOutputTensor& tensor = response.outputs(at);
  if (response.raw_output_contents_size() > at) {
    const std::string& raw = response.raw_output_contents(at);
    if (tensor.datatype() == "FP32") return NumbersOf<float>(raw);
    if (tensor.datatype() == "FP64") return NumbersOf<double>(raw);
    return {};
  }
  if (tensor.datatype() == "FP32") {
    return {tensor.contents().fp32_contents().begin(), tensor.contents().fp32_contents().end()};
  }
  return {tensor.contents().fp64_contents().begin(), tensor.contents().fp64_contents().end()};
}

Answer AnswerOf(const Call& call, const EmbedderSettings& settings,
                const ModelInferResponse& response) {
  int at = 0;
  while (at < response.outputs_size() && response.outputs(at).name() != settings.output_tensor)
    ++at;
  if (at == response.outputs_size()) {
    return Ill(absl::StrCat("the answer has no output ", settings.output_tensor));
  }
  const auto& shape = response.outputs(at).shape();
  const auto texts = static_cast<int64_t>(call.texts.size());
  // Some servers leave ones in: [n, 1, d].
  int64_t dimension = 1;
  for (int i = 1; i < shape.size(); ++i) {
    if (shape[i] <= 0 || shape[i] > 1 << 20 || dimension > 1 << 20)
      return Ill("the answer's shape is out of range");
    dimension *= shape[i];
  }
  if (shape.size() < 2) return Ill("the answer's shape is not [n, dimension]");
  if (shape[0] != texts) return Ill(absl::StrCat(shape[0], " vectors for ", texts, " texts"));
  const std::vector<float> components = ComponentsOf(response, at);
  if (static_cast<int64_t>(components.size()) != texts * dimension) {
    return Ill(absl::StrCat("the answer has ", components.size(), " components of type ",
                            response.outputs(at).datatype(), ", its shape says ",
                            texts * dimension));
  }
  Vectors vectors;
  vectors.reserve(call.texts.size());
  for (int64_t i = 0; i < texts; ++i) {
    vectors.emplace_back(components.begin() + i * dimension,
                         components.begin() + (i + 1) * dimension);
  }
  return Checked(call, std::move(vectors));
}

class InferReactor final : public grpc::ClientUnaryReactor {
 public:
  InferReactor(RunningCalls& calls, const EmbedderSettings& settings, const Call& call, Done done)
      : calls_(calls), settings_(settings), call_(call), done_(std::move(done)) {}

  void Start(inference::GRPCInferenceService::Stub& stub) {
    request_ = RequestOf(call_, settings_);
    stub.async()->ModelInfer(&context, &request_, &response_, this);
    StartCall();
  }
  void OnDone(const grpc::Status& status) override {
    RunningCalls& calls = calls_;
    done_(status.ok() ? AnswerOf(call_, settings_, response_)
                      : Answer{.vectors = {}, .failure = FailureOf(status, context)});
    calls.Forget(&context);
    delete this;
    calls.End();
  }

  grpc::ClientContext context;

 private:
  RunningCalls& calls_;
  const EmbedderSettings& settings_;
  const Call call_;
  const Done done_;
  ModelInferRequest request_;
  ModelInferResponse response_;
};

class OipClient final : public Client {
 public:
  OipClient(const std::shared_ptr<grpc::Channel>& channel, const EmbedderSettings& settings)
      : channel_(channel), stub_(channel), settings_(settings), token_(settings) {}
  ~OipClient() override { calls_.CancelAndWait(); }

  void Embed(const Call& call, Done done) override {
    auto reactor = std::make_unique<InferReactor>(calls_, settings_, call, done);
    std::optional<Failure> failure = Prepare(call.deadline, token_, &reactor->context);
    if (!failure && !calls_.Begin(&reactor->context)) {
      failure = MakeFailure(Fault::kUnreachable, "stopping");
    }
    if (failure) return done({.vectors = {}, .failure = std::move(failure)});
    reactor.release()->Start(stub_);
  }

  // The protocol states no limits.
  void Describe(std::chrono::milliseconds, Described done) override { done(std::nullopt, {}); }

 private:
  const std::shared_ptr<grpc::Channel> channel_;
  inference::GRPCInferenceService::Stub stub_;
  const EmbedderSettings settings_;
  const Token token_;
  RunningCalls calls_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> MakeOipClient(const std::string& endpoint,
                                                      const EmbedderSettings& settings) {
  absl::StatusOr<std::shared_ptr<grpc::Channel>> channel = ConnectTo(endpoint, settings);
  if (!channel.ok()) return std::move(channel).status();
  return std::make_unique<OipClient>(*channel, settings);
}

}  // namespace sluice::embed

#include "tools/bench/gpu.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <sys/prctl.h>

#include <algorithm>
#include <functional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "tei/v1/tei.grpc.pb.h"

namespace sluice::bench {
namespace {

constexpr uint64_t kBatchTokens = 16'384;
constexpr std::chrono::duration<double> kBatchTime = std::chrono::milliseconds(20);
constexpr uint32_t kMaxTexts = 512;
// English, about.
constexpr size_t kBytesAToken = 4;

uint64_t PaddedTokens(const std::vector<std::string>& texts) {
  size_t longest = 0;
  for (const std::string& text : texts) longest = std::max(longest, text.size() / kBytesAToken + 2);
  return longest * texts.size();
}

}  // namespace

double SimulatedGpu::Work::fill() const {
  return static_cast<double>(tokens) / static_cast<double>(batches * kBatchTokens);
}

class SimulatedGpu::Service final : public tei::v1::Info::Service, public tei::v1::Embed::Service {
 public:
  explicit Service(SimulatedGpu& gpu) : gpu_(gpu) {}

  grpc::Status Info(grpc::ServerContext*, const tei::v1::InfoRequest*,
                    tei::v1::InfoResponse* response) override {
    response->set_model_id("simulated");
    response->set_max_concurrent_requests(kMaxTexts);
    response->set_max_batch_tokens(kBatchTokens);
    return grpc::Status::OK;
  }

  grpc::Status EmbedStream(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<tei::v1::EmbedResponse, tei::v1::EmbedRequest>* stream) override {
    std::vector<std::string> texts;
    for (tei::v1::EmbedRequest request; stream->Read(&request);) {
      texts.push_back(std::move(*request.mutable_inputs()));
    }
    // What clients look with whether a server is well is no work.
    if (texts != std::vector<std::string>{"probe"}) gpu_.Run(texts);
    tei::v1::EmbedResponse response;
    for (size_t i = 0; i < texts.size(); ++i) {
      const std::vector<float> vector = gpu_.vectors_.At(std::hash<std::string>()(texts[i]));
      response.mutable_embeddings()->Assign(vector.begin(), vector.end());
      if (!stream->Write(response)) return grpc::Status::CANCELLED;
    }
    return grpc::Status::OK;
  }

 private:
  SimulatedGpu& gpu_;
};

SimulatedGpu::SimulatedGpu(uint32_t dimension)
    : vectors_(dimension), service_(std::make_unique<Service>(*this)) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(static_cast<tei::v1::Info::Service*>(service_.get()));
  builder.RegisterService(static_cast<tei::v1::Embed::Service*>(service_.get()));
  server_ = builder.BuildAndStart();
  SLUICE_CHECK(server_ != nullptr);
}

SimulatedGpu::~SimulatedGpu() { server_->Shutdown(); }

std::string SimulatedGpu::address() const { return absl::StrCat("127.0.0.1:", port_); }

void SimulatedGpu::Run(const std::vector<std::string>& texts) {
  const uint64_t tokens = PaddedTokens(texts);
  const std::chrono::duration<double> takes =
      kBatchTime * std::max(1.0, static_cast<double>(tokens) / static_cast<double>(kBatchTokens));
  Clock::time_point done;
  {
    const std::lock_guard lock(mutex_);
    const Clock::time_point start = std::max(Clock::now(), free_at_);
    done = free_at_ = start + std::chrono::duration_cast<Clock::duration>(takes);
    if (work_.batches++ == 0) first_start_ = start;
    work_.texts += texts.size();
    work_.tokens += tokens;
    work_.busy_seconds += takes.count();
    work_.seconds = std::chrono::duration<double>(done - first_start_).count();
  }
  prctl(PR_SET_TIMERSLACK, 1);
  std::this_thread::sleep_until(done);
}

SimulatedGpu::Work SimulatedGpu::TakeWork() {
  const std::lock_guard lock(mutex_);
  return std::exchange(work_, {});
}

}  // namespace sluice::bench

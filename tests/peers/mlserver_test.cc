// The client of the Open Inference Protocol against a server that we did not write: MLServer, with
// a model of ours in it. `tools/dev test --peers` installs it; where it is not, this is skipped.
#include <arpa/inet.h>
#include <grpcpp/channel.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/embed/embedder.h"

namespace sluice {
namespace {

using embed::Answer;
using embed::Fault;
using namespace std::chrono_literals;

constexpr size_t kDimension = 16;

// As the model does it (mlserver_model/embedding.py).
std::vector<float> VectorOf(const std::string& text) {
  std::vector<float> vector(kDimension);
  for (const char c : text) ++vector[static_cast<unsigned char>(c) % kDimension];
  return vector;
}

// Three ports that nobody listens on.
std::array<int, 3> FreePorts() {
  std::array<int, 3> sockets{};
  std::array<int, 3> ports{};
  for (size_t i = 0; i < ports.size(); ++i) {
    sockets[i] = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    SLUICE_CHECK(bind(sockets[i], reinterpret_cast<sockaddr*>(&address), length) == 0);
    SLUICE_CHECK(getsockname(sockets[i], reinterpret_cast<sockaddr*>(&address), &length) == 0);
    ports[i] = ntohs(address.sin_port);
  }
  for (const int fd : sockets) close(fd);
  return ports;
}

class MlServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::filesystem::path program = SLUICE_PEERS_VENV "/bin/mlserver";
    if (!std::filesystem::exists(program)) {
      GTEST_SKIP() << "MLServer is not installed: tools/dev test --peers does that";
    }
    const auto [grpc, http, metrics] = FreePorts();
    address_ = absl::StrCat("127.0.0.1:", grpc);
    std::vector<std::string> settings = {"MLSERVER_HOST=127.0.0.1",
                                         absl::StrCat("MLSERVER_GRPC_PORT=", grpc),
                                         absl::StrCat("MLSERVER_HTTP_PORT=", http),
                                         absl::StrCat("MLSERVER_METRICS_PORT=", metrics),
                                         "MLSERVER_PARALLEL_WORKERS=0",
                                         "PYTHONDONTWRITEBYTECODE=1",
                                         absl::StrCat("PATH=", std::getenv("PATH"))};
    std::vector<char*> environment;
    for (std::string& setting : settings) environment.push_back(setting.data());
    environment.push_back(nullptr);
    std::string name = program;
    std::string start = "start";
    std::string folder = SLUICE_SOURCE_DIR "/tests/peers/mlserver_model";
    char* arguments[] = {name.data(), start.data(), folder.data(), nullptr};
    ASSERT_EQ(posix_spawn(&pid_, name.c_str(), nullptr, nullptr, arguments, environment.data()), 0);
    const auto channel = grpc::CreateChannel(address_, grpc::InsecureChannelCredentials());
    ASSERT_TRUE(channel->WaitForConnected(std::chrono::system_clock::now() + 120s));
  }
  void TearDown() override {
    embedder_.reset();
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  Answer Embed(const std::vector<std::string>& texts, const std::string& model = "embedding",
               bool raw = false, bool column = false) {
    embed::EmbedderSettings settings;
    server::Settings declared;
    settings.Declare(declared, "compactor.embedders.x");
    settings.protocol = "oip";
    settings.endpoints = address_;
    settings.raw_tensors = raw;
    settings.column_tensors = column;
    auto embedder = embed::Embedder::Create(settings);
    SLUICE_CHECK(embedder.ok());
    embedder_ = *std::move(embedder);
    std::promise<Answer> answer;
    embedder_->Embed({.model = model, .dimension = kDimension, .texts = texts},
                     [&](Answer a) { answer.set_value(std::move(a)); });
    return answer.get_future().get();
  }
  static void ExpectVectorsOf(const std::vector<std::string>& texts, const Answer& answer) {
    ASSERT_FALSE(answer.failure) << answer.failure->words;
    ASSERT_EQ(answer.vectors.size(), texts.size());
    for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(answer.vectors[i], VectorOf(texts[i]));
  }

  pid_t pid_ = -1;
  std::string address_;
  std::unique_ptr<embed::Embedder> embedder_;
};

TEST_F(MlServerTest, EmbedsInEveryFormAndSaysWhatItDoesNotTake) {
  const std::vector<std::string> texts = {"one", "two words", "drei W\xc3\xb6rter"};
  for (const bool raw : {false, true}) {
    for (const bool column : {false, true}) {
      SCOPED_TRACE(absl::StrCat("raw ", raw, ", column ", column));
      ExpectVectorsOf(texts, Embed(texts, "embedding", raw, column));
    }
  }
  const Answer unknown = Embed({"one"}, "another");
  ASSERT_TRUE(unknown.failure);
  EXPECT_EQ(unknown.failure->fault, Fault::kMisfit) << unknown.failure->words;
  const Answer refused = Embed({"one", "[refused]"});
  ASSERT_TRUE(refused.failure);
  EXPECT_EQ(refused.failure->fault, Fault::kRefused) << refused.failure->words;
}

}  // namespace
}  // namespace sluice

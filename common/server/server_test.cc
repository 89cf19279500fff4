#include "common/server/server.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <prometheus/counter.h>

#include <fstream>
#include <functional>
#include <future>
#include <sstream>
#include <thread>

#include "common/base/mutex.h"
#include "common/errors/errors.h"
#include "common/record/limits.h"
#include "common/server/fetch_for_test.h"
#include "sluice/v1/catalog.grpc.pb.h"
#include "sluice/v1/info.grpc.pb.h"

namespace sluice::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

// Notes what happens to it, in order, in `history`; answers GetCollection, after a gate has opened
// if there is one.
class Toy : public Component, public v1::CatalogService::CallbackService {
 public:
  Toy(std::string name, std::vector<std::string>* history)
      : name_(std::move(name)), history_(history) {}

  void Register(grpc::ServerBuilder& builder) override {
    if (serves) builder.RegisterService(this);
  }
  absl::Status Start(const std::shared_ptr<grpc::Channel>& self) override {
    history_->push_back(name_ + " start");
    EXPECT_NE(self, nullptr);
    return start_result;
  }
  absl::Status Ready() const override {
    MutexLock lock(mutex_);
    return ready_;
  }
  absl::Status Alive() const override {
    return alive ? absl::OkStatus() : absl::InternalError(name_ + " is stuck");
  }
  void BeginDrain() override { history_->push_back(name_ + " begin"); }
  void FinishDrain(std::chrono::steady_clock::time_point deadline) override {
    EXPECT_GT(deadline, std::chrono::steady_clock::now());
    history_->push_back(name_ + " finish");
    if (on_finish) on_finish();
    if (releases_calls) ReleaseCall();
  }

  // Answers DRAINING: at once, or when released, or when the server cuts the call off.
  grpc::ServerUnaryReactor* GetCollection(grpc::CallbackServerContext* context,
                                          const v1::GetCollectionRequest*,
                                          v1::GetCollectionResponse*) override {
    struct Call : grpc::ServerUnaryReactor {
      explicit Call(Toy* t) : toy(t) {}
      void OnCancel() override { toy->ReleaseCall(); }
      void OnDone() override { delete this; }
      Toy* toy;
    };
    auto* call = new Call(this);
    {
      MutexLock lock(mutex_);
      held_call_ = call;
      held_context_ = context;
    }
    if (!holds_calls) ReleaseCall();
    return call;
  }
  bool HasHeldCall() const {
    MutexLock lock(mutex_);
    return held_call_ != nullptr;
  }
  void ReleaseCall() {
    MutexLock lock(mutex_);
    if (held_call_ != nullptr)
      held_call_->Finish(ToGrpc(MakeError(Reason::DRAINING, name_), held_context_));
    held_call_ = nullptr;
  }
  void SetReady(absl::Status ready) {
    MutexLock lock(mutex_);
    ready_ = std::move(ready);
  }

  bool serves = false;
  bool holds_calls = false;
  bool releases_calls = true;
  std::atomic<bool> alive = true;
  std::function<void()> on_finish;
  absl::Status start_result;

 private:
  const std::string name_;
  std::vector<std::string>* const history_;
  mutable Mutex mutex_;
  absl::Status ready_ GUARDED_BY(mutex_);
  grpc::ServerUnaryReactor* held_call_ GUARDED_BY(mutex_) = nullptr;
  grpc::CallbackServerContext* held_context_ GUARDED_BY(mutex_) = nullptr;
};

ServerSettings AnyPort() {
  Settings settings;
  ServerSettings any;
  any.Declare(settings, "127.0.0.1:0", "127.0.0.1:0");
  return any;
}

// Debian has no generated code for health and reflection: their messages are written and read by
// hand. Sends one message and returns the first that comes back, or the error.
std::string CallRaw(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                    const std::string& request) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto await = [&] {
    void* tag;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  grpc::ByteBuffer reply;
  const auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  EXPECT_TRUE(await());
  grpc::Slice slice(request);
  call->WriteLast(grpc::ByteBuffer(&slice, 1), {}, nullptr);
  EXPECT_TRUE(await());
  call->Read(&reply, nullptr);
  const bool answered = await();
  grpc::Status status;
  call->Finish(&status, nullptr);
  EXPECT_TRUE(await());
  if (!answered) return status.error_message();
  grpc::Slice bytes;
  EXPECT_TRUE(reply.DumpToSingleSlice(&bytes).ok());
  return std::string(reinterpret_cast<const char*>(bytes.begin()), bytes.size());
}

// HealthCheckResponse is one enum, field number 1.
std::string HealthOf(const std::shared_ptr<grpc::Channel>& channel) {
  const std::string reply = CallRaw(channel, "/grpc.health.v1.Health/Check", "");
  if (reply == "\x08\x01") return "SERVING";
  return reply == "\x08\x02" ? "NOT_SERVING" : reply;
}

template <typename Condition>
bool Eventually(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

TEST(ServerSettingsTest, TheReadmeListsThem) {
  Settings settings;
  ServerSettings server;
  server.Declare(settings, "127.0.0.1:0", "127.0.0.1:0");
  std::ifstream file(SLUICE_SOURCE_DIR "/common/server/README.md");
  std::stringstream readme;
  readme << file.rdbuf();
  EXPECT_THAT(readme.str(), HasSubstr(settings.Reference()));
}

class ServerTest : public ::testing::Test {
 protected:
  std::unique_ptr<Server> StartServer(std::vector<Component*> components) {
    auto server = Server::Start("toy", settings_, registry_, components);
    EXPECT_TRUE(server.ok()) << server.status();
    return *std::move(server);
  }
  static std::shared_ptr<grpc::Channel> Connect(const Server& server) {
    return grpc::CreateChannel(server.grpc_address(), grpc::InsecureChannelCredentials());
  }

  ServerSettings settings_ = AnyPort();
  const std::shared_ptr<prometheus::Registry> registry_ = std::make_shared<prometheus::Registry>();
  std::vector<std::string> history_;
  Toy toy_{"toy", &history_};
};

TEST_F(ServerTest, InfoTellsNameVersionAndLimits) {
  const auto server = StartServer({&toy_});
  v1::GetInfoResponse info;
  for (const auto& channel : {Connect(*server), server->Channel()}) {
    grpc::ClientContext context;
    ASSERT_TRUE(v1::InfoService::NewStub(channel)->GetInfo(&context, {}, &info).ok());
    EXPECT_EQ(info.server(), "toy");
    EXPECT_EQ(info.version(), Version());
    ASSERT_EQ(info.limits_size(), static_cast<int>(std::size(kLimits)));
    EXPECT_EQ(info.limits(0).name(), "record.id.bytes");
    EXPECT_EQ(info.limits(0).max(), kMaxIdBytes);
  }
}

TEST_F(ServerTest, ReflectionListsTheServices) {
  toy_.serves = true;
  const auto server = StartServer({&toy_});
  // ServerReflectionRequest.list_services, field number 7.
  const std::string services =
      CallRaw(Connect(*server), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
              std::string("\x3a\x00", 2));
  EXPECT_THAT(services, HasSubstr("sluice.v1.InfoService"));
  EXPECT_THAT(services, HasSubstr("sluice.v1.CatalogService"));
  EXPECT_THAT(services, HasSubstr("grpc.health.v1.Health"));
}

TEST_F(ServerTest, ReadinessAndHealthFollowTheComponent) {
  toy_.SetReady(absl::UnavailableError("no log"));
  const auto server = StartServer({&toy_});
  const auto channel = Connect(*server);
  EXPECT_EQ(Fetch(server->http_address(), "GET", "/readyz").body, "no log\n");
  EXPECT_EQ(HealthOf(channel), "NOT_SERVING");
  toy_.SetReady(absl::OkStatus());
  EXPECT_EQ(Fetch(server->http_address(), "GET", "/readyz").status, 200);
  EXPECT_TRUE(Eventually([&] { return HealthOf(channel) == "SERVING"; }));
  toy_.SetReady(absl::UnavailableError("no log again"));
  EXPECT_EQ(Fetch(server->http_address(), "GET", "/readyz").status, 503);
  EXPECT_TRUE(Eventually([&] { return HealthOf(channel) == "NOT_SERVING"; }));
}

TEST_F(ServerTest, LivenessFollowsTheComponent) {
  const auto server = StartServer({&toy_});
  EXPECT_EQ(Fetch(server->http_address(), "GET", "/livez").status, 200);
  toy_.alive = false;
  EXPECT_EQ(Fetch(server->http_address(), "GET", "/livez").body, "toy is stuck\n");
}

TEST_F(ServerTest, MetricsHoldTheProcessAndTheRegistry) {
  prometheus::BuildCounter()
      .Name("sluice_toy_things_total")
      .Help("Things")
      .Register(*registry_)
      .Add({});
  const auto server = StartServer({&toy_});
  const std::string metrics = Fetch(server->http_address(), "GET", "/metrics").body;
  EXPECT_THAT(metrics, HasSubstr("\nprocess_resident_memory_bytes "));
  EXPECT_THAT(metrics, HasSubstr("sluice_toy_things_total 0\n"));
}

TEST_F(ServerTest, DrainGoesInReverseOrderAndSaysSoInReadiness) {
  Toy frontend("frontend", &history_);
  const auto server = StartServer({&toy_, &frontend});
  std::string readiness;
  std::string health;
  int liveness = 0;
  toy_.on_finish = [&] {
    readiness = Fetch(server->http_address(), "GET", "/readyz").body;
    liveness = Fetch(server->http_address(), "GET", "/livez").status;
    health = HealthOf(Connect(*server));
  };
  server->Drain();
  EXPECT_THAT(history_, ElementsAre("toy start", "frontend start", "frontend begin",
                                    "frontend finish", "toy begin", "toy finish"));
  EXPECT_EQ(readiness, "draining\n");
  EXPECT_EQ(liveness, 200);
  EXPECT_EQ(health, "NOT_SERVING");
}

TEST_F(ServerTest, ACallThatIsUnderWayIsAnsweredDuringDrain) {
  toy_.serves = true;
  toy_.holds_calls = true;
  const auto server = StartServer({&toy_});
  auto stub = v1::CatalogService::NewStub(Connect(*server));
  auto answer = std::async(std::launch::async, [&] {
    grpc::ClientContext context;
    v1::GetCollectionResponse response;
    return FromGrpc(stub->GetCollection(&context, {}, &response), context);
  });
  ASSERT_TRUE(Eventually([&] { return toy_.HasHeldCall(); }));
  server->Drain();
  EXPECT_EQ(ReasonOf(answer.get()), Reason::DRAINING);
}

// A component may keep a call past its deadline; the process still has to end in time.
TEST_F(ServerTest, ACallThatNeverEndsIsCutOffAtTheDeadline) {
  toy_.serves = true;
  toy_.holds_calls = true;
  toy_.releases_calls = false;
  settings_.drain_ms = 300;
  const auto server = StartServer({&toy_});
  auto stub = v1::CatalogService::NewStub(Connect(*server));
  auto answer = std::async(std::launch::async, [&] {
    grpc::ClientContext context;
    v1::GetCollectionResponse response;
    return stub->GetCollection(&context, {}, &response).ok();
  });
  ASSERT_TRUE(Eventually([&] { return toy_.HasHeldCall(); }));
  server->Drain();
  EXPECT_FALSE(answer.get());
}

TEST_F(ServerTest, AComponentThatCannotStartStopsThoseBeforeIt) {
  Toy second("second", &history_);
  second.start_result = absl::FailedPreconditionError("data folder in use");
  const auto server = Server::Start("toy", settings_, registry_, {&toy_, &second});
  EXPECT_EQ(server.status().message(), "data folder in use");
  EXPECT_THAT(history_, ElementsAre("toy start", "second start", "toy begin", "toy finish"));
}

TEST_F(ServerTest, AGrpcPortInUseIsNamed) {
  const auto server = StartServer({&toy_});
  Toy second("second", &history_);
  settings_.grpc_address = server->grpc_address();
  EXPECT_EQ(Server::Start("toy", settings_, registry_, {&second}).status().message(),
            "cannot listen on " + server->grpc_address() + ": Address already in use");
  EXPECT_THAT(history_, ElementsAre("toy start"));
}

TEST_F(ServerTest, AnAddressWithoutPortIsRefused) {
  settings_.grpc_address = "localhost";
  EXPECT_EQ(Server::Start("toy", settings_, registry_, {&toy_}).status().message(),
            "\"localhost\" is not HOST:PORT");
}

}  // namespace
}  // namespace sluice::server

#include "common/server/http.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>

#include "common/server/address.h"
#include "common/server/fetch_for_test.h"

namespace sluice::server {
namespace {

using ::testing::HasSubstr;

class HttpTest : public ::testing::Test {
 protected:
  HttpTest() {
    auto& family = prometheus::BuildCounter()
                       .Name("sluice_toy_things_total")
                       .Help("Things")
                       .Register(*registry_);
    family.Add({{"kind", "a\"b"}}).Increment(3);
    auto started = HttpServer::Start(
        "127.0.0.1:0", {registry_}, [this] { return live_; }, [this] { return ready_; });
    EXPECT_TRUE(started.ok()) << started.status();
    http_ = *std::move(started);
  }

  std::shared_ptr<prometheus::Registry> registry_ = std::make_shared<prometheus::Registry>();
  absl::Status live_, ready_;
  std::unique_ptr<HttpServer> http_;
};

TEST_F(HttpTest, MetricsAreInPrometheusTextFormat) {
  const Reply reply = Fetch(http_->address(), "GET", "/metrics");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(reply.body,
            "# HELP sluice_toy_things_total Things\n# TYPE sluice_toy_things_total counter\n"
            "sluice_toy_things_total{kind=\"a\\\"b\"} 3\n");
}

TEST_F(HttpTest, ProbesAnswer503WithTheReason) {
  EXPECT_EQ(Fetch(http_->address(), "GET", "/livez").status, 200);
  EXPECT_EQ(Fetch(http_->address(), "GET", "/readyz").status, 200);
  live_ = absl::InternalError("the applier stopped");
  ready_ = absl::UnavailableError("no log");
  const Reply live = Fetch(http_->address(), "GET", "/livez");
  EXPECT_EQ(live.status, 503);
  EXPECT_EQ(live.body, "the applier stopped\n");
  const Reply ready = Fetch(http_->address(), "GET", "/readyz");
  EXPECT_EQ(ready.status, 503);
  EXPECT_EQ(ready.body, "no log\n");
}

TEST_F(HttpTest, AnythingElseIsNotFound) {
  EXPECT_EQ(Fetch(http_->address(), "GET", "/").status, 404);
  EXPECT_EQ(Fetch(http_->address(), "GET", "/metrics/x").status, 404);
  EXPECT_EQ(Fetch(http_->address(), "GET", "/../etc/passwd").status, 404);
  EXPECT_GE(Fetch(http_->address(), "POST", "/metrics").status, 400);
}

TEST_F(HttpTest, APortInUseIsNamed) {
  const auto second = HttpServer::Start(
      http_->address(), {}, [] { return absl::OkStatus(); }, [] { return absl::OkStatus(); });
  EXPECT_EQ(second.status().message(),
            "cannot listen on " + http_->address() + ": Address already in use");
}

TEST(AddressTest, OnlyHostAndPortIsAnAddress) {
  EXPECT_EQ(ParseAddress("[::1]:70")->host, "[::1]");
  EXPECT_EQ(ParseAddress("localhost:0")->port, 0);
  for (const char* bad : {"", ":80", "80", "localhost", "localhost:", "localhost:65536",
                          "localhost:x", "::1:80", "a:1,b:2", "a b:1"}) {
    EXPECT_FALSE(ParseAddress(bad).ok()) << bad;
  }
}

TEST(AddressTest, AHostThatIsNotThisMachineIsSaid) {
  EXPECT_THAT(std::string(CannotListen(*ParseAddress("192.0.2.1:80")).message()),
              HasSubstr("cannot listen on 192.0.2.1:80: Cannot assign requested address"));
}

}  // namespace
}  // namespace sluice::server

// The scheduler with threads, a real embedder and a server.
#include "services/compactor/embed_scheduler.h"

#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "common/embed/hashing_embedder.h"
#include "common/errors/errors.h"
#include "tests/embedder/embedder_server.h"

namespace sluice::compactor {
namespace {

using namespace std::chrono_literals;
using sluice::testing::Behaviour;
using sluice::testing::EmbedderServer;
using Wrong = Behaviour::Wrong;

class EmbedSchedulerTest : public ::testing::Test {
 protected:
  void Start() {
    server::Settings declared;
    embed::EmbedderSettings settings;
    settings.Declare(declared, "compactor.embedders.x");
    settings.protocol = "oip";
    settings.endpoints = server_.grpc_address();
    settings.max_texts = 16;
    settings.max_in_flight = 4;
    settings.deadline_ms = 5'000;
    auto embedder = embed::Embedder::Create(settings);
    ASSERT_TRUE(embedder.ok()) << embedder.status();
    scheduler_ = std::make_unique<EmbedScheduler>("x", *std::move(embedder), 200ms, registry_);
  }

  EmbedResult Embed(std::vector<std::string> texts) {
    return scheduler_->Submit({.model = "test-model", .dimension = 32, .texts = std::move(texts)})
        ->Wait([] { return absl::OkStatus(); });
  }

  EmbedderServer server_;
  prometheus::Registry registry_;
  std::unique_ptr<EmbedScheduler> scheduler_;
};

TEST_F(EmbedSchedulerTest, JobsAtOnceEachGetTheirOwnVectorsInSharedCalls) {
  Start();
  Behaviour slow;
  slow.latency = 20ms;
  server_.Set(slow);
  {
    std::vector<std::jthread> jobs;
    for (int job = 0; job < 8; ++job) {
      jobs.emplace_back([this, job] {
        const HashingEmbedder expected(32);
        for (int round = 0; round < 5; ++round) {
          std::vector<std::string> texts;
          for (int i = 0; i < 4; ++i) texts.push_back(absl::StrCat("job", job, " ", round, " ", i));
          const EmbedResult result = Embed(texts);
          ASSERT_TRUE(result.ok()) << result.status();
          for (size_t i = 0; i < texts.size(); ++i)
            EXPECT_EQ(result->at(i).vector, expected.Embed(texts[i]));
        }
      });
    }
  }
  EXPECT_EQ(server_.embedded().size(), 160u);
  EXPECT_LE(server_.most_at_once(), 4u);
}

TEST_F(EmbedSchedulerTest, AServerThatIsAwayFailsTheWorkAndThenAtOnce) {
  Behaviour away;
  away.wrong = Wrong::kUnavailable;
  server_.Set(away);
  Start();
  const EmbedResult failed = Embed({"a", "b"});
  EXPECT_EQ(ReasonOf(failed.status()), Reason::EMBEDDER_UNAVAILABLE) << failed.status();
  EXPECT_FALSE(scheduler_->Check().ok());
}

TEST_F(EmbedSchedulerTest, WhoeverWaitsMayGiveUp) {
  Behaviour hanging;
  hanging.wrong = Wrong::kHang;
  server_.Set(hanging);
  Start();
  auto pending = scheduler_->Submit({.model = "test-model", .dimension = 32, .texts = {"a"}});
  EXPECT_TRUE(
      absl::IsCancelled(pending->Wait([] { return absl::CancelledError("stopping"); }).status()));
  pending.reset();
  // It ends although a call hangs.
  scheduler_.reset();
}

}  // namespace
}  // namespace sluice::compactor

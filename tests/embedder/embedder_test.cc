// Endpoints: balanced, ejected when ill, probed until well.
#include "common/embed/embedder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "tests/embedder/embedder_server.h"

namespace sluice::embed {
namespace {

using ::testing::HasSubstr;
using Wrong = sluice::testing::Behaviour::Wrong;
using sluice::testing::Behaviour;
using sluice::testing::EmbedderServer;
using namespace std::chrono_literals;

TEST(HealthTest, ThreeFailuresInARowEjectAndAProbeBringsBack) {
  const Health::Time start{};
  const Failure failure{.fault = Fault::kUnreachable, .words = "gone"};
  Health health;
  EXPECT_FALSE(health.well());
  EXPECT_TRUE(health.ProbeDue(start));
  health.ProbeBegins();
  EXPECT_FALSE(health.ProbeDue(start));
  health.ProbeEnded(std::nullopt, start, 0);
  EXPECT_TRUE(health.well());

  for (int i = 0; i < 2; ++i) health.CallFailed(failure, start, 0);
  health.CallSucceeded();
  for (int i = 0; i < 2; ++i) health.CallFailed(failure, start, 0);
  EXPECT_TRUE(health.well());
  health.CallFailed(failure, start, 0);
  EXPECT_FALSE(health.well());
  EXPECT_EQ(health.words(), "gone");
  EXPECT_FALSE(health.ProbeDue(start + 249ms));
  EXPECT_TRUE(health.ProbeDue(start + 250ms));
}

TEST(HealthTest, ProbesComeEverLaterUpToHalfAMinute) {
  Health health;
  Health::Time now{};
  std::vector<std::chrono::milliseconds> pauses;
  for (int i = 0; i < 10; ++i) {
    health.ProbeBegins();
    health.ProbeEnded(Failure{.fault = Fault::kIll}, now, /*share=*/1);
    pauses.push_back(
        std::chrono::duration_cast<std::chrono::milliseconds>(health.next_probe() - now));
    now = health.next_probe();
  }
  EXPECT_EQ(pauses.front(), 1'000ms);
  EXPECT_EQ(pauses[1], 2'000ms);
  EXPECT_EQ(pauses.back(), 30'000ms);
}

TEST(HealthTest, ABusyServerAndARefusedTextAreNoIllness) {
  Health health;
  health.ProbeEnded(Failure{.fault = Fault::kOverloaded}, {}, 0);
  EXPECT_TRUE(health.well());
  for (int i = 0; i < 5; ++i) {
    health.CallFailed({.fault = i % 2 ? Fault::kOverloaded : Fault::kRefused}, {}, 0);
  }
  EXPECT_TRUE(health.well());
}

class EmbedderTest : public ::testing::Test {
 protected:
  EmbedderTest() {
    server::Settings declared;
    settings_.Declare(declared, "compactor.embedders.x");
    settings_.endpoints = servers_[0].grpc_address() + "," + servers_[1].grpc_address();
    settings_.deadline_ms = 10'000;
  }
  void Start() {
    auto embedder = Embedder::Create(settings_);
    ASSERT_TRUE(embedder.ok()) << embedder.status();
    embedder_ = *std::move(embedder);
  }
  std::future<Answer> Begin(const std::string& text, uint32_t dimension = 32) {
    auto answer = std::make_shared<std::promise<Answer>>();
    embedder_->Embed({.dimension = dimension, .texts = {text}},
                     [answer](Answer a) { answer->set_value(std::move(a)); });
    return answer->get_future();
  }
  Answer Embed(const std::string& text, uint32_t dimension = 32) {
    return Begin(text, dimension).get();
  }
  void Behave(size_t server, Wrong wrong) {
    Behaviour behaviour;
    behaviour.wrong = wrong;
    servers_[server].Set(behaviour);
  }

  EmbedderServer servers_[2];
  EmbedderSettings settings_;
  std::unique_ptr<Embedder> embedder_;
};

TEST_F(EmbedderTest, CallsSpreadOverItsEndpoints) {
  Start();
  // The first calls may all go to the endpoint that answered first whether it is well.
  while (embedder_->well() < 2) EXPECT_FALSE(Embed("text").failure);
  const uint64_t before[] = {servers_[0].calls(), servers_[1].calls()};
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(Embed("text").failure);
  EXPECT_GE(servers_[0].calls(), before[0] + 5);
  EXPECT_GE(servers_[1].calls(), before[1] + 5);
}

TEST_F(EmbedderTest, ABusyEndpointGetsLess) {
  Start();
  for (int i = 0; i < 4; ++i) Embed("text");
  Behave(0, Wrong::kHang);
  std::vector<std::future<Answer>> hanging;
  const uint64_t before = servers_[0].calls();
  for (int i = 0; i < 20; ++i) {
    std::future<Answer> answer = Begin("text");
    if (answer.wait_for(2s) == std::future_status::timeout) hanging.push_back(std::move(answer));
  }
  EXPECT_LE(hanging.size(), 2u);
  EXPECT_LE(servers_[0].calls(), before + 2);
  embedder_.reset();
  for (std::future<Answer>& answer : hanging) EXPECT_TRUE(answer.get().failure);
}

TEST_F(EmbedderTest, AnIllEndpointIsEjectedAndTheOtherDoesTheWork) {
  Start();
  for (int i = 0; i < 4; ++i) Embed("text");
  Behave(0, Wrong::kInternal);
  int failures = 0;
  for (int i = 0; i < 30; ++i) failures += Embed("text").failure ? 1 : 0;
  EXPECT_EQ(failures, 3);
  EXPECT_EQ(embedder_->well(), 1u);
}

TEST_F(EmbedderTest, AnEndpointThatIsWellAgainIsUsedAgain) {
  settings_.endpoints = servers_[0].grpc_address();
  Start();
  Behave(0, Wrong::kUnavailable);
  Answer answer = Embed("text");
  ASSERT_TRUE(answer.failure);
  EXPECT_EQ(answer.failure->fault, Fault::kUnreachable);
  EXPECT_THAT(answer.failure->words, HasSubstr("not healthy"));
  EXPECT_EQ(embedder_->well(), 0u);
  // Until the next probe is due, nobody is asked.
  answer = Embed("text");
  ASSERT_TRUE(answer.failure);
  ASSERT_TRUE(answer.failure->retry_after);
  EXPECT_GT(*answer.failure->retry_after, 0ms);
  Behave(0, Wrong::kNothing);
  while (Embed("text").failure) std::this_thread::yield();
  EXPECT_EQ(embedder_->well(), 1u);
}

TEST_F(EmbedderTest, ACollectionOfAnotherDimensionIsAMisfitAndNoEndpointIsBlamed) {
  Start();
  for (int i = 0; i < 10; ++i) {
    const Answer answer = Embed("text", 31);
    ASSERT_TRUE(answer.failure);
    EXPECT_EQ(answer.failure->fault, Fault::kMisfit);
    EXPECT_THAT(answer.failure->words, HasSubstr("32"));
  }
  EXPECT_FALSE(Embed("text").failure);
}

TEST_F(EmbedderTest, WhatTheServerStatesLimitsTheCalls) {
  Behaviour behaviour;
  behaviour.max_concurrent_requests = 7;
  behaviour.max_batch_tokens = 100;
  servers_[0].Set(behaviour);
  settings_.endpoints = servers_[0].grpc_address();
  settings_.max_in_flight = 3;
  Start();
  EXPECT_EQ(embedder_->limits().max_texts, 256u);
  EXPECT_FALSE(Embed("text").failure);
  EXPECT_EQ(embedder_->limits().max_texts, 7u);
  EXPECT_EQ(embedder_->limits().max_tokens, 100u);
  EXPECT_EQ(embedder_->limits().max_in_flight, 3u);
}

TEST(EmbeddersTest, ABadSettingNamesItsEmbedder) {
  std::map<std::string, EmbedderSettings> settings;
  server::Settings declared;
  settings["minilm"].Declare(declared, "compactor.embedders.minilm");
  const auto embedders = Embedders::Create(settings);
  ASSERT_FALSE(embedders.ok());
  EXPECT_THAT(std::string(embedders.status().message()), HasSubstr("minilm: endpoints"));
}

}  // namespace
}  // namespace sluice::embed

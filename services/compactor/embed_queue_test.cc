#include "services/compactor/embed_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "services/compactor/in_flight.h"
#include "services/compactor/text_pool.h"
#include "tests/support/seed.h"

namespace sluice::compactor {
namespace {

using embed::Answer;
using embed::Fault;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

std::vector<size_t> Lengths(const std::vector<PendingText>& batch) {
  std::vector<size_t> lengths;
  lengths.reserve(batch.size());
  for (const PendingText& text : batch) lengths.push_back(text.tokens);
  return lengths;
}

TEST(TextPoolTest, ABatchIsTheOldestTextAndThoseNearestToItInLength) {
  TextPool pool;
  uint64_t order = 0;
  for (const size_t tokens : {50, 10, 400, 52, 49, 12}) pool.Add(++order, {.tokens = tokens});
  EXPECT_THAT(Lengths(pool.Take(3, 1'000)), ElementsAre(49, 50, 52));
  EXPECT_THAT(Lengths(pool.Take(3, 1'000)), ElementsAre(10, 12));
  EXPECT_THAT(Lengths(pool.Take(3, 1'000)), ElementsAre(400));
  EXPECT_TRUE(pool.empty());
}

TEST(TextPoolTest, PaddingCountsAndATextThatIsTooLongGoesAlone) {
  TextPool pool;
  uint64_t order = 0;
  for (const size_t tokens : {5'000, 30, 40, 35, 30}) pool.Add(++order, {.tokens = tokens});
  EXPECT_THAT(Lengths(pool.Take(100, 100)), ElementsAre(5'000));
  EXPECT_THAT(Lengths(pool.Take(100, 100)), ElementsAre(30, 30));
  EXPECT_THAT(Lengths(pool.Take(100, 100)), ElementsAre(35, 40));
}

TEST(TextPoolTest, RandomBatchesKeepToTheLimitsAndNoTextWaitsForEver) {
  std::mt19937_64 random(sluice::testing::TestSeed());
  TextPool pool;
  uint64_t order = 0;
  uint64_t taken = 0;
  for (int round = 0; round < 500; ++round) {
    for (uint64_t n = random() % 20; n > 0; --n) pool.Add(++order, {.tokens = 1 + random() % 300});
    if (pool.empty()) continue;
    const uint64_t oldest = pool.oldest();
    const std::vector<PendingText> batch = pool.Take(16, 1'000);
    taken += batch.size();
    EXPECT_LE(batch.size(), 16u);
    EXPECT_TRUE(batch.size() == 1 || PaddedTokens(batch) <= 1'000);
    EXPECT_TRUE(pool.empty() || pool.oldest() > oldest);
  }
  EXPECT_EQ(taken + pool.size(), order);
}

TEST(InFlightLimitTest, HalvesAtAnOverloadAndGrowsByOneARound) {
  InFlightLimit limit;
  EXPECT_EQ(limit.limit(8), 8u);
  limit.CallOverloaded(5, /*next_call=*/9, /*in_flight=*/8);
  EXPECT_EQ(limit.limit(8), 4u);
  // Calls that began before the cut.
  for (uint64_t call = 6; call < 9; ++call) limit.CallOverloaded(call, 9, 7);
  EXPECT_EQ(limit.limit(8), 4u);
  limit.CallSucceeded(8, 8);
  EXPECT_EQ(limit.limit(8), 4u);
  for (int i = 0; i < 5; ++i) limit.CallSucceeded(9, 8);
  EXPECT_EQ(limit.limit(8), 5u);
  for (int i = 0; i < 100; ++i) limit.CallSucceeded(9, 8);
  EXPECT_EQ(limit.limit(8), 8u);
  for (uint64_t call = 10; call < 20; ++call) limit.CallOverloaded(call, call, 8);
  EXPECT_EQ(limit.limit(8), 1u);
}

// A queue with a clock of its own, and a server that is a function.
class EmbedQueueTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kDimension = 2;
  using Server = std::function<Answer(const embed::Call&)>;

  static std::vector<float> VectorOf(const std::string& text) {
    return {static_cast<float>(text.size()), static_cast<float>(text[0])};
  }
  static Answer Embed(const embed::Call& call) {
    Answer answer;
    for (const std::string& text : call.texts) answer.vectors.push_back(VectorOf(text));
    return answer;
  }
  static Answer Fail(Fault fault, std::optional<std::chrono::milliseconds> retry_after = {}) {
    return {.vectors = {}, .failure = embed::MakeFailure(fault, "its words", retry_after)};
  }
  static bool Holds(const embed::Call& call, std::string_view what) {
    return std::any_of(call.texts.begin(), call.texts.end(), [&](const std::string& text) {
      return text.find(what) != std::string::npos;
    });
  }
  static bool IsWitness(const embed::Call& call) {
    return call.texts == std::vector<std::string>{"probe"};
  }

  Ticket Add(std::vector<std::string> texts, const std::string& model = "m") {
    const Ticket ticket = queue_.Add({model, kDimension, texts}, now_);
    texts_[ticket] = std::move(texts);
    Take();
    return ticket;
  }
  void Take() {
    for (EmbedQueue::Finished& finished : queue_.TakeFinished())
      results_.emplace(finished.ticket, std::move(finished.result));
  }

  // Sends all that may be sent, answers it, lets time pass, until `ticket` is finished.
  const EmbedResult& Run(Ticket ticket, const Server& server) {
    for (int round = 0; round < 10'000 && !results_.contains(ticket); ++round) {
      std::vector<EmbedQueue::Send> sent;
      while (auto send = queue_.Next(now_, limits_)) sent.push_back(*std::move(send));
      most_at_once_ = std::max(most_at_once_, sent.size());
      // A text may be given up in place of being sent.
      Take();
      if (sent.empty()) {
        if (results_.contains(ticket)) break;
        const auto at = queue_.WakeAt(now_);
        EXPECT_TRUE(at) << "nothing would ever happen";
        if (!at) break;
        now_ = *at;
        continue;
      }
      now_ += 10ms;
      for (const EmbedQueue::Send& send : sent) {
        calls_.push_back(send.call);
        queue_.Answered(send.number, server(send.call), now_, 0.5, limits_);
      }
      Take();
    }
    static const EmbedResult kNone = absl::UnknownError("not finished");
    return results_.contains(ticket) ? results_.at(ticket) : kNone;
  }

  void ExpectEmbedded(Ticket ticket, const std::vector<size_t>& but = {}) {
    const EmbedResult& result = results_.at(ticket);
    ASSERT_TRUE(result.ok()) << result.status();
    for (size_t i = 0; i < result->size(); ++i) {
      const bool refused = std::find(but.begin(), but.end(), i) != but.end();
      EXPECT_EQ(result->at(i).refusal.has_value(), refused) << i;
      EXPECT_EQ(result->at(i).vector,
                refused ? std::vector<float>() : VectorOf(texts_.at(ticket)[i]));
    }
  }

  EmbedQueue queue_{{.embedder = "e", .patience = 10s}};
  embed::Limits limits_{.max_texts = 8, .max_tokens = 1'000, .max_in_flight = 4};
  EmbedQueue::Time now_{std::chrono::hours(1)};
  std::map<Ticket, std::vector<std::string>> texts_;
  std::map<Ticket, EmbedResult> results_;
  std::vector<embed::Call> calls_;
  size_t most_at_once_ = 0;
};

std::vector<std::string> Texts(const std::string& name, int count) {
  std::vector<std::string> texts;
  texts.reserve(count);
  for (int i = 0; i < count; ++i)
    texts.push_back(absl::StrCat(name, std::string(i * 7 % 50, 'x'), i));
  return texts;
}

TEST_F(EmbedQueueTest, BatchesAreFilledAcrossTicketsAndResultsGoToTheirOwners) {
  std::vector<Ticket> tickets;
  tickets.reserve(16);
  for (int i = 0; i < 16; ++i) tickets.push_back(Add(Texts(absl::StrCat("t", i), 2)));
  for (const Ticket ticket : tickets) Run(ticket, Embed);
  for (const Ticket ticket : tickets) ExpectEmbedded(ticket);
  EXPECT_EQ(calls_.size(), 4u);
  EXPECT_EQ(most_at_once_, 4u);
}

TEST_F(EmbedQueueTest, ABatchThatIsNotFullWaitsForMoreTextsWhileTwoCallsAreUnderWay) {
  Add(Texts("a", 3));
  const auto first = queue_.Next(now_, limits_);
  Add(Texts("b", 3));
  ASSERT_TRUE(queue_.Next(now_, limits_));
  Add(Texts("c", 3));
  EXPECT_FALSE(queue_.Next(now_, limits_));
  Add(Texts("d", 5));
  const auto full = queue_.Next(now_, limits_);
  ASSERT_TRUE(full);
  EXPECT_EQ(full->call.texts.size(), 8u);
  // An answer leaves room; and so do calls of which nobody knows whether they hang.
  Add(Texts("e", 3));
  Add(Texts("f", 3), "another model");
  EXPECT_FALSE(queue_.Next(now_, limits_));
  queue_.Answered(first->number, Embed(first->call), now_, 0.5, limits_);
  queue_.Answered(full->number, Embed(full->call), now_, 0.5, limits_);
  ASSERT_TRUE(queue_.Next(now_, limits_));
  EXPECT_FALSE(queue_.Next(now_, limits_));
  ASSERT_EQ(queue_.WakeAt(now_), now_ + 1s);
  now_ += 1s;
  EXPECT_TRUE(queue_.Next(now_, limits_));
}

TEST_F(EmbedQueueTest, FullBatchesGoBeforeOneThatIsNotButNotForEver) {
  Add(Texts("a", 8));
  Add(Texts("b", 8));
  ASSERT_TRUE(queue_.Next(now_, limits_));
  ASSERT_TRUE(queue_.Next(now_, limits_));
  Add(Texts("c", 3), "another model");
  size_t passed = 0;
  for (; passed < 100; ++passed) {
    Add(Texts("d", 8));
    const auto sent = queue_.Next(now_, limits_);
    ASSERT_TRUE(sent);
    queue_.Answered(sent->number, Embed(sent->call), now_, 0.5, limits_);
    if (sent->call.model == "another model") break;
    EXPECT_EQ(sent->call.texts.size(), 8u);
  }
  EXPECT_GT(passed, 0u);
  EXPECT_LT(passed, 100u);
}

TEST_F(EmbedQueueTest, ModelsAreNotMixed) {
  const Ticket a = Add(Texts("a", 3), "one");
  const Ticket b = Add(Texts("b", 3), "two");
  Run(a, Embed);
  Run(b, Embed);
  ExpectEmbedded(a);
  ExpectEmbedded(b);
  ASSERT_EQ(calls_.size(), 2u);
  EXPECT_NE(calls_[0].model, calls_[1].model);
}

TEST_F(EmbedQueueTest, ATicketWithoutTextsIsFinishedAtOnceAndAnEmptyTextIsRefused) {
  EXPECT_TRUE(results_.at(Add({})).ok());
  const Ticket ticket = Add({"", "a"});
  Run(ticket, Embed);
  ExpectEmbedded(ticket, {0});
}

TEST_F(EmbedQueueTest, ARefusedTextIsFoundByHalvingAndIsTheOnlyOne) {
  const Ticket ticket = Add(Texts("t", 20));
  texts_[ticket][13] += " bad";
  const Ticket poisoned = Add(texts_[ticket]);
  const Server server = [](const embed::Call& call) {
    return Holds(call, "bad") ? Fail(Fault::kRefused) : Embed(call);
  };
  Run(poisoned, server);
  ExpectEmbedded(poisoned, {13});
  EXPECT_EQ(results_.at(poisoned)->at(13).refusal->reason, Refusal::Reason::kRefused);
  EXPECT_EQ(results_.at(poisoned)->at(13).refusal->words, "its words");
  EXPECT_FALSE(std::any_of(calls_.begin(), calls_.end(), IsWitness));
}

TEST_F(EmbedQueueTest, ARefusalThatNamesTheTextNeedsNoHalving) {
  std::vector<std::string> texts = Texts("t", 8);
  texts[5] = "bad";
  const Ticket ticket = Add(texts);
  Run(ticket, [](const embed::Call& call) {
    Answer answer;
    for (const std::string& text : call.texts) {
      if (text == "bad") {
        answer.failure = embed::MakeFailure(Fault::kRefused, "no");
        answer.names_the_text = true;
        break;
      }
      answer.vectors.push_back(VectorOf(text));
    }
    return answer;
  });
  ExpectEmbedded(ticket, {5});
  EXPECT_LE(calls_.size(), 2u);
}

// Both ways in which a text can make its call fail.
class APoisonedText : public EmbedQueueTest, public ::testing::WithParamInterface<Fault> {};

TEST_P(APoisonedText, IsRefusedOnceOthersSucceedAndItStillDoesNot) {
  std::vector<std::string> texts = Texts("t", 20);
  texts[7] = "poison";
  const Ticket ticket = Add(texts);
  Run(ticket, [](const embed::Call& call) {
    return Holds(call, "poison") ? Fail(GetParam()) : Embed(call);
  });
  ExpectEmbedded(ticket, {7});
  EXPECT_EQ(results_.at(ticket)->at(7).refusal->reason, Refusal::Reason::kFailing);
}

TEST_P(APoisonedText, IsRefusedThoughItIsTheOnlyOne) {
  const Ticket ticket = Add({"poison"});
  Run(ticket, [](const embed::Call& call) {
    return Holds(call, "poison") ? Fail(GetParam()) : Embed(call);
  });
  ExpectEmbedded(ticket, {0});
  const auto alone = std::count_if(calls_.begin(), calls_.end(),
                                   [](const embed::Call& call) { return Holds(call, "poison"); });
  EXPECT_EQ(alone, 3);
}

INSTANTIATE_TEST_SUITE_P(Faults, APoisonedText,
                         ::testing::Values(Fault::kUnreachable, Fault::kIll));

TEST_F(EmbedQueueTest, AServerThatIsDownIsAskedWithWitnessesAloneAndBlamesNoText) {
  const Ticket ticket = Add(Texts("t", 60));
  Run(ticket, [](const embed::Call&) { return Fail(Fault::kUnreachable); });
  const EmbedResult& result = results_.at(ticket);
  EXPECT_EQ(ReasonOf(result.status()), Reason::EMBEDDER_UNAVAILABLE);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("its words"));
  EXPECT_GT(RetryAfter(result.status()).value_or(0ms), 0ms);
  // Four were under way when it went.
  EXPECT_EQ(std::count_if(calls_.begin(), calls_.end(), IsWitness),
            static_cast<ptrdiff_t>(calls_.size()) - 4);
  EXPECT_LT(calls_.size(), 20u);

  // Whoever comes now is told at once; later a witness is sent first.
  EXPECT_FALSE(queue_.Check(now_).ok());
  EXPECT_EQ(ReasonOf(results_.at(Add({"x"})).status()), Reason::EMBEDDER_UNAVAILABLE);
  now_ += 40s;
  EXPECT_TRUE(queue_.Check(now_).ok());
  const size_t before = calls_.size();
  const Ticket again = Add(Texts("u", 30));
  Run(again, Embed);
  ExpectEmbedded(again);
  EXPECT_TRUE(IsWitness(calls_[before]));
  EXPECT_FALSE(IsWitness(calls_[before + 1]));
}

TEST_F(EmbedQueueTest, ABreakShorterThanThePatienceIsWaitedOut) {
  const Ticket ticket = Add(Texts("t", 60));
  const auto back = now_ + 5s;
  Run(ticket, [&](const embed::Call& call) {
    return now_ < back ? Fail(Fault::kUnreachable) : Embed(call);
  });
  ExpectEmbedded(ticket);
}

TEST_F(EmbedQueueTest, OverloadMeansAPauseAndFewerCallsAndNobodyIsToBlame) {
  const Ticket ticket = Add(Texts("t", 64));
  std::vector<EmbedQueue::Send> sent;
  while (auto send = queue_.Next(now_, limits_)) sent.push_back(*std::move(send));
  ASSERT_EQ(sent.size(), 4u);
  queue_.Answered(sent[0].number, Fail(Fault::kOverloaded, 700ms), now_, 0.5, limits_);
  for (size_t i = 1; i < 4; ++i)
    queue_.Answered(sent[i].number, Embed(sent[i].call), now_, 0.5, limits_);
  EXPECT_FALSE(queue_.Next(now_, limits_));
  EXPECT_EQ(queue_.WakeAt(now_), now_ + 700ms);
  now_ += 700ms;
  EXPECT_TRUE(queue_.Next(now_, limits_));
  EXPECT_TRUE(queue_.Next(now_, limits_));
  EXPECT_FALSE(queue_.Next(now_, limits_));
  EXPECT_FALSE(results_.contains(ticket));
}

TEST_F(EmbedQueueTest, ABatchThatIsTooMuchByItselfIsHalved) {
  const Ticket ticket = Add(Texts("t", 16));
  Run(ticket, [](const embed::Call& call) {
    return call.texts.size() > 2 ? Fail(Fault::kOverloaded) : Embed(call);
  });
  ExpectEmbedded(ticket);
}

TEST_F(EmbedQueueTest, AnOverloadThatLastsReleasesTheTickets) {
  const Ticket ticket = Add(Texts("t", 60));
  Run(ticket, [](const embed::Call&) { return Fail(Fault::kOverloaded); });
  EXPECT_EQ(ReasonOf(results_.at(ticket).status()), Reason::EMBEDDER_UNAVAILABLE);
}

TEST_F(EmbedQueueTest, AMisfitFailsTicketsOfItsModelAlone) {
  const Ticket wrong = Add(Texts("a", 20), "wrong");
  const Ticket right = Add(Texts("b", 20), "right");
  const Server server = [](const embed::Call& call) {
    return call.model == "wrong" ? Fail(Fault::kMisfit) : Embed(call);
  };
  Run(wrong, server);
  Run(right, server);
  EXPECT_EQ(ReasonOf(results_.at(wrong).status()), Reason::EMBEDDER_MISFIT);
  ExpectEmbedded(right);
}

TEST_F(EmbedQueueTest, WhatNobodyWaitsForIsNotSent) {
  const Ticket gone = Add(Texts("gone", 4));
  const Ticket kept = Add(Texts("kept", 4));
  queue_.Forget(gone);
  Run(kept, Embed);
  ExpectEmbedded(kept);
  EXPECT_FALSE(std::any_of(calls_.begin(), calls_.end(),
                           [](const embed::Call& call) { return Holds(call, "gone"); }));
  EXPECT_EQ(queue_.waiting_texts(), 0u);
}

// Whatever happens, each text gets its own vector, or is one of those that are bad.
TEST_F(EmbedQueueTest, RandomFailuresMixUpNothingAndBlameOnlyTheGuilty) {
  std::mt19937_64 random(sluice::testing::TestSeed());
  for (int round = 0; round < 30; ++round) {
    std::vector<std::string> texts = Texts(absl::StrCat("r", round, "-"), 1 + random() % 60);
    std::vector<size_t> bad;
    for (size_t i = 0; i < texts.size(); ++i) {
      if (random() % 30 != 0) continue;
      texts[i] += random() % 2 ? "refused" : "poison";
      bad.push_back(i);
    }
    const Ticket ticket = Add(texts);
    Run(ticket, [&](const embed::Call& call) {
      if (Holds(call, "refused")) return Fail(Fault::kRefused);
      if (Holds(call, "poison")) return Fail(random() % 2 ? Fault::kUnreachable : Fault::kIll);
      if (!IsWitness(call) && random() % 12 == 0) return Fail(Fault::kOverloaded);
      // A batch may break off half way; a text alone does not fail by chance.
      if (call.texts.size() > 1 && random() % 6 == 0) {
        Answer half = Embed(call);
        half.vectors.resize(call.texts.size() / 2);
        half.failure = embed::MakeFailure(Fault::kUnreachable, "broke off");
        return half;
      }
      return Embed(call);
    });
    ExpectEmbedded(ticket, bad);
    ASSERT_FALSE(HasFailure());
  }
}

}  // namespace
}  // namespace sluice::compactor

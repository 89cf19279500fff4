#include "services/compactor/embed_queue.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"

namespace sluice::compactor {
namespace {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

// What embedders probe with (common/embed/embedder.h).
constexpr char kWitness[] = "probe";
constexpr int kFailuresAnEndpoint = 3;
// One that runs, and one that is there when it ends. While an endpoint has these, a batch that is
// not full waits for more texts; but not for calls that may be hanging.
constexpr size_t kCallsThatKeepBusy = 2;
constexpr milliseconds kMayHangAfter = 1s;
// Nor for ever, while others fill theirs.
constexpr int kMostPassedOver = 8;

// `first`, doubled for each time before, up to `most`; of that a random half.
milliseconds Backoff(milliseconds first, milliseconds most, int times, double share) {
  const milliseconds full = std::min(most, first * (1 << std::clamp(times, 0, 10)));
  return full / 2 +
         milliseconds(static_cast<int64_t>(share * static_cast<double>(full.count()) / 2));
}

}  // namespace

Ticket EmbedQueue::Add(EmbedWork work, Time now) {
  const Ticket ticket = ++last_ticket_;
  const LaneName lane{std::move(work.model), work.dimension};
  const auto open = open_.emplace(ticket, Open{.lane = lane, .results = {}}).first;
  open->second.results.resize(work.texts.size());
  if (absl::Status down = Check(now); !down.ok()) {
    Finish(open, std::move(down));
    return ticket;
  }
  // One more, so that the ticket is not finished before all are looked at.
  open->second.missing = work.texts.size() + 1;
  for (size_t i = 0; i < work.texts.size(); ++i) {
    PendingText text{.ticket = ticket, .index = i, .text = std::move(work.texts[i])};
    if (text.text.empty()) {
      Complete(text, {.vector = {}, .refusal = Refusal{.words = "the text is empty"}});
      continue;
    }
    text.tokens = EstimateTokens(text.text);
    lanes_[lane].Add(++last_order_, std::move(text));
  }
  if (--open->second.missing == 0) Finish(open, std::move(open->second.results));
  return ticket;
}

void EmbedQueue::Forget(Ticket ticket) {
  const auto open = open_.find(ticket);
  if (open == open_.end()) return;
  const auto lane = lanes_.find(open->second.lane);
  if (lane != lanes_.end()) {
    lane->second.Remove(ticket);
    if (lane->second.empty()) lanes_.erase(lane);
  }
  for (Retry& retry : retries_) {
    std::erase_if(retry.texts, [&](const PendingText& text) { return text.ticket == ticket; });
  }
  std::erase_if(retries_, [](const Retry& retry) { return retry.texts.empty(); });
  open_.erase(open);
}

std::optional<EmbedQueue::Send> EmbedQueue::Next(Time now, const embed::Limits& limits) {
  if (now < down_until_ || now < pause_until_ || !HasWork()) return std::nullopt;
  if (doubt_) return BeginWitness(now);
  if (calls_.size() >= limit_.limit(limits.max_in_flight)) return std::nullopt;
  if (std::optional<Retry> retry = TakeRetry(now)) return Begin(*std::move(retry), now);
  const bool may_wait = IsKeptBusy(now) && passed_over_ < kMostPassedOver;
  const LaneName* const name = OldestLane([&](const TextPool& pool) {
    return !may_wait || pool.size() >= limits.max_texts || pool.tokens() >= limits.max_tokens;
  });
  if (name == nullptr) return std::nullopt;
  passed_over_ = name == OldestLane() ? 0 : passed_over_ + 1;
  const auto lane = lanes_.find(*name);
  Retry batch{.lane = *name};
  batch.texts = lane->second.Take(limits.max_texts, limits.max_tokens);
  if (lane->second.empty()) lanes_.erase(lane);
  return Begin(std::move(batch), now);
}

bool EmbedQueue::IsKeptBusy(Time now) const {
  const auto recent = std::count_if(calls_.begin(), calls_.end(), [&](const auto& call) {
    return now < call.second.since + kMayHangAfter;
  });
  return static_cast<size_t>(recent) >= kCallsThatKeepBusy * options_.endpoints;
}

std::optional<EmbedQueue::Send> EmbedQueue::Begin(Retry batch, Time now) {
  Send send{.number = next_call_++,
            .call = {.model = batch.lane.first, .dimension = batch.lane.second},
            .padded_tokens = PaddedTokens(batch.texts)};
  // Copied: an answer may be none.
  for (const PendingText& text : batch.texts) send.call.texts.push_back(text.text);
  calls_[send.number] = {.batch = std::move(batch), .since = now};
  return send;
}

std::optional<EmbedQueue::Send> EmbedQueue::BeginWitness(Time now) {
  if (witness_under_way_ || now < witness_at_) return std::nullopt;
  witness_under_way_ = true;
  const LaneName lane = *AnyLane();
  Send send{.number = next_call_++,
            .call = {.model = lane.first, .dimension = lane.second, .texts = {kWitness}}};
  calls_[send.number] = {.batch = {.lane = lane}, .is_witness = true, .since = now};
  return send;
}

std::optional<EmbedQueue::Retry> EmbedQueue::TakeRetry(Time now) {
  for (;;) {
    const auto due = std::find_if(retries_.begin(), retries_.end(),
                                  [&](const Retry& retry) { return retry.not_before <= now; });
    if (due == retries_.end()) return std::nullopt;
    Retry retry = std::move(*due);
    retries_.erase(due);
    if (!IsFailing(retry)) return retry;
    Complete(retry.texts.front(),
             {.vector = {}, .refusal = Refusal{Refusal::Reason::kFailing, retry.words}});
  }
}

bool EmbedQueue::IsFailing(const Retry& retry) const {
  return retry.failures >= kFailuresAnEndpoint * static_cast<int>(options_.endpoints) &&
         success_at_ && *success_at_ >= retry.since;
}

const EmbedQueue::LaneName* EmbedQueue::OldestLane(
    absl::FunctionRef<bool(const TextPool&)> may_go) const {
  const LaneName* oldest = nullptr;
  uint64_t order = 0;
  for (const auto& [name, pool] : lanes_) {
    if (!may_go(pool) || (oldest != nullptr && pool.oldest() > order)) continue;
    oldest = &name;
    order = pool.oldest();
  }
  return oldest;
}

std::optional<EmbedQueue::LaneName> EmbedQueue::AnyLane() const {
  if (!retries_.empty()) return retries_.front().lane;
  if (const LaneName* const lane = OldestLane()) return *lane;
  return std::nullopt;
}

bool EmbedQueue::HasWork() const { return !lanes_.empty() || !retries_.empty(); }

void EmbedQueue::Answered(uint64_t number, embed::Answer answer, Time now, double share,
                          const embed::Limits& limits) {
  const auto call = calls_.find(number);
  Running running = std::move(call->second);
  const size_t in_flight = calls_.size();
  calls_.erase(call);
  if (running.is_witness) witness_under_way_ = false;
  std::vector<PendingText>& texts = running.batch.texts;
  // What was embedded before a failure counts.
  const size_t embedded = running.is_witness ? 0 : std::min(texts.size(), answer.vectors.size());
  for (size_t i = 0; i < embedded; ++i) {
    Complete(texts[i], {.vector = std::move(answer.vectors[i]), .refusal = std::nullopt});
  }
  if (!answer.vectors.empty()) Succeeded(now);
  if (!answer.failure) {
    limit_.CallSucceeded(number, limits.max_in_flight);
    return;
  }
  texts.erase(texts.begin(), texts.begin() + static_cast<ptrdiff_t>(embedded));
  if (answer.names_the_text && !texts.empty()) {
    Complete(texts.front(),
             {.vector = {}, .refusal = Refusal{Refusal::Reason::kRefused, answer.failure->words}});
    texts.erase(texts.begin());
  }
  // Texts that nobody waits for are not sent again.
  std::erase_if(texts, [&](const PendingText& text) { return !open_.contains(text.ticket); });
  if (answer.failure->fault == embed::Fault::kOverloaded) {
    limit_.CallOverloaded(number, next_call_, in_flight);
  }
  running.batch.since = running.since;
  Failed(std::move(running), *answer.failure, answer.names_the_text, now, share, limits);
}

void EmbedQueue::Succeeded(Time now) {
  success_at_ = now;
  trouble_since_.reset();
  doubt_ = false;
  witnesses_failed_ = overloads_ = times_down_ = 0;
}

void EmbedQueue::Complete(const PendingText& text, Embedded result) {
  const auto open = open_.find(text.ticket);
  if (open == open_.end()) return;
  open->second.results[text.index] = std::move(result);
  if (--open->second.missing == 0) Finish(open, std::move(open->second.results));
}

void EmbedQueue::Failed(Running running, const embed::Failure& failure, bool names_the_text,
                        Time now, double share, const embed::Limits& limits) {
  Retry& batch = running.batch;
  switch (failure.fault) {
    case embed::Fault::kMisfit:
      if (running.is_witness) doubt_ = false;
      return FailLane(batch.lane, failure);
    case embed::Fault::kRefused:
      // It answers, which is all that a witness is for.
      Succeeded(now);
      return RefuseOrHalve(std::move(batch), failure, names_the_text);
    case embed::Fault::kOverloaded:
      return Overloaded(std::move(batch), failure, now, share, limits);
    case embed::Fault::kUnreachable:
    case embed::Fault::kIll:
      break;
  }
  if (failure.retry_after && !batch.texts.empty()) {
    // It was sent nowhere: no endpoint is well.
    retries_.push_front(std::move(batch));
  } else {
    SuspectOrHalve(std::move(batch), failure, now, share);
  }
  if (running.is_witness) ++witnesses_failed_;
  Doubt(running.since, failure, now, share);
}

void EmbedQueue::Overloaded(Retry batch, const embed::Failure& failure, Time now, double share,
                            const embed::Limits& limits) {
  // It answers; but that is no success either.
  doubt_ = false;
  if (!trouble_since_) trouble_since_ = now;
  const milliseconds pause = Backoff(100ms, 5s, overloads_++, share);
  pause_until_ = std::max(pause_until_, now + std::max(pause, failure.retry_after.value_or(0ms)));
  const bool was_alone = calls_.empty() && limit_.limit(limits.max_in_flight) == 1;
  if (was_alone && batch.texts.size() > 1) {
    Halve(std::move(batch));
  } else if (!batch.texts.empty()) {
    retries_.push_front(std::move(batch));
  }
  if (now - *trouble_since_ >= options_.patience) FailAll(failure.words, now, share);
}

void EmbedQueue::RefuseOrHalve(Retry batch, const embed::Failure& failure, bool names_the_text) {
  if (names_the_text) {
    // That one is settled; the others are as good as any.
    for (PendingText& text : batch.texts) lanes_[batch.lane].Add(++last_order_, std::move(text));
  } else if (batch.texts.size() > 1) {
    Halve(std::move(batch));
  } else if (!batch.texts.empty()) {
    Complete(batch.texts.front(),
             {.vector = {}, .refusal = Refusal{Refusal::Reason::kRefused, failure.words}});
  }
}

void EmbedQueue::SuspectOrHalve(Retry batch, const embed::Failure& failure, Time now,
                                double share) {
  if (batch.texts.empty()) return;
  if (batch.texts.size() > 1) return Halve(std::move(batch));
  batch.words = failure.words;
  batch.not_before = now + Backoff(250ms, 5s, batch.failures++, share);
  retries_.push_back(std::move(batch));
}

void EmbedQueue::Halve(Retry batch) {
  Retry half{.lane = batch.lane};
  const auto middle = batch.texts.begin() + static_cast<ptrdiff_t>(batch.texts.size() / 2);
  std::move(middle, batch.texts.end(), std::back_inserter(half.texts));
  batch.texts.erase(middle, batch.texts.end());
  retries_.push_back(std::move(batch));
  retries_.push_back(std::move(half));
}

// A call that began at `since` has failed in a way that may be the server's fault.
void EmbedQueue::Doubt(Time since, const embed::Failure& failure, Time now, double share) {
  if (success_at_ && *success_at_ >= since) return;  // others succeeded meanwhile
  if (!trouble_since_) trouble_since_ = now;
  if (witnesses_failed_ > 0 && now - *trouble_since_ >= options_.patience) {
    return FailAll(failure.words, now, share);
  }
  const milliseconds wait =
      witnesses_failed_ == 0 ? 0ms : Backoff(250ms, 5s, witnesses_failed_ - 1, share);
  if (!doubt_ || witnesses_failed_ > 0) {
    witness_at_ = now + std::max(wait, failure.retry_after.value_or(0ms));
  }
  doubt_ = true;
}

void EmbedQueue::FailAll(const std::string& words, Time now, double share) {
  down_until_ = now + Backoff(1s, 30s, times_down_++, share);
  down_words_ = words;
  doubt_ = true;
  witness_at_ = down_until_;
  lanes_.clear();
  retries_.clear();
  while (!open_.empty()) Finish(open_.begin(), Unavailable(words, now));
}

void EmbedQueue::FailLane(const LaneName& lane, const embed::Failure& failure) {
  lanes_.erase(lane);
  std::erase_if(retries_, [&](const Retry& retry) { return retry.lane == lane; });
  for (auto open = open_.begin(); open != open_.end();) {
    const auto next = std::next(open);
    if (open->second.lane == lane) {
      Finish(open, MakeError(Reason::EMBEDDER_MISFIT,
                             absl::StrCat("embedder ", options_.embedder, ": ", failure.words),
                             {{"embedder", options_.embedder}}));
    }
    open = next;
  }
}

absl::Status EmbedQueue::Unavailable(std::string_view words, Time now) const {
  return MakeRetryableError(Reason::EMBEDDER_UNAVAILABLE,
                            absl::StrCat("embedder ", options_.embedder, ": ",
                                         absl::string_view(words.data(), words.size())),
                            std::max(100ms, std::chrono::ceil<milliseconds>(down_until_ - now)),
                            {{"embedder", options_.embedder}});
}

absl::Status EmbedQueue::Check(Time now) const {
  return now < down_until_ ? Unavailable(down_words_, now) : absl::OkStatus();
}

milliseconds EmbedQueue::TroubleFor(Time now) const {
  return trouble_since_ ? std::chrono::duration_cast<milliseconds>(now - *trouble_since_) : 0ms;
}

void EmbedQueue::Finish(std::map<Ticket, Open>::iterator open, EmbedResult result) {
  finished_.push_back({open->first, std::move(result)});
  open_.erase(open);
}

std::optional<EmbedQueue::Time> EmbedQueue::WakeAt(Time now) const {
  if (!HasWork()) return std::nullopt;
  std::optional<Time> at;
  const auto consider = [&](Time time) {
    if (time > now && (!at || time < *at)) at = time;
  };
  const Time held_until = std::max(pause_until_, down_until_);
  if (held_until > now) {
    consider(held_until);
  } else if (doubt_) {
    if (!witness_under_way_) consider(witness_at_);
  } else {
    for (const Retry& retry : retries_) consider(retry.not_before);
    for (const auto& [number, call] : calls_) consider(call.since + kMayHangAfter);
  }
  return at;
}

size_t EmbedQueue::waiting_texts() const {
  size_t count = 0;
  for (const auto& [name, lane] : lanes_) count += lane.size();
  for (const Retry& retry : retries_) count += retry.texts.size();
  return count;
}

}  // namespace sluice::compactor

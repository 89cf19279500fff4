#include "services/compactor/embed_scheduler.h"

#include <random>
#include <utility>

namespace sluice::compactor {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// Between looks at whether to go on waiting.
constexpr auto kAskEvery = 100ms;

double Share() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return std::uniform_real_distribution<double>()(random);
}

}  // namespace

EmbedScheduler::EmbedScheduler(std::string name, std::unique_ptr<embed::Embedder> embedder,
                               std::chrono::milliseconds patience, prometheus::Registry& registry)
    : metrics_(registry, name),
      queue_({.embedder = name, .patience = patience, .endpoints = embedder->endpoints()}),
      limits_(embedder->limits()),
      embedder_(std::move(embedder)),
      sender_([this](const std::stop_token& stop) { SendLoop(stop); }) {}

EmbedScheduler::~EmbedScheduler() {
  sender_.request_stop();
  sender_.join();
  embedder_.reset();
}

std::unique_ptr<EmbedScheduler::Pending> EmbedScheduler::Submit(EmbedWork work) {
  const MutexLock lock(mutex_);
  const Ticket ticket = queue_.Add(std::move(work), Clock::now());
  Note();
  work_.notify_one();
  return std::unique_ptr<Pending>(new Pending(*this, ticket));
}

absl::Status EmbedScheduler::Check() const {
  const MutexLock lock(mutex_);
  return queue_.Check(Clock::now());
}

std::chrono::milliseconds EmbedScheduler::TroubleFor() const {
  const MutexLock lock(mutex_);
  return queue_.TroubleFor(Clock::now());
}

EmbedScheduler::Pending::~Pending() {
  const MutexLock lock(scheduler_.mutex_);
  scheduler_.queue_.Forget(ticket_);
  scheduler_.results_.erase(ticket_);
  scheduler_.Note();
}

EmbedResult EmbedScheduler::Pending::Wait(absl::FunctionRef<absl::Status()> proceed) {
  for (;;) {
    {
      MutexLock lock(scheduler_.mutex_);
      auto found = scheduler_.results_.find(ticket_);
      if (found == scheduler_.results_.end()) {
        scheduler_.finished_.wait_for(scheduler_.mutex_, kAskEvery);
        found = scheduler_.results_.find(ticket_);
      }
      if (found != scheduler_.results_.end()) return std::move(found->second);
    }
    if (absl::Status going_on = proceed(); !going_on.ok()) return going_on;
  }
}

void EmbedScheduler::SendLoop(const std::stop_token& stop) {
  // request_stop wakes nobody by itself who waits for a time.
  const std::stop_callback wake(stop, [this] {
    const MutexLock lock(mutex_);
    work_.notify_all();
  });
  while (!stop.stop_requested()) {
    std::optional<EmbedQueue::Send> send;
    {
      MutexLock lock(mutex_);
      limits_ = embedder_->limits();
      send = queue_.Next(Clock::now(), limits_);
      Note();
      if (!send && !stop.stop_requested()) {
        const std::optional<EmbedQueue::Time> at = queue_.WakeAt(Clock::now());
        if (at) {
          work_.wait_until(mutex_, *at);
        } else {
          work_.wait(mutex_);
        }
        continue;
      }
    }
    if (!send) return;
    if (send->padded_tokens != 0) {
      metrics_.call_tokens.Observe(static_cast<double>(send->padded_tokens));
    }
    embedder_->Embed(std::move(send->call), [this, number = send->number](embed::Answer answer) {
      Answered(number, std::move(answer));
    });
  }
}

void EmbedScheduler::Answered(uint64_t number, embed::Answer answer) {
  metrics_.CallsThat(answer.failure).Increment();
  const MutexLock lock(mutex_);
  queue_.Answered(number, std::move(answer), Clock::now(), Share(), limits_);
  Note();
  work_.notify_one();
}

void EmbedScheduler::Note() {
  for (EmbedQueue::Finished& finished : queue_.TakeFinished()) {
    results_.emplace(finished.ticket, std::move(finished.result));
    finished_.notify_all();
  }
  const EmbedQueue::Time now = Clock::now();
  if (busy_since_) {
    metrics_.busy_seconds.Increment(std::chrono::duration<double>(now - *busy_since_).count());
    busy_since_.reset();
  }
  if (queue_.in_flight() != 0) busy_since_ = now;
  metrics_.running_calls.Set(static_cast<double>(queue_.in_flight()));
  metrics_.waiting_texts.Set(static_cast<double>(queue_.waiting_texts()));
}

}  // namespace sluice::compactor

#include "services/log/watchers.h"

#include <utility>
#include <vector>

namespace sluice::log {

uint64_t Watchers::Epoch(const CollectionId& collection) {
  Stripe& stripe = StripeOf(collection);
  MutexLock lock(stripe.mutex);
  return stripe.epoch;
}

bool Watchers::Wait(const CollectionId& collection, uint64_t epoch, What what, SeqId beyond,
                    const void* waiter, WorkerPool::Task wake) {
  Stripe& stripe = StripeOf(collection);
  MutexLock lock(stripe.mutex);
  if (stripe.epoch != epoch) return false;
  stripe.waiting[collection].insert_or_assign(waiter, Waiting{what, beyond, std::move(wake)});
  return true;
}

void Watchers::Forget(const CollectionId& collection, const void* waiter) {
  // Destroyed after the lock is given back: it may own the waiter.
  WorkerPool::Task dropped;
  Stripe& stripe = StripeOf(collection);
  MutexLock lock(stripe.mutex);
  const auto of_log = stripe.waiting.find(collection);
  if (of_log == stripe.waiting.end()) return;
  const auto it = of_log->second.find(waiter);
  if (it == of_log->second.end()) return;
  dropped = std::move(it->second.wake);
  of_log->second.erase(it);
  if (of_log->second.empty()) stripe.waiting.erase(of_log);
}

void Watchers::Moved(std::span<const LogPositions> moved) {
  std::vector<WorkerPool::Task> wakes;
  for (const LogPositions& log : moved) {
    Stripe& stripe = StripeOf(log.collection);
    MutexLock lock(stripe.mutex);
    ++stripe.epoch;
    const auto of_log = stripe.waiting.find(log.collection);
    if (of_log == stripe.waiting.end()) continue;
    absl::erase_if(of_log->second, [&](auto& entry) {
      Waiting& waiting = entry.second;
      const SeqId at = waiting.what == What::kTail ? log.tail : log.applied;
      if (at <= waiting.beyond && !log.deleted) return false;
      wakes.push_back(std::move(waiting.wake));
      return true;
    });
    if (of_log->second.empty()) stripe.waiting.erase(of_log);
  }
  if (!wakes.empty()) pool_.RunAll(std::move(wakes));
}

}  // namespace sluice::log

#include "services/frontend/view_cache.h"

#include <functional>
#include <optional>
#include <tuple>
#include <utility>

#include "common/errors/errors.h"

namespace sluice::frontend {
namespace {

// How often a flight begins from nothing before it gives up. Each time it gets the newest list of
// segments, and objects of one list stay for a grace time after it was replaced.
constexpr int kMaxAttempts = 4;

bool IsTransient(const absl::Status& error) {
  return absl::IsUnavailable(error) || absl::IsDeadlineExceeded(error) ||
         absl::IsCancelled(error) || absl::IsResourceExhausted(error);
}

auto Age(const View& view) {
  return std::tuple(view.as_of(), view.applied(), view.segments_version());
}

}  // namespace

struct ViewCache::Flight {
  CollectionId collection;
  bool shared = false;
  bool header_only = false;
  SeqId wait_applied;
  std::chrono::system_clock::time_point deadline;
  std::vector<Ready> waiters;

  std::stop_source cancel;
  // Of a flight for one read.
  std::optional<std::stop_callback<std::function<void()>>> on_given_up;

  int attempts = 0;
  ViewPtr base;
};

ViewCache::ViewCache(const std::shared_ptr<grpc::Channel>& log, SegmentLoader& segments,
                     const Options& options, Executor& executor, Metrics& metrics)
    : stub_(v1::LogService::NewStub(log)),
      segments_(segments),
      options_(options),
      executor_(executor),
      metrics_(metrics),
      arriving_(options.max_bytes) {}

ViewCache::~ViewCache() {
  MutexLock lock(mutex_);
  stopping_ = true;
  for (Flight* flight : flights_) flight->cancel.request_stop();
  while (!flights_.empty()) landed_.wait(mutex_);
}

bool ViewCache::IsShared(const v1::ReadLevel& level, SeqId applied) {
  switch (level.kind()) {
    case v1::ReadLevel::KIND_APPLIED:
      return false;
    case v1::ReadLevel::KIND_AT_LEAST:
      return SeqId(level.seq_id()) <= applied;
    default:
      return true;
  }
}

void ViewCache::Take(const Wanted& wanted, Ready ready) {
  std::shared_ptr<Flight> flight;
  {
    MutexLock lock(mutex_);
    Entry& entry = entries_[wanted.collection];
    if (IsShared(wanted.level, entry.view ? entry.view->applied() : SeqId())) {
      entry.waiting.push_back(std::move(ready));
      if (entry.in_flight) return;
      flight = NewSharedFlight(wanted.collection, entry);
    } else {
      flight = NewFlight(wanted.collection);
      flight->header_only = wanted.level.kind() == v1::ReadLevel::KIND_APPLIED;
      flight->wait_applied = SeqId(flight->header_only ? 0 : wanted.level.seq_id());
      flight->deadline = wanted.deadline;
      flight->waiters.push_back(std::move(ready));
      flight->on_given_up.emplace(wanted.given_up,
                                  [cancel = flight->cancel]() mutable { cancel.request_stop(); });
    }
  }
  Start(flight);
}

ViewCache::ViewPtr ViewCache::Guess(const Wanted& wanted) const {
  const MutexLock lock(mutex_);
  const auto found = entries_.find(wanted.collection);
  if (found == entries_.end()) return nullptr;
  const Entry& entry = found->second;
  if (!entry.view || !entry.unchanged) return nullptr;
  return IsShared(wanted.level, entry.view->applied()) ? entry.view : nullptr;
}

std::shared_ptr<ViewCache::Flight> ViewCache::NewFlight(const CollectionId& collection) {
  auto flight = std::make_shared<Flight>();
  flight->collection = collection;
  flights_.insert(flight.get());
  if (stopping_) flight->cancel.request_stop();
  return flight;
}

std::shared_ptr<ViewCache::Flight> ViewCache::NewSharedFlight(const CollectionId& collection,
                                                              Entry& entry) {
  std::shared_ptr<Flight> flight = NewFlight(collection);
  flight->shared = true;
  flight->deadline = std::chrono::system_clock::now() + options_.shared_timeout;
  flight->waiters.swap(entry.waiting);
  entry.in_flight = true;
  return flight;
}

void ViewCache::Start(const std::shared_ptr<Flight>& flight) {
  if (flight->attempts == 0) {
    MutexLock lock(mutex_);
    const auto entry = entries_.find(flight->collection);
    if (entry != entries_.end()) flight->base = entry->second.view;
  } else {
    flight->base = nullptr;
  }
  v1::ReadViewRequest request;
  request.set_collection_id(flight->collection.ToString());
  if (flight->base) {
    request.set_segments_version(flight->base->segments_version());
    request.set_incarnation(flight->base->incarnation().value);
    request.set_after_seq_id(flight->base->as_of().value);
  }
  request.set_wait_applied_seq_id(flight->wait_applied.value);
  FetchView(stub_.get(), request,
            {.deadline = flight->deadline,
             .cancel = flight->cancel.get_token(),
             .header_only = flight->header_only},
            arriving_, [this, flight](absl::StatusOr<FetchedView> fetched) {
              // Costs less than a hand-over.
              if (fetched.ok() && flight->base && IsUnchanged(*flight->base, fetched->delta)) {
                return Land(flight, std::move(fetched));
              }
              executor_.Post([this, flight, fetched = std::move(fetched)]() mutable {
                Land(flight, std::move(fetched));
              });
            });
}

void ViewCache::Land(const std::shared_ptr<Flight>& flight, absl::StatusOr<FetchedView> fetched) {
  ++flight->attempts;
  const bool fetched_ok = fetched.ok();
  absl::StatusOr<ViewPtr> view =
      fetched_ok
          ? Advance(flight->collection, flight->base, fetched->delta,
                    [&](const v1::SegmentInfo& info) {
                      return segments_.Open(flight->collection,
                                            Incarnation(fetched->delta.header.incarnation()), info);
                    })
          : fetched.status();
  // What is held may be what the log does not understand.
  const bool start_over =
      fetched_ok
          ? absl::IsInternal(view.status()) || ReasonOf(view.status()) == Reason::SEGMENT_MISSING
          : flight->base && !IsTransient(view.status()) && !absl::IsNotFound(view.status());
  // Gives back its share of the budget, which may be gone once the flight is concluded.
  fetched = absl::CancelledError();
  if (start_over && flight->attempts < kMaxAttempts) {
    Start(flight);
    return;
  }
  (!view.ok()                ? metrics_.views_failed
   : *view == flight->base   ? metrics_.views_unchanged
   : flight->base != nullptr ? metrics_.views_advanced
                             : metrics_.views_new)
      .Increment();
  Conclude(flight, std::move(view));
}

void ViewCache::Conclude(const std::shared_ptr<Flight>& flight, absl::StatusOr<ViewPtr> view) {
  std::shared_ptr<Flight> next;
  // Freed once the lock is: a view may be large.
  std::vector<ViewPtr> dropped;
  {
    MutexLock lock(mutex_);
    if (view.ok()) {
      dropped.push_back(Keep(flight->collection, *view));
    } else if (!IsTransient(view.status())) {
      dropped.push_back(Drop(entries_[flight->collection]));
    }
    if (flight->shared) {
      Entry& entry = entries_[flight->collection];
      entry.in_flight = false;
      if (!entry.waiting.empty()) next = NewSharedFlight(flight->collection, entry);
    }
    EvictBeyondBudget(&dropped);
    RemoveIfIdle(flight->collection);
  }
  if (next) Start(next);
  if (view.ok() && flight->header_only) view = (*view)->AppliedOnly();
  for (Ready& ready : std::exchange(flight->waiters, {})) ready(view);
  // Nothing of this is touched after the last flight is gone.
  MutexLock lock(mutex_);
  flights_.erase(flight.get());
  landed_.notify_all();
}

ViewCache::ViewPtr ViewCache::Keep(const CollectionId& collection, ViewPtr view) {
  Entry& entry = entries_[collection];
  if (entry.view && entry.view->incarnation() == view->incarnation() &&
      Age(*view) < Age(*entry.view)) {
    return nullptr;
  }
  entry.unchanged = entry.view == view;
  ViewPtr before = Drop(entry);
  recent_.push_front(collection);
  entry.place = recent_.begin();
  bytes_ += view->bytes();
  tail_records_ += view->tail().records();
  entry.view = std::move(view);
  return before;
}

ViewCache::ViewPtr ViewCache::Drop(Entry& entry) {
  if (!entry.view) return nullptr;
  bytes_ -= entry.view->bytes();
  tail_records_ -= entry.view->tail().records();
  recent_.erase(entry.place);
  return std::exchange(entry.view, nullptr);
}

void ViewCache::RemoveIfIdle(const CollectionId& collection) {
  const auto entry = entries_.find(collection);
  if (entry != entries_.end() && !entry->second.view && !entry->second.in_flight) {
    entries_.erase(entry);
  }
}

void ViewCache::EvictBeyondBudget(std::vector<ViewPtr>* dropped) {
  while (bytes_ > options_.max_bytes) {
    const CollectionId oldest = recent_.back();
    dropped->push_back(Drop(entries_[oldest]));
    RemoveIfIdle(oldest);
    metrics_.views_evicted.Increment();
  }
  metrics_.cached_views.Set(static_cast<double>(recent_.size()));
  metrics_.cached_bytes.Set(static_cast<double>(bytes_));
  metrics_.tail_records.Set(static_cast<double>(tail_records_));
}

}  // namespace sluice::frontend

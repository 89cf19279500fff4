// The views of the collections in use, brought up to date at the log for each read.
//
// A read may only share a ReadView that begins after the read itself did (invariant 8): while one
// is under way for a collection, reads of it gather, and the next one, when that has ended, serves
// all of them. So at most one ReadView a collection is under way for reads at the tail; reads that
// wait for a SeqId to be applied, or that want only what is applied, have their own.
//
// Memory: views are kept within a budget, and the least recently used are dropped (reads go on with
// what they hold). What arrives from the log has a budget of the same size beside it, so no more
// than about twice the budget is held. Thread-safe. The destructor cancels what is under way.
#pragma once

#include <grpcpp/channel.h>

#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <stop_token>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "common/base/executor.h"
#include "common/base/mutex.h"
#include "services/frontend/metrics.h"
#include "services/frontend/segment_loader.h"
#include "services/frontend/view.h"
#include "services/frontend/view_fetch.h"
#include "sluice/v1/frontend.pb.h"
#include "sluice/v1/log.grpc.pb.h"

namespace sluice::frontend {

class ViewCache {
 public:
  using ViewPtr = std::shared_ptr<const View>;
  using Ready = absl::AnyInvocable<void(absl::StatusOr<ViewPtr>)>;

  struct Options {
    uint64_t max_bytes;
    // Of a ReadView that several reads share; one of a single read has that read's deadline.
    std::chrono::milliseconds shared_timeout;
  };
  // What one read wants.
  struct Wanted {
    CollectionId collection;
    v1::ReadLevel level;
    std::chrono::system_clock::time_point deadline;
    // Says that the read was given up.
    std::stop_token given_up;
  };

  // `segments`, `executor` and `metrics` must outlive this.
  ViewCache(const std::shared_ptr<grpc::Channel>& log, SegmentLoader& segments,
            const Options& options, Executor& executor, Metrics& metrics);
  ~ViewCache();

  // Calls `ready` once, with a view of the level wanted, on a thread that it must not hold up.
  void Take(const Wanted& wanted, Ready ready) EXCLUDES(mutex_);
  // What Take will probably give, as nothing had changed when the log was last asked. Null: the
  // level is one of its own, or the collection is being written to, or no view is kept.
  ViewPtr Guess(const Wanted& wanted) const EXCLUDES(mutex_);

 private:
  // One ReadView, repeated from nothing if what was held or listed turned out to be stale.
  struct Flight;
  struct Entry {
    ViewPtr view;
    // The last flight brought nothing new.
    bool unchanged = false;
    // A shared flight is under way; these wait for the next one.
    bool in_flight = false;
    std::vector<Ready> waiting;
    // In recent_, if there is a view.
    std::list<CollectionId>::iterator place;
  };

  void Start(const std::shared_ptr<Flight>& flight) EXCLUDES(mutex_);
  void Land(const std::shared_ptr<Flight>& flight, absl::StatusOr<FetchedView> fetched)
      EXCLUDES(mutex_);
  void Conclude(const std::shared_ptr<Flight>& flight, absl::StatusOr<ViewPtr> view)
      EXCLUDES(mutex_);
  std::shared_ptr<Flight> NewFlight(const CollectionId& collection) REQUIRES(mutex_);
  std::shared_ptr<Flight> NewSharedFlight(const CollectionId& collection, Entry& entry)
      REQUIRES(mutex_);
  // Whether a read of this level shares flights, given what is applied in the view at hand.
  static bool IsShared(const v1::ReadLevel& level, SeqId applied);
  // Both return the view that is no longer kept.
  ViewPtr Keep(const CollectionId& collection, ViewPtr view) REQUIRES(mutex_);
  ViewPtr Drop(Entry& entry) REQUIRES(mutex_);
  void RemoveIfIdle(const CollectionId& collection) REQUIRES(mutex_);
  void EvictBeyondBudget(std::vector<ViewPtr>* dropped) REQUIRES(mutex_);

  const std::unique_ptr<v1::LogService::Stub> stub_;
  SegmentLoader& segments_;
  const Options options_;
  Executor& executor_;
  Metrics& metrics_;
  ByteBudget arriving_;

  mutable Mutex mutex_;
  CondVar landed_;
  absl::flat_hash_map<CollectionId, Entry> entries_ GUARDED_BY(mutex_);
  // Collections that have a view, the most recently used first.
  std::list<CollectionId> recent_ GUARDED_BY(mutex_);
  uint64_t bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t tail_records_ GUARDED_BY(mutex_) = 0;
  absl::flat_hash_set<Flight*> flights_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
};

}  // namespace sluice::frontend

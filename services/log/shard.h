// A shard: one journal, one store, one order of commands. Propose → the writer thread stamps what
// waits, writes it to the journal as one group and syncs it → the applier thread applies the group
// to the store in one batch, and answers. The two overlap. Opening replays the journal from the
// store's applied position.
//
// Thread-safe. When the journal cannot be written (disk full or failing), also when it opens, the
// shard is read-only:
// it refuses proposals with READ_ONLY, tries to recover every so often, and goes on by itself once
// it can.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/base/mutex.h"
#include "services/log/admission.h"
#include "services/log/command.h"
#include "services/log/file.h"
#include "services/log/journal.h"
#include "services/log/proposal_queue.h"
#include "services/log/reserve.h"
#include "services/log/state_machine.h"
#include "services/log/store.h"

namespace sluice::log {

// What one group cost, for metrics.
struct GroupStats {
  size_t commands = 0;
  size_t bytes = 0;
  // Writing and syncing the journal; applying to the store.
  std::chrono::nanoseconds journal{0};
  std::chrono::nanoseconds apply{0};
};

struct ShardOptions {
  // Holds FORMAT, LOCK, journal/ and store/. One process at a time.
  std::filesystem::path folder;
  uint64_t journal_file_bytes = 64 << 20;
  StoreOptions store;  // `folder` is set by the shard
  // Proposals beyond are refused with OVERLOADED.
  Admission::Limits max_inflight;
  // A group is closed at this size (but takes at least one command).
  uint64_t max_group_bytes = 8 << 20;
  std::chrono::milliseconds seal_after{100};
  std::chrono::milliseconds probe_every{500};
  // Copied into the shard's state by a command.
  std::chrono::seconds dedupe_window{15 * 60};
  uint64_t dedupe_max_bytes = uint64_t{4} << 30;
  std::chrono::seconds grace{60 * 60};
  std::chrono::seconds trim_delay{10 * 60};
  uint64_t trim_bytes = 64 << 20;
  std::chrono::seconds max_pinned{7 * 24 * 60 * 60};
  uint64_t max_pinned_bytes = uint64_t{10} << 30;

  FileSystem* files = FileSystem::Machine();
  // Microseconds since the Unix epoch; any thread. Empty: the wall clock as it was at start, or
  // when CorrectClock was called, and the time that went by since, suspended or not.
  std::function<int64_t()> clock;

  // Both are called on the applier thread, the first before the group's answers (what moved can be
  // read), the second after them; they must not block or propose-and-wait.
  std::function<void(std::span<const LogPositions>)> on_moved;
  std::function<void(const GroupStats&)> on_group;
};

// All in microseconds since the Unix epoch.
struct ClockReading {
  // The machine's wall clock.
  int64_t wall_us = 0;
  // The clock that the shard goes by: that of start, or of the last CorrectClock, and what went by
  // since.
  int64_t clock_us = 0;
  // The shard's time, which never goes back: ahead of the clock if that was ahead once.
  int64_t time_us = 0;
};

class Shard {
 public:
  // FAILED_PRECONDITION if the folder is of a newer format or in use by another process (nothing is
  // touched then); DATA_LOSS if what was durable cannot be read.
  static absl::StatusOr<std::unique_ptr<Shard>> Open(ShardOptions options);
  // Stops if need be.
  ~Shard();

  using Callback = decltype(Proposal::done);
  // `done` is called once: on the applier thread when the command was applied, or on any thread,
  // perhaps before this returns, when it was not.
  void Propose(Command command, Callback done);
  // The same, waiting. Not from a callback.
  Result ProposeAndWait(Command command);
  // Erases what was trimmed by now from the files of store and journal. `done` is told whether that
  // succeeded, on some thread; not if the shard stops before. One at a time.
  void Erase(absl::AnyInvocable<void(bool)> done);

  // Refuses new proposals (DRAINING), answers those accepted, seals the journal and flushes the
  // store.
  void Stop();

  const std::filesystem::path& folder() const { return options_.folder; }
  const Store& store() const { return *store_; }
  Store& store() { return *store_; }

  // OK, or why proposals are refused at the moment.
  absl::Status Writable() const;
  Incarnation incarnation() const { return incarnation_; }
  // Microseconds: the clock, or, where the shard's time is ahead of it, that: it goes on at half
  // the clock's speed until the clock has caught up, so that leases still end and work still comes
  // due. What due and garbage rows are compared with.
  int64_t Now() const;
  ClockReading ReadClock() const;
  // Goes by the machine's wall clock as it is now, after that was wrong and was set right: request
  // ids are judged by it from the next group on.
  ClockReading CorrectClock();
  uint64_t InflightBytes() const { return admission_.bytes(); }
  uint64_t JournalBytes() const { return journal_bytes_.load(std::memory_order_relaxed); }

 private:
  struct Group {
    JournalPosition position;
    std::vector<Proposal> proposals;
    size_t bytes = 0;
    std::chrono::nanoseconds journal{0};
    // No group, but an erasure of what those up to the position have trimmed.
    absl::AnyInvocable<void(bool)> erased;
  };

  explicit Shard(ShardOptions options);
  absl::Status Start();
  // The store, and the journal replayed into it.
  absl::Status OpenData();
  absl::Status Configure();

  // The writer thread, and what it does.
  void RunWriter();
  Group NextGroup() REQUIRES(mutex_);
  void WriteGroup(Group group);
  void BeginErasure(absl::AnyInvocable<void(bool)> done);
  void CutJournal();
  void BoundJournal();
  // While the journal cannot be written. False: the shard is stopping.
  bool AwaitJournal();
  // After a start that used up the space set aside: refuses writes until there is as much again.
  // What is written meanwhile would be more than the next start has room for.
  void AwaitRoom();

  // The applier thread, and what it does.
  void RunApplier();
  // False: the store cannot be written and the shard is stopping; nothing was answered.
  bool ApplyGroup(Group& group);
  void EraseThrough(Group& group);
  // While the store cannot be written. False: the shard is stopping.
  bool AwaitStore(const absl::Status& error);

  void SetFailure(absl::Status* failure, absl::Status error);
  absl::Status RefusalLocked() const REQUIRES(mutex_);
  void Answer(Group& group, const absl::Status& error);
  void GiveBack(const Group& group);
  int64_t ClockLocked() const REQUIRES(clock_mutex_);
  int64_t TimeLocked(int64_t clock_us) const REQUIRES(clock_mutex_);

  const ShardOptions options_;
  std::shared_ptr<void> lock_;
  Reserve reserve_;
  // The start used up what was set aside; constant once open.
  bool starved_ = false;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Journal> journal_;       // writer thread
  std::unique_ptr<StateMachine> machine_;  // applier thread
  Incarnation incarnation_;                // constant once open
  mutable Mutex clock_mutex_;
  // The clock, less options_.clock.
  int64_t clock_offset_us_ GUARDED_BY(clock_mutex_) = 0;
  // When it was opened or the clock corrected, by the shard's time and by the clock.
  int64_t set_at_us_ GUARDED_BY(clock_mutex_) = 0;
  int64_t clock_at_set_us_ GUARDED_BY(clock_mutex_) = 0;
  // The journal's size when the store was last told to flush for it; writer thread.
  uint64_t flushed_at_bytes_ = 0;
  // Of the last group stamped.
  int64_t time_us_ GUARDED_BY(clock_mutex_) = 0;
  std::atomic<uint64_t> journal_bytes_{0};

  Admission admission_;

  mutable Mutex mutex_;
  CondVar writer_wakes_;
  CondVar applier_wakes_;
  ProposalQueue waiting_ GUARDED_BY(mutex_);
  std::deque<Group> durable_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool writer_done_ GUARDED_BY(mutex_) = false;
  bool persisted_moved_ GUARDED_BY(mutex_) = false;
  // An erasure that was asked for and has not begun.
  absl::AnyInvocable<void(bool)> erased_ GUARDED_BY(mutex_);
  absl::Status journal_failure_ GUARDED_BY(mutex_);
  absl::Status store_failure_ GUARDED_BY(mutex_);
  // What RocksDB's threads met; the applier makes it store_failure_.
  absl::Status flush_failure_ GUARDED_BY(mutex_);

  // By Start and Stop alone.
  std::thread writer_;
  std::thread applier_;
};

}  // namespace sluice::log

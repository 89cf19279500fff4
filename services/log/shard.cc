#include "services/log/shard.h"

#include <time.h>

#include <algorithm>
#include <condition_variable>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/errors/errors.h"
#include "services/log/data_folder.h"
#include "services/log/reader.h"

namespace sluice::log {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kReadOnlyRetry{500};
// The store is flushed, so that the journal can be cut, when it is as large as this many files (or
// memtables, if they are larger): commands that change next to nothing never fill a memtable.
constexpr uint64_t kMaxJournalFiles = 8;
// The space set aside, in memtables: three may be unflushed, each a little larger than it should
// be, and files of little are larger than what is in them.
constexpr uint64_t kReservedMemtables = 5;
// What a proposal costs beside its bytes.
constexpr uint64_t kProposalBytes = 256;

uint64_t CostOf(const Command& command) { return command.held_bytes() + kProposalBytes; }

int64_t MicrosSinceBoot() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

}  // namespace

Shard::Shard(ShardOptions options)
    : options_(std::move(options)),
      reserve_(options_.folder / "RESERVE", kReservedMemtables * options_.store.memtable_bytes,
               *options_.files),
      admission_(options_.max_inflight) {
  const MutexLock lock(clock_mutex_);
  if (!options_.clock) clock_offset_us_ = NowMicros() - MicrosSinceBoot();
}

absl::StatusOr<std::unique_ptr<Shard>> Shard::Open(ShardOptions options) {
  std::unique_ptr<Shard> shard(new Shard(std::move(options)));
  SLUICE_RETURN_IF_ERROR(shard->Start());
  SLUICE_RETURN_IF_ERROR(shard->Configure());
  return shard;
}

Shard::~Shard() {
  Stop();
  // RocksDB's threads call back into this until it is closed.
  machine_.reset();
  store_.reset();
}

absl::Status Shard::Start() {
  FileSystem& files = *options_.files;
  SLUICE_ASSIGN_OR_RETURN(const bool marked, CheckFormat(options_.folder, files));
  SLUICE_RETURN_IF_ERROR(files.MakeFolder(options_.folder));
  SLUICE_ASSIGN_OR_RETURN(lock_, files.Lock(options_.folder / "LOCK"));
  if (!marked) SLUICE_RETURN_IF_ERROR(MarkFormat(options_.folder, files));
  // Before the store opens: Debian's RocksDB ends the process if it finds no room then.
  reserve_.Release();
  SLUICE_RETURN_IF_ERROR(OpenData());
  starved_ = !reserve_.HoldWhatIsLeft();
  if (starved_) {
    // So that the next start has little to do.
    reserve_.Release();
    (void)store_->Flush();
    (void)reserve_.HoldWhatIsLeft();
    SetFailure(&journal_failure_, absl::UnavailableError("there is no room on the disk"));
  }
  {
    const MutexLock lock(clock_mutex_);
    time_us_ = set_at_us_ = machine_->shard().time_us();
    clock_at_set_us_ = ClockLocked();
  }
  incarnation_ = Incarnation(machine_->shard().incarnation());
  journal_bytes_ = journal_->DiskBytes();
  writer_ = std::thread([this] { RunWriter(); });
  applier_ = std::thread([this] { RunApplier(); });
  return absl::OkStatus();
}

absl::Status Shard::OpenData() {
  machine_.reset();
  store_.reset();
  StoreOptions store = options_.store;
  store.folder = options_.folder / "store";
  const auto on_persisted = [this](JournalPosition) {
    const MutexLock lock(mutex_);
    persisted_moved_ = true;
    writer_wakes_.notify_one();
  };
  const auto on_failed = [this](const absl::Status& error) {
    const MutexLock lock(mutex_);
    flush_failure_ = error;
    applier_wakes_.notify_one();
  };
  SLUICE_ASSIGN_OR_RETURN(store_, Store::Open(store, on_persisted, on_failed));
  machine_ = std::make_unique<StateMachine>(*store_);
  SLUICE_RETURN_IF_ERROR(machine_->Load());

  std::vector<LogPositions> moved;
  const JournalPosition applied(machine_->shard().applied_position());
  JournalOptions journal{.folder = options_.folder / JournalFolder(machine_->shard()),
                         .file_bytes = options_.journal_file_bytes,
                         .files = options_.files};
  SLUICE_ASSIGN_OR_RETURN(
      journal_,
      Journal::Open(std::move(journal), applied,
                    [&](JournalPosition position, std::string_view group) -> absl::Status {
                      const absl::Status read =
                          ForEachCommand(group, [&](const CommandView& command) {
                            // Who proposed it is gone; the answer is in the rows, for whoever asks
                            // again. But what needs a row that is damaged may have been
                            // acknowledged while that row was in memory: left out, what follows
                            // would get its SeqIds.
                            const Result result = machine_->Apply(command);
                            return absl::IsDataLoss(result.status()) ? result.status()
                                                                     : absl::OkStatus();
                          });
                      if (!read.ok())
                        return Annotate(read, absl::StrCat("journal group ", position.value));
                      return machine_->Finish(position, &moved);
                    }));
  return absl::OkStatus();
}

absl::Status Shard::Configure() {
  const auto micros = [](std::chrono::seconds s) {
    return std::chrono::duration_cast<std::chrono::microseconds>(s).count();
  };
  pb::Command command;
  pb::ConfigureShard& configure = *command.mutable_configure_shard();
  configure.set_incarnation(RandomUint64() | 1);
  pb::Policy& policy = *configure.mutable_policy();
  policy.set_dedupe_window_us(micros(options_.dedupe_window));
  policy.set_dedupe_max_bytes(options_.dedupe_max_bytes);
  policy.set_grace_us(micros(options_.grace));
  policy.set_trim_delay_us(micros(options_.trim_delay));
  policy.set_trim_bytes(options_.trim_bytes);
  policy.set_max_pinned_us(micros(options_.max_pinned));
  policy.set_max_pinned_bytes(options_.max_pinned_bytes);
  SLUICE_ASSIGN_OR_RETURN(const pb::ShardState before, ReadShardState(Snapshot(*store_)));
  const bool same = before.policy().SerializeAsString() == policy.SerializeAsString();
  if (before.incarnation() != 0 && same) return absl::OkStatus();
  const Result result = ProposeAndWait(Command(command));
  // A full disk does not keep a shard from being read; it goes on under the policy that it has.
  if (!result.ok() && before.incarnation() == 0) return result.status();
  SLUICE_ASSIGN_OR_RETURN(const pb::ShardState now, ReadShardState(Snapshot(*store_)));
  incarnation_ = Incarnation(now.incarnation());
  return absl::OkStatus();
}

absl::Status Shard::RefusalLocked() const {
  if (stopping_) {
    return MakeRetryableError(Reason::DRAINING, "the log is stopping", kReadOnlyRetry);
  }
  const absl::Status& failure = journal_failure_.ok() ? store_failure_ : journal_failure_;
  if (failure.ok()) return absl::OkStatus();
  return MakeRetryableError(
      Reason::READ_ONLY, absl::StrCat("the log cannot write: ", failure.message()), kReadOnlyRetry);
}

absl::Status Shard::Writable() const {
  const MutexLock lock(mutex_);
  return RefusalLocked();
}

void Shard::Propose(Command command, Callback done) {
  const Clock::time_point now = Clock::now();
  absl::Status refusal;
  {
    const MutexLock lock(mutex_);
    refusal = RefusalLocked();
    if (refusal.ok()) {
      refusal = admission_.Take(command.collection(), CostOf(command), store_->slow(), now);
    }
    if (refusal.ok()) {
      waiting_.Add({std::move(command), std::move(done)}, now);
      writer_wakes_.notify_one();
      return;
    }
  }
  done(WithOutcome(refusal, Outcome::kNotIn));
}

void Shard::Erase(absl::AnyInvocable<void(bool)> done) {
  const MutexLock lock(mutex_);
  erased_ = std::move(done);
  writer_wakes_.notify_one();
}

Result Shard::ProposeAndWait(Command command) {
  std::mutex mutex;
  std::condition_variable answered;
  std::optional<Result> result;
  Propose(std::move(command), [&](Result answer) {
    const std::lock_guard lock(mutex);
    result = std::move(answer);
    answered.notify_one();
  });
  std::unique_lock lock(mutex);
  answered.wait(lock, [&] { return result.has_value(); });
  return *std::move(result);
}

void Shard::Stop() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    writer_wakes_.notify_all();
    applier_wakes_.notify_all();
  }
  if (!writer_.joinable()) return;
  writer_.join();
  applier_.join();
  if (store_->Flush().ok()) (void)journal_->RemoveThrough(store_->persisted());
}

int64_t Shard::ClockLocked() const {
  return clock_offset_us_ + (options_.clock ? options_.clock() : MicrosSinceBoot());
}

int64_t Shard::TimeLocked(int64_t clock_us) const {
  const int64_t since_set = std::max<int64_t>(0, clock_us - clock_at_set_us_);
  return std::max({time_us_, clock_us, set_at_us_ + since_set / 2});
}

int64_t Shard::Now() const {
  const MutexLock lock(clock_mutex_);
  return TimeLocked(ClockLocked());
}

ClockReading Shard::ReadClock() const {
  const MutexLock lock(clock_mutex_);
  const int64_t clock_us = ClockLocked();
  return {NowMicros(), clock_us, TimeLocked(clock_us)};
}

ClockReading Shard::CorrectClock() {
  const MutexLock lock(clock_mutex_);
  time_us_ = set_at_us_ = TimeLocked(ClockLocked());
  const int64_t wall_us = NowMicros();
  clock_offset_us_ += wall_us - ClockLocked();
  clock_at_set_us_ = wall_us;
  return {wall_us, wall_us, time_us_};
}

// The writer thread.

void Shard::RunWriter() {
  if (starved_) AwaitRoom();
  for (;;) {
    Group group;
    bool cut = false;
    bool idle = false;
    bool stop = false;
    absl::AnyInvocable<void(bool)> erased;
    {
      const MutexLock lock(mutex_);
      const auto awake = [this]() REQUIRES(mutex_) {
        return !waiting_.empty() || stopping_ || persisted_moved_ || erased_;
      };
      if (journal_->sealed()) {
        writer_wakes_.wait(mutex_, awake);
      } else {
        idle = !writer_wakes_.wait_for(mutex_, options_.seal_after, awake);
      }
      cut = std::exchange(persisted_moved_, false);
      erased = std::exchange(erased_, nullptr);
      group = NextGroup();
      stop = stopping_ && group.proposals.empty();
    }
    if (!group.proposals.empty()) WriteGroup(std::move(group));
    // An error here is met again, and answered for, by the next group.
    if ((idle || stop) && journal_->failure().ok()) (void)journal_->Seal();
    if (erased) BeginErasure(std::move(erased));
    if (cut) CutJournal();
    BoundJournal();
    journal_bytes_.store(journal_->DiskBytes(), std::memory_order_relaxed);
    if (stop || (!journal_->failure().ok() && !AwaitJournal())) break;
  }
  std::deque<Proposal> left;
  {
    const MutexLock lock(mutex_);
    left = waiting_.TakeAll();
    writer_done_ = true;
    applier_wakes_.notify_one();
  }
  Group refused;
  for (Proposal& proposal : left) refused.proposals.push_back(std::move(proposal));
  Answer(refused,
         WithOutcome(MakeError(Reason::READ_ONLY, "the log stopped while it could not write"),
                     Outcome::kNotIn));
}

Shard::Group Shard::NextGroup() {
  ProposalQueue::Group taken = waiting_.TakeGroup(options_.max_group_bytes, Clock::now());
  Group group;
  group.proposals = std::move(taken.proposals);
  group.bytes = taken.bytes;
  return group;
}

void Shard::WriteGroup(Group group) {
  int64_t time_us = 0;
  int64_t ahead_us = 0;
  {
    const MutexLock lock(clock_mutex_);
    const int64_t clock_us = ClockLocked();
    time_us = time_us_ = TimeLocked(clock_us);
    ahead_us = time_us - clock_us;
  }
  std::vector<std::string_view> parts;
  parts.reserve(2 * group.proposals.size());
  for (Proposal& proposal : group.proposals) {
    proposal.command.Stamp(time_us, ahead_us);
    parts.push_back(proposal.command.head());
    if (!proposal.command.records().empty()) parts.push_back(proposal.command.records());
  }
  const auto start = Clock::now();
  const absl::Status written = journal_->Append(parts);
  group.journal = Clock::now() - start;
  if (!written.ok()) {
    Answer(group, written);
    return;
  }
  group.position = journal_->last();
  const MutexLock lock(mutex_);
  durable_.push_back(std::move(group));
  applier_wakes_.notify_one();
}

void Shard::BeginErasure(absl::AnyInvocable<void(bool)> done) {
  // Where the store cannot write, files of the journal would only become more.
  if (!Writable().ok() || !journal_->Shed().ok()) return done(false);
  Group group;
  group.position = journal_->last();
  group.erased = std::move(done);
  const MutexLock lock(mutex_);
  durable_.push_back(std::move(group));
  applier_wakes_.notify_one();
}

void Shard::CutJournal() {
  // Files that could not be given back are tried again after the next flush.
  (void)journal_->RemoveThrough(store_->persisted());
  flushed_at_bytes_ = 0;
}

void Shard::BoundJournal() {
  const uint64_t bytes = journal_->DiskBytes();
  const uint64_t most =
      kMaxJournalFiles * std::max(options_.journal_file_bytes, options_.store.memtable_bytes);
  // Once for each file that comes.
  if (bytes <= most || bytes == flushed_at_bytes_) return;
  flushed_at_bytes_ = bytes;
  // A store that cannot write says so when it is written to.
  (void)store_->BeginFlush();
}

void Shard::AwaitRoom() {
  CutJournal();
  while (!reserve_.Hold()) {
    const MutexLock lock(mutex_);
    if (writer_wakes_.wait_for(mutex_, options_.probe_every,
                               [this]() REQUIRES(mutex_) { return stopping_; })) {
      return;
    }
  }
  SetFailure(&journal_failure_, absl::OkStatus());
}

bool Shard::AwaitJournal() {
  SetFailure(&journal_failure_, journal_->failure());
  Group refused;
  {
    const MutexLock lock(mutex_);
    for (Proposal& proposal : waiting_.TakeAll()) {
      refused.proposals.push_back(std::move(proposal));
    }
  }
  Answer(refused, WithOutcome(MakeRetryableError(Reason::READ_ONLY,
                                                 absl::StrCat("the log cannot write: ",
                                                              journal_->failure().message()),
                                                 kReadOnlyRetry),
                              Outcome::kNotIn));
  while (!journal_->Reopen().ok()) {
    const MutexLock lock(mutex_);
    if (writer_wakes_.wait_for(mutex_, options_.probe_every,
                               [this]() REQUIRES(mutex_) { return stopping_; })) {
      return false;
    }
  }
  SetFailure(&journal_failure_, absl::OkStatus());
  (void)reserve_.Hold();
  return true;
}

// The applier thread.

void Shard::RunApplier() {
  bool applying = true;
  for (;;) {
    Group group;
    absl::Status flush_failure;
    {
      const MutexLock lock(mutex_);
      applier_wakes_.wait(mutex_, [this]() REQUIRES(mutex_) {
        return !durable_.empty() || writer_done_ || !flush_failure_.ok();
      });
      flush_failure = std::exchange(flush_failure_, absl::OkStatus());
      if (flush_failure.ok()) {
        if (durable_.empty()) return;
        group = std::move(durable_.front());
        durable_.pop_front();
      }
    }
    if (!flush_failure.ok()) {
      (void)AwaitStore(flush_failure);
      continue;
    }
    if (group.erased) {
      if (applying) EraseThrough(group);
      continue;
    }
    // Never one after a group that was left out.
    applying = applying && ApplyGroup(group);
    if (applying) continue;
    // They are in the journal, and what they do is known once they are applied, at the next start.
    Answer(group, WithOutcome(MakeError(Reason::COMMIT_UNKNOWN,
                                        "the log stopped before it could apply the change"),
                              Outcome::kUnknown));
  }
}

void Shard::EraseThrough(Group& group) {
  // What is persisted then lets the files of the journal go that were shed, seals included.
  std::vector<LogPositions> moved;
  if (!machine_->Finish(group.position, &moved).ok()) return group.erased(false);
  store_->Erase(std::move(group.erased));
}

bool Shard::ApplyGroup(Group& group) {
  const auto start = Clock::now();
  std::vector<Result> results;
  std::vector<LogPositions> moved;
  for (;;) {
    results.clear();
    results.reserve(group.proposals.size());
    for (const Proposal& proposal : group.proposals) {
      const auto command = DecodeCommand(proposal.command.head(), proposal.command.records());
      SLUICE_CHECK(command.ok());
      results.push_back(machine_->Apply(*command));
    }
    const absl::Status finished = machine_->Finish(group.position, &moved);
    if (finished.ok()) break;
    if (!AwaitStore(finished)) return false;
  }
  GroupStats stats;
  stats.apply = Clock::now() - start;
  stats.journal = group.journal;
  stats.commands = group.proposals.size();
  stats.bytes = group.bytes;
  // Before the answers, so that a subscriber does not wait for those of the whole group.
  if (options_.on_moved && !moved.empty()) options_.on_moved(moved);
  for (size_t i = 0; i < results.size(); ++i) {
    group.proposals[i].done(std::move(results[i]));
  }
  GiveBack(group);
  if (options_.on_group) options_.on_group(stats);
  return true;
}

bool Shard::AwaitStore(const absl::Status& error) {
  SetFailure(&store_failure_, error);
  bool recovered = false;
  while (!recovered) {
    {
      const MutexLock lock(mutex_);
      if (applier_wakes_.wait_for(mutex_, options_.probe_every,
                                  [this]() REQUIRES(mutex_) { return stopping_; })) {
        return false;
      }
    }
    recovered = store_->Recover().ok();
  }
  (void)reserve_.Hold();
  const MutexLock lock(mutex_);
  store_failure_ = absl::OkStatus();
  flush_failure_ = absl::OkStatus();
  return true;
}

void Shard::SetFailure(absl::Status* failure, absl::Status error) {
  const MutexLock lock(mutex_);
  *failure = std::move(error);
}

void Shard::Answer(Group& group, const absl::Status& error) {
  for (Proposal& proposal : group.proposals) proposal.done(error);
  GiveBack(group);
}

void Shard::GiveBack(const Group& group) {
  const Clock::time_point now = Clock::now();
  for (const Proposal& proposal : group.proposals) {
    admission_.GiveBack(proposal.command.collection(), CostOf(proposal.command), now);
  }
}

}  // namespace sluice::log

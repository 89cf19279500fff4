#include "services/log/store_env.h"

#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "common/base/mutex.h"
#include "services/log/store_files.h"

namespace sluice::log {

class StoreEnv::JobGate {
 public:
  struct Job {
    std::shared_ptr<JobGate> gate;
    void (*run)(void* arg);
    void* arg;
    Priority priority;
    void* tag;
    void (*drop)(void* arg);
    // It begins although flushes are held.
    bool is_exempt = false;

    // Flushes, and deletions of files, are what RocksDB calls HIGH.
    bool is_flush() const { return priority == Priority::HIGH; }
  };

  explicit JobGate(rocksdb::Env* threads) : threads_(threads) {}

  void Schedule(std::unique_ptr<Job> job) {
    const Priority priority = job->priority;
    void* const tag = job->tag;
    threads_->Schedule(&JobGate::Run, job.release(), priority, tag, &JobGate::Drop);
  }

  void Hold(bool from_flush) {
    const MutexLock lock(mutex_);
    held_ = !closed_;
    if (!from_flush) AwaitEnd(flushes_);
  }

  void AwaitQuiet() {
    const MutexLock lock(mutex_);
    AwaitEnd(flushes_);
    AwaitEnd(others_);
    if (aside_.empty()) held_ = false;
  }

  void BeginAside() {
    std::vector<std::unique_ptr<Job>> aside;
    {
      const MutexLock lock(mutex_);
      aside.swap(aside_);
    }
    for (auto& job : aside) {
      job->is_exempt = true;
      Schedule(std::move(job));
    }
  }

  void Release(bool for_good) {
    {
      const MutexLock lock(mutex_);
      held_ = false;
      closed_ = closed_ || for_good;
      ended_.notify_all();
    }
    BeginAside();
  }

 private:
  static void Run(void* arg) {
    std::unique_ptr<Job> job(static_cast<Job*>(arg));
    const std::shared_ptr<JobGate> gate = job->gate;
    const bool is_flush = job->is_flush();
    uint64_t number = 0;
    {
      const MutexLock lock(gate->mutex_);
      if (is_flush && gate->held_ && !job->is_exempt) {
        gate->aside_.push_back(std::move(job));
        return;
      }
      number = gate->next_number_++;
      (is_flush ? gate->flushes_ : gate->others_).insert(number);
    }
    if (is_flush) {
      job->run(job->arg);
    } else {
      const StoreFiles::Compacting compacting;
      job->run(job->arg);
    }
    const MutexLock lock(gate->mutex_);
    (is_flush ? gate->flushes_ : gate->others_).erase(number);
    gate->ended_.notify_all();
  }

  static void Drop(void* arg) {
    const std::unique_ptr<Job> job(static_cast<Job*>(arg));
    if (job->drop != nullptr) job->drop(job->arg);
  }

  // Of those at work now: one that is tried again and again is never seen to have none after it.
  void AwaitEnd(const std::set<uint64_t>& running) REQUIRES(mutex_) {
    const uint64_t next = next_number_;
    ended_.wait(mutex_, [&]() REQUIRES(mutex_) {
      return closed_ || running.empty() || *running.begin() >= next;
    });
  }

  rocksdb::Env* const threads_;
  Mutex mutex_;
  CondVar ended_;
  bool held_ GUARDED_BY(mutex_) = false;
  bool closed_ GUARDED_BY(mutex_) = false;
  // Those at work, by number: they count up as they begin.
  std::set<uint64_t> flushes_ GUARDED_BY(mutex_);
  std::set<uint64_t> others_ GUARDED_BY(mutex_);
  uint64_t next_number_ GUARDED_BY(mutex_) = 0;
  std::vector<std::unique_ptr<Job>> aside_ GUARDED_BY(mutex_);
};

StoreEnv::StoreEnv(const std::shared_ptr<rocksdb::FileSystem>& files,
                   const std::shared_ptr<rocksdb::SystemClock>& clock)
    : StoreEnv(std::make_shared<StoreFiles>(files ? files : rocksdb::FileSystem::Default()),
               clock) {}

StoreEnv::StoreEnv(std::shared_ptr<StoreFiles> files,
                   const std::shared_ptr<rocksdb::SystemClock>& clock)
    : EnvWrapper(rocksdb::NewCompositeEnv(files)),
      files_(std::move(files)),
      gate_(std::make_shared<JobGate>(target())) {
  // RocksDB asks now the one, now the other.
  file_system_ = target()->GetFileSystem();
  system_clock_ = clock ? clock : rocksdb::SystemClock::Default();
}

void StoreEnv::Schedule(void (*run)(void* arg), void* arg, Priority priority, void* tag,
                        void (*drop)(void* arg)) {
  gate_->Schedule(
      std::make_unique<JobGate::Job>(JobGate::Job{gate_, run, arg, priority, tag, drop}));
}

void StoreEnv::HurryFlush(bool late) { files_->Hurry(late); }

void StoreEnv::HoldFlushes(bool from_flush) { gate_->Hold(from_flush); }

void StoreEnv::AwaitQuiet() { gate_->AwaitQuiet(); }

void StoreEnv::BeginFlushesAside() { gate_->BeginAside(); }

void StoreEnv::ReleaseFlushes() { gate_->Release(/*for_good=*/false); }

void StoreEnv::NeverHoldAgain() { gate_->Release(/*for_good=*/true); }

}  // namespace sluice::log

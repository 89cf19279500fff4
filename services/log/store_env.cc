#include "services/log/store_env.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>

#include "services/log/store_files.h"

namespace sluice::log {
namespace {

// Of this thread: none, about to begin, or begun.
enum class FlushState { kNone, kBeginning, kBegun };
thread_local FlushState flush_state = FlushState::kNone;

}  // namespace

StoreEnv::StoreEnv(const StoreOptions& options)
    : EnvWrapper(rocksdb::NewCompositeEnv(std::make_shared<StoreFiles>(
          options.files ? options.files : rocksdb::FileSystem::Default()))) {
  // RocksDB asks now the one, now the other.
  file_system_ = target()->GetFileSystem();
  system_clock_ = options.clock ? options.clock : rocksdb::SystemClock::Default();
}

void StoreEnv::Schedule(void (*function)(void*), void* arg, Priority priority, void* tag,
                        void (*unscheduled)(void*)) {
  if (priority != Priority::HIGH) {
    return target()->Schedule(function, arg, priority, tag, unscheduled);
  }
  HandOver(new Flush{this, function, arg, tag, unscheduled, /*let_go=*/false});
}

void StoreEnv::HandOver(Flush* flush) {
  target()->Schedule(&Run, flush, Priority::HIGH, flush->tag, &Drop);
}

void StoreEnv::Run(void* raw) {
  auto* const flush = static_cast<Flush*>(raw);
  StoreEnv& env = *flush->env;
  {
    const MutexLock lock(env.mutex_);
    if (env.holding_ && !flush->let_go) return env.held_.push_back(flush);
    ++env.beginning_;
  }
  flush_state = FlushState::kBeginning;
  const std::unique_ptr<Flush> owned(flush);
  flush->function(flush->arg);
  // If it ended before it began.
  env.FlushBegan();
  flush_state = FlushState::kNone;
}

void StoreEnv::Drop(void* raw) {
  const std::unique_ptr<Flush> flush(static_cast<Flush*>(raw));
  if (flush->unscheduled != nullptr) flush->unscheduled(flush->arg);
}

void StoreEnv::FlushBegan() {
  if (flush_state != FlushState::kBeginning) return;
  flush_state = FlushState::kBegun;
  const MutexLock lock(mutex_);
  if (--beginning_ == 0) begun_.notify_all();
}

void StoreEnv::HoldFlushes() {
  // An error of the flush itself: it has begun, or ends without.
  FlushBegan();
  const MutexLock lock(mutex_);
  if (closing_) return;
  holding_ = true;
  begun_.wait(mutex_, [this]() REQUIRES(mutex_) { return beginning_ == 0; });
}

rocksdb::Status StoreEnv::Resume(const std::function<rocksdb::Status()>& resume) {
  // Resume does not say when it has begun. But of two calls at once, one recovers, and cannot end
  // while flushes are held, and the other returns at once: then the first is under way. Which is
  // which may change, as errors come and go, so each calls again while the other is in its call.
  constexpr std::chrono::microseconds kPause(200);
  std::atomic<bool> calls[2] = {true, true};
  const auto call = [&](int self) {
    std::atomic<bool>& other_calls = calls[1 - self];
    for (;;) {
      rocksdb::Status status = resume();
      calls[self] = false;
      if (!other_calls) return status;
      LetGo();
      std::this_thread::sleep_for(kPause);
      if (!other_calls) return status;
      calls[self] = true;
    }
  };
  rocksdb::Status first;
  std::thread other([&] { first = call(0); });
  const rocksdb::Status second = call(1);
  other.join();
  // One that is busy, or has nothing left to do, says nothing.
  const bool second_tells = first.ok() || first.IsBusy();
  rocksdb::Status status = second_tells && !second.IsBusy() ? second : first;
  if (status.ok()) {
    StopHolding();
  } else {
    HoldFlushes();
  }
  return status;
}

void StoreEnv::LetGo() {
  std::vector<Flush*> flushes;
  {
    const MutexLock lock(mutex_);
    flushes = std::exchange(held_, {});
  }
  for (Flush* flush : flushes) {
    flush->let_go = true;
    HandOver(flush);
  }
}

void StoreEnv::StopHolding() {
  {
    const MutexLock lock(mutex_);
    holding_ = false;
  }
  LetGo();
}

void StoreEnv::Close() {
  {
    const MutexLock lock(mutex_);
    closing_ = true;
  }
  StopHolding();
}

}  // namespace sluice::log

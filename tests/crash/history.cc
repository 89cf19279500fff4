#include "tests/crash/history.h"

#include <utility>

#include "common/record/scan.h"

namespace sluice::testing {

RecordDigest DigestOf(const v1::OperationRecord& record) {
  return IdHash64(record.SerializeAsString());
}

Moment Recorder::Now() const {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() -
                                                               began_)
      .count();
}

size_t Recorder::Begin(PushedAppend append) {
  MutexLock lock(mutex_);
  history_.appends.push_back(std::move(append));
  return history_.appends.size() - 1;
}

void Recorder::Answered(const PushCall& call) {
  MutexLock lock(mutex_);
  history_.pushes.push_back(call);
  if (call.outcome == Outcome::kUnknown) ++unknown_;
  ++operations_;
  moved_.notify_all();
}

void Recorder::Saw(Observation observation) {
  MutexLock lock(mutex_);
  if (!observation.subscriber) {
    ++operations_;
    moved_.notify_all();
  }
  history_.observations.push_back(std::move(observation));
}

void Recorder::Unexpected(std::string what) {
  MutexLock lock(mutex_);
  history_.unexpected.push_back(std::move(what));
}

bool Recorder::AwaitOperations(uint64_t more, std::chrono::milliseconds within) {
  MutexLock lock(mutex_);
  const uint64_t enough = operations_ + more;
  return moved_.wait_for(mutex_, within, [&] { return operations_ >= enough; });
}

bool Recorder::AwaitUnknown(uint64_t more, std::chrono::milliseconds within) {
  MutexLock lock(mutex_);
  const uint64_t enough = unknown_ + more;
  return moved_.wait_for(mutex_, within, [&] { return unknown_ >= enough; });
}

History Recorder::Take() {
  MutexLock lock(mutex_);
  return std::exchange(history_, {});
}

}  // namespace sluice::testing

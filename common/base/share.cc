#include "common/base/share.h"

#include <memory>
#include <optional>

#include "common/base/mutex.h"

namespace sluice {
namespace {

// Helpers may come when all is over: they find no part, and touch nothing else.
class SharedWork {
 public:
  SharedWork(size_t parts, absl::FunctionRef<void(size_t)> part) : parts_(parts), part_(part) {}

  void Help(const Executor& helpers) EXCLUDES(mutex_) {
    while (!helpers.HasWaiting() && DoNext()) continue;
  }
  void DoAll() EXCLUDES(mutex_) {
    while (DoNext()) continue;
    const MutexLock lock(mutex_);
    while (ended_ < parts_) all_ended_.wait(mutex_);
  }

 private:
  // False: all are begun.
  bool DoNext() EXCLUDES(mutex_) {
    const std::optional<size_t> next = Begin();
    if (!next) return false;
    part_(*next);
    const MutexLock lock(mutex_);
    if (++ended_ == parts_) all_ended_.notify_all();
    return true;
  }

  std::optional<size_t> Begin() EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    if (begun_ == parts_) return std::nullopt;
    return begun_++;
  }

  const size_t parts_;
  const absl::FunctionRef<void(size_t)> part_;

  Mutex mutex_;
  CondVar all_ended_;
  size_t begun_ GUARDED_BY(mutex_) = 0;
  size_t ended_ GUARDED_BY(mutex_) = 0;
};

}  // namespace

void Share(size_t parts, Executor* helpers, absl::FunctionRef<void(size_t)> part) {
  const auto work = std::make_shared<SharedWork>(parts, part);
  for (size_t i = 1; helpers != nullptr && i < parts; ++i) {
    if (!helpers->Offer([work, helpers] { work->Help(*helpers); })) break;
  }
  work->DoAll();
}

}  // namespace sluice

#include "services/log/reserve.h"

#include "absl/status/status.h"

namespace sluice::log {
namespace {

// Less than one in so many of the whole is not worth having.
constexpr uint64_t kLeastShare = 16;

}  // namespace

void Reserve::Hold() {
  const MutexLock lock(mutex_);
  if (!held_) held_ = Allocate(2 * bytes_, bytes_);
}

bool Reserve::Release() {
  const MutexLock lock(mutex_);
  held_ = false;
  return files_.Remove(path_).ok();
}

void Reserve::HoldWhatIsLeft() {
  const MutexLock lock(mutex_);
  for (uint64_t bytes = bytes_; bytes >= bytes_ / kLeastShare && bytes > 0; bytes /= 2) {
    if (Allocate(bytes, bytes)) return;
  }
}

bool Reserve::Allocate(uint64_t bytes, uint64_t size) {
  const auto file = files_.Open(path_, bytes);
  if (file.ok() && (*file)->Truncate(size).ok()) return true;
  // Some of it may have been taken before there was no more.
  (void)files_.Remove(path_);
  return false;
}

}  // namespace sluice::log

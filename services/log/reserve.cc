#include "services/log/reserve.h"

#include "absl/status/status.h"

namespace sluice::log {
namespace {

// Less than one in so many of the whole is not worth having.
constexpr uint64_t kLeastShare = 16;

}  // namespace

bool Reserve::Hold() {
  const MutexLock lock(mutex_);
  if (!held_) held_ = Allocate(2 * bytes_, bytes_);
  return held_;
}

void Reserve::Release() {
  const MutexLock lock(mutex_);
  held_ = false;
  (void)files_.Remove(path_);
}

bool Reserve::HoldWhatIsLeft() {
  const MutexLock lock(mutex_);
  for (uint64_t bytes = bytes_; bytes >= bytes_ / kLeastShare && bytes > 0; bytes /= 2) {
    if (!Allocate(bytes, bytes)) continue;
    held_ = bytes == bytes_;
    break;
  }
  return held_;
}

bool Reserve::Allocate(uint64_t bytes, uint64_t size) {
  const auto file = files_.Open(path_, bytes);
  if (file.ok() && (*file)->Truncate(size).ok()) return true;
  // Some of it may have been taken before there was no more.
  (void)files_.Remove(path_);
  return false;
}

}  // namespace sluice::log

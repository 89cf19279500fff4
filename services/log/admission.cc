#include "services/log/admission.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"

namespace sluice::log {
namespace {

using std::chrono::milliseconds;

constexpr uint64_t kRoomBesidePushes = 4 << 20;
// Of a collection's bytes, what may wait for a store that is slow: one in so many.
constexpr uint64_t kShareWhenSlow = 4;
constexpr milliseconds kPaceInterval{100};
constexpr milliseconds kLeastRetry{20};
constexpr milliseconds kUsualRetry{50};
constexpr milliseconds kMostRetry{2'000};

}  // namespace

absl::Status Admission::Take(const CollectionId& collection, uint64_t bytes, bool store_slow,
                             Clock::time_point now) {
  const bool push = !collection.is_nil();
  const MutexLock lock(mutex_);
  // The pace is that of a time in which there was something to answer.
  if (bytes_ == 0) {
    pace_since_ = now;
    answered_ = 0;
  } else {
    const uint64_t most = limits_.node_bytes + (push ? 0 : kRoomBesidePushes);
    if (bytes_ + bytes > most) return Refuse("node", bytes_);
  }
  if (push) {
    uint64_t& of_collection = of_collection_[collection];
    const uint64_t after = of_collection + bytes;
    if (of_collection > 0 && after > limits_.collection_bytes) {
      return Refuse("collection", of_collection);
    }
    if (of_collection > 0 && store_slow && after > limits_.collection_bytes / kShareWhenSlow) {
      return Refuse("store", of_collection);
    }
    of_collection += bytes;
  }
  bytes_ += bytes;
  return absl::OkStatus();
}

void Admission::GiveBack(const CollectionId& collection, uint64_t bytes, Clock::time_point now) {
  const MutexLock lock(mutex_);
  bytes_ -= bytes;
  answered_ += bytes;
  if (now - pace_since_ >= kPaceInterval) {
    pace_ =
        static_cast<double>(answered_) / std::chrono::duration<double>(now - pace_since_).count();
    pace_since_ = now;
    answered_ = 0;
  }
  if (collection.is_nil()) return;
  const auto it = of_collection_.find(collection);
  it->second -= bytes;
  if (it->second == 0) of_collection_.erase(it);
}

uint64_t Admission::bytes() const {
  const MutexLock lock(mutex_);
  return bytes_;
}

absl::Status Admission::Refuse(std::string_view limit, uint64_t in_flight) const {
  milliseconds wait = kUsualRetry;
  if (pace_ > 0) {
    const double seconds = static_cast<double>(in_flight) / pace_;
    wait = std::clamp(milliseconds(static_cast<int64_t>(std::min(seconds, 10.0) * 1000)),
                      kLeastRetry, kMostRetry);
  }
  const std::string name(limit);
  return MakeRetryableError(
      Reason::OVERLOADED,
      absl::StrCat(in_flight, " bytes are in flight already; the limit is the ", name, "'s"), wait,
      {{"limit", name}});
}

}  // namespace sluice::log

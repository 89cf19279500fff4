#include "services/compactor/lease.h"

#include <string>
#include <utility>

#include "common/base/mutex.h"
#include "common/errors/errors.h"
#include "services/compactor/failure.h"

namespace sluice::compactor {
namespace {

constexpr size_t kMaxMessageBytes = 1024;

// Cut where a character begins: the message must stay UTF-8.
std::string_view Cut(std::string_view message) {
  if (message.size() <= kMaxMessageBytes) return message;
  size_t end = kMaxMessageBytes;
  while (end > 0 && (message[end] & 0xc0) == 0x80) --end;
  return message.substr(0, end);
}

}  // namespace

HeldLease::HeldLease(client::Compaction& client, v1::Lease lease, uint32_t lease_ms)
    : client_(client),
      lease_(std::move(lease)),
      lease_ms_(lease_ms),
      renewer_([this](const std::stop_token& stop) { Renew(stop); }) {}

absl::Status HeldLease::Check() const {
  if (!lost_) return absl::OkStatus();
  return MakeError(Reason::LEASE_LOST, "the lease was taken over while work went on");
}

absl::Status HeldLease::Release(v1::ReleaseReason reason, std::chrono::milliseconds retry_after,
                                std::string_view message) {
  renewer_.request_stop();
  v1::ReleaseRequest request;
  *request.mutable_lease() = lease_;
  request.set_reason(reason);
  request.set_retry_after_ms(static_cast<uint32_t>(retry_after.count()));
  request.set_message(std::string(Cut(message)));
  return client_.Release(request);
}

void HeldLease::Renew(const std::stop_token& stop) {
  Mutex mutex;
  CondVar wake;
  const auto never = [] { return false; };
  v1::RenewRequest request;
  *request.mutable_lease() = lease_;
  request.set_lease_ms(lease_ms_);
  while (!lost_) {
    {
      MutexLock lock(mutex);
      wake.wait_for(mutex, stop, std::chrono::milliseconds(lease_ms_ / 3), never);
    }
    if (stop.stop_requested()) return;
    // Any other failure is tried again: a lease that ran out but that nobody took can still be
    // renewed.
    const absl::StatusOr<v1::RenewResponse> renewed = client_.Renew(request);
    if (!renewed.ok() && ClassOf(renewed.status()) == Failure::kLost) lost_ = true;
  }
}

}  // namespace sluice::compactor

// A granted lease while work goes on under it: renewed in the background until it is released or
// goes out of scope.
//
// Release ends it in the log, best effort: a lease that is never released runs out by itself. Held
// by one thread; `lost` from any.
#pragma once

#include <atomic>
#include <chrono>
#include <string_view>
#include <thread>

#include "absl/status/status.h"
#include "common/client/client.h"
#include "sluice/v1/compaction.pb.h"

namespace sluice::compactor {

class HeldLease {
 public:
  // `lease_ms`: what was asked for in the claim; renewed each third of it.
  HeldLease(client::Compaction& client, v1::Lease lease, uint32_t lease_ms);
  // Stops renewing, without a release.
  ~HeldLease() = default;
  HeldLease(const HeldLease&) = delete;
  HeldLease& operator=(const HeldLease&) = delete;

  const v1::Lease& lease() const { return lease_; }
  // OK, or LEASE_LOST once a renewal has said so. To be asked between stages, so that no work is
  // done in vain; what makes it safe is the log's fence.
  absl::Status Check() const;
  absl::Status Release(v1::ReleaseReason reason, std::chrono::milliseconds retry_after,
                       std::string_view message);

 private:
  void Renew(const std::stop_token& stop);

  client::Compaction& client_;
  const v1::Lease lease_;
  const uint32_t lease_ms_;
  std::atomic<bool> lost_{false};
  std::jthread renewer_;
};

}  // namespace sluice::compactor

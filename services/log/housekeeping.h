// What a log node does by itself, once a second: does what retention says where it is due, has
// erased what is to be, finishes what a crash left half done in the catalog, and looks at the
// figures that metrics show.
//
// One thread of its own, which only reads and proposes: it never waits for the journal.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>

#include "absl/status/status.h"
#include "services/log/figures.h"
#include "services/log/service_core.h"

namespace sluice::log {

class Housekeeping {
 public:
  // `core` must outlive this, and its shard be there.
  explicit Housekeeping(ServiceCore& core);

  // Ends the thread. Proposals may still be answered afterwards.
  void Stop();

  // Whether the loop still turns.
  absl::Status Alive() const;

 private:
  void Run(const std::stop_token& stop);
  void SettleCatalog();
  absl::Status ProposeRetention();
  absl::Status EraseWhatIsDue();
  absl::Status MeasureWork();
  absl::Status MeasureCursors();
  absl::Status LookAtBackups();

  ServiceCore& core_;
  // Shared with what is under way when this ends.
  struct UnderWay {
    std::atomic<int> retains = 0;
    std::atomic<bool> erasing = false;
    std::atomic<bool> settling = false;
    std::atomic<bool> settled = false;
  };
  const std::shared_ptr<UnderWay> under_way_ = std::make_shared<UnderWay>();
  std::atomic<std::chrono::steady_clock::time_point> last_turn_;
  // The thread's: since when an erasure has been due, as this process saw it; and when the next one
  // may begin.
  std::optional<std::chrono::steady_clock::time_point> erase_due_since_;
  std::chrono::steady_clock::time_point erase_not_before_;
  StallWatch stalls_;
  std::jthread thread_;
};

}  // namespace sluice::log

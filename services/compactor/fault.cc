#include "services/compactor/fault.h"

#include <signal.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"

namespace sluice::compactor {

absl::Status Faults::Arm(std::string_view fault) {
  if (fault.empty()) return absl::OkStatus();
  const bool kill = fault.starts_with("kill:");
  const bool stop = fault.starts_with("stop:");
  const auto stage = kill || stop
                         ? std::find(kStageNames.begin(), kStageNames.end(), fault.substr(5))
                         : kStageNames.end();
  if (stage == kStageNames.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("compactor.fault: '", std::string(fault),
                     "' is not kill:STAGE or stop:STAGE of a known stage"));
  }
  signal_ = kill ? SIGKILL : SIGSTOP;
  armed_ = static_cast<int>(stage - kStageNames.begin());
  return absl::OkStatus();
}

void Faults::Reach(Stage stage) {
  int expected = static_cast<int>(stage);
  if (armed_.load(std::memory_order_relaxed) != expected) return;
  // To this thread, which goes not one step further; either signal then takes the whole process.
  if (armed_.compare_exchange_strong(expected, kNone)) raise(signal_);
}

}  // namespace sluice::compactor

#include "common/embed/health.h"

#include <algorithm>

namespace sluice::embed {
namespace {

constexpr int kFailuresThatEject = 3;
constexpr std::chrono::milliseconds kFirstProbe{500};
constexpr std::chrono::milliseconds kMostBetweenProbes{30'000};

// Otherwise it lives, and it answers.
bool IsOwn(Fault fault) { return fault == Fault::kUnreachable || fault == Fault::kIll; }

}  // namespace

void Health::ProbeEnded(const std::optional<Failure>& failure, Time now, double share) {
  probing_ = false;
  if (!failure || !IsOwn(failure->fault)) {
    well_ = true;
    failures_ = 0;
    probes_failed_ = 0;
    return;
  }
  words_ = failure->words;
  ++probes_failed_;
  ProbeAfter(now, share);
}

void Health::CallFailed(const Failure& failure, Time now, double share) {
  if (!IsOwn(failure.fault)) {
    failures_ = 0;
    return;
  }
  words_ = failure.words;
  if (++failures_ < kFailuresThatEject || !well_) return;
  well_ = false;
  probes_failed_ = 0;
  ProbeAfter(now, share);
}

void Health::ProbeAfter(Time now, double share) {
  const auto pause =
      std::min(kMostBetweenProbes, kFirstProbe * (1 << std::min(probes_failed_, 10)));
  next_probe_ =
      now + std::chrono::duration_cast<std::chrono::milliseconds>(pause * (0.5 + share / 2));
}

}  // namespace sluice::embed

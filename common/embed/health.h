// Whether one endpoint is fit for work, and when to look again. Pure: time and chance are given.
//
// An endpoint begins unproven. A probe that succeeds makes it well; three failures of its own in a
// row (unreachable, ill) eject it. Until it is well again it gets nothing but probes, each later
// than the last: 0.5 s doubling to 30 s, of which a random half. One thread at a time.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "common/embed/embed_client.h"

namespace sluice::embed {

class Health {
 public:
  using Time = std::chrono::steady_clock::time_point;

  bool well() const { return well_; }
  bool probing() const { return probing_; }
  bool ProbeDue(Time now) const { return !well_ && !probing_ && now >= next_probe_; }
  Time next_probe() const { return next_probe_; }
  // Of its last failure.
  const std::string& words() const { return words_; }

  void ProbeBegins() { probing_ = true; }
  // Well unless the probe met a failure of the endpoint's own; one that is busy, or does not know
  // the model that it was asked for, is.
  void ProbeEnded(const std::optional<Failure>& failure, Time now, double share);
  void CallSucceeded() { failures_ = 0; }
  void CallFailed(const Failure& failure, Time now, double share);

 private:
  void ProbeAfter(Time now, double share);

  bool well_ = false;
  bool probing_ = false;
  int failures_ = 0;
  int probes_failed_ = 0;
  Time next_probe_;
  std::string words_;
};

}  // namespace sluice::embed

// What a long run shows on standard error: on a terminal a bar that is redrawn, else a line every
// five seconds. It draws on a thread of its own, so that it moves while the work waits.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

namespace sluice::ctl {

struct ProgressState {
  // 0..1; nullopt: how much there is is not known.
  std::optional<double> done;
  uint64_t records = 0;
  uint64_t last_seq_id = 0;
};

// A line of at most `width` columns, for example
//   [#######.......]  50 %  31,000 records  52,400/s  SeqId 31,000  lag 12,000
std::string ProgressLine(const ProgressState& state, double seconds, std::optional<uint64_t> lag,
                         size_t width);

// The same of bytes; `total` 0: not known.
//   [#######.......]  50 %  copying  1.2 GiB  85.0 MiB/s
std::string BytesLine(std::string_view what, uint64_t bytes, uint64_t total, double seconds,
                      size_t width);

class Progress {
 public:
  // `line`, of at most `width` columns, is called from the drawing thread.
  explicit Progress(std::function<std::string(double seconds, size_t width)> line);
  // `state` and `lag` (unapplied records, if it can be learnt) are called from the drawing thread.
  Progress(std::function<ProgressState()> state, std::function<std::optional<uint64_t>()> lag);
  // Removes the bar.
  ~Progress();

 private:
  void Draw(const std::stop_token& stop, bool terminal);

  const std::function<std::string(double, size_t)> line_;
  std::jthread drawing_;
};

}  // namespace sluice::ctl

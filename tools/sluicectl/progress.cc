#include "tools/sluicectl/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/sluicectl/text.h"

namespace sluice::ctl {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr size_t kBarColumns = 14;

size_t TerminalWidth() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string Bar(double done) {
  done = std::clamp(done, 0.0, 1.0);
  const auto filled = static_cast<size_t>(done * kBarColumns);
  return absl::StrFormat("[%s%s] %3.0f %%  ", std::string(filled, '#'),
                         std::string(kBarColumns - filled, '.'), done * 100);
}

}  // namespace

std::string ProgressLine(const ProgressState& state, double seconds, std::optional<uint64_t> lag,
                         size_t width) {
  std::string line = state.done ? Bar(*state.done) : "";
  const double rate = seconds > 0 ? static_cast<double>(state.records) / seconds : 0;
  absl::StrAppend(&line, Grouped(state.records), " records  ", Grouped(static_cast<uint64_t>(rate)),
                  "/s  SeqId ", Grouped(state.last_seq_id));
  if (lag) absl::StrAppend(&line, "  lag ", Grouped(*lag));
  return line.substr(0, width);
}

std::string BytesLine(std::string_view what, uint64_t bytes, uint64_t total, double seconds,
                      size_t width) {
  std::string line = total > 0 ? Bar(static_cast<double>(bytes) / static_cast<double>(total)) : "";
  const double rate = seconds > 0 ? static_cast<double>(bytes) / seconds : 0;
  absl::StrAppend(&line, std::string(what), "  ", Bytes(bytes), "  ",
                  Bytes(static_cast<uint64_t>(rate)), "/s");
  return line.substr(0, width);
}

Progress::Progress(std::function<ProgressState()> state,
                   std::function<std::optional<uint64_t>()> lag)
    : Progress([state = std::move(state), lag = std::move(lag)](double seconds, size_t width) {
        return ProgressLine(state(), seconds, lag(), width);
      }) {}

Progress::Progress(std::function<std::string(double, size_t)> line)
    : line_(std::move(line)),
      drawing_([this](const std::stop_token& stop) { Draw(stop, isatty(STDERR_FILENO) == 1); }) {}

Progress::~Progress() = default;

void Progress::Draw(const std::stop_token& stop, bool terminal) {
  const auto begin = steady_clock::now();
  const milliseconds pause = terminal ? milliseconds(200) : milliseconds(5'000);
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  while (!stopped.wait_for(lock, stop, pause, [&] { return stop.stop_requested(); })) {
    const std::chrono::duration<double> elapsed = steady_clock::now() - begin;
    if (terminal) {
      std::fprintf(stderr, "\r\x1b[K%s", line_(elapsed.count(), TerminalWidth() - 1).c_str());
    } else {
      std::fprintf(stderr, "%s\n", line_(elapsed.count(), 1'000).c_str());
    }
    std::fflush(stderr);
  }
  if (terminal) {
    std::fprintf(stderr, "\r\x1b[K");
    std::fflush(stderr);
  }
}

}  // namespace sluice::ctl

// One verification at work: how fast it reads, how far it is, whether it shall end, and what it
// found. Used by one thread; what asks it to stop may be another.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/base/ids.h"
#include "sluice/v1/admin.pb.h"

namespace sluice::log {

// So that a log under load hardly notices.
inline constexpr uint64_t kVerifyBytesPerSecond = 64 << 20;
// More are counted, and not named.
inline constexpr uint64_t kMaxVerifyFindings = 1'000;

struct VerifyOptions {
  // 0: as fast as it goes.
  uint64_t bytes_per_second = kVerifyBytesPerSecond;
  std::stop_token stop;
  // Gets what VerifyProgress says, on the thread that verifies; findings once each.
  std::function<void(const v1::VerifyProgress&)> report;
  std::chrono::milliseconds report_every{200};
  // Also with each step, before it begins: for who wants to know in which one the process ended.
  bool report_steps = false;
  // Of an earlier run, which ended in this step: what came before is left out, and the step itself.
  std::string after_step;
};

class VerifyWork {
 public:
  explicit VerifyWork(VerifyOptions options) : options_(std::move(options)) {}

  // The next step: a file within the log's folder, or a collection. False: to be left out.
  bool Begin(std::string_view step);
  // Whether the earlier run ended in this step.
  bool EndedIn(std::string_view step) const { return ended_in_ && step == options_.after_step; }

  // So many bytes were read: waits as long as the rate asks for. CANCELLED if it shall end.
  absl::Status Read(uint64_t bytes);
  void Expect(uint64_t total_bytes) { progress_.set_total_bytes(total_bytes); }
  void CountLog() { progress_.set_logs(progress_.logs() + 1); }
  void CountRecords(uint64_t records) { progress_.set_records(progress_.records() + records); }
  void Find(v1::VerifyFinding finding);
  // The last report.
  void Complete();

  uint64_t findings() const { return progress_.findings_count(); }

 private:
  using Clock = std::chrono::steady_clock;
  void Report();
  void ReportIfDue();

  const VerifyOptions options_;
  const bool ended_in_ = !options_.after_step.empty();
  bool resuming_ = ended_in_;
  // `findings` are those that were not reported yet.
  v1::VerifyProgress progress_;
  Clock::time_point reported_{};
  // When what was read so far may have been read.
  Clock::time_point paid_{};
};

// Whether an error of reading is damage: also what the disk cannot give is.
inline bool IsDamage(const absl::Status& error) {
  return absl::IsDataLoss(error) || absl::IsUnavailable(error);
}

// Findings, with what to do about them. Pure functions.
// `error`: one of damage; the file is the one that it names, if it does.
v1::VerifyFinding DamageOf(const absl::Status& error, std::string_view advice);
v1::VerifyFinding ContradictionOf(std::string what);
v1::VerifyFinding ContradictionOf(const CollectionId& collection, const std::string& what);
v1::VerifyFinding NotVerified(std::string what, std::string_view advice);

// Of damage that only a backup mends.
inline constexpr std::string_view kRestoreAdvice =
    "keep a copy of the folder, and restore a backup (sluicectl restore)";

}  // namespace sluice::log

#include "services/log/verify_work.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace sluice::log {
namespace {

constexpr char kContradictionAdvice[] =
    "keep a copy of the folder, and report it: a program of Sluice wrote rows that do not agree, "
    "or "
    "somebody else changed them";

v1::VerifyFinding FindingOf(v1::VerifySeverity severity, std::string what,
                            std::string_view advice) {
  v1::VerifyFinding finding;
  finding.set_severity(severity);
  finding.set_what(std::move(what));
  finding.set_advice(std::string(advice));
  return finding;
}

// "opening …: …/store/000123.sst offset 17 … in file …" names store/000123.sst; RocksDB and the
// journal give whole paths.
std::string FileNamedIn(absl::string_view message) {
  // The first that holds data comes before those in which RocksDB read of it.
  for (const absl::string_view kind : {".sst", ".blob", ".journal"}) {
    const size_t at = message.find(kind);
    if (at != absl::string_view::npos) message = message.substr(0, at + kind.size());
  }
  for (const absl::string_view folder : {"/store/", "/journal"}) {
    const size_t begin = message.rfind(folder);
    if (begin == absl::string_view::npos) continue;
    const absl::string_view file = message.substr(begin + 1);
    return std::string(file.substr(0, file.find_first_of(" :;,'\"")));
  }
  return "";
}

}  // namespace

v1::VerifyFinding DamageOf(const absl::Status& error, std::string_view advice) {
  v1::VerifyFinding finding =
      FindingOf(v1::VERIFY_SEVERITY_DAMAGE, std::string(error.message()), advice);
  finding.set_file(FileNamedIn(error.message()));
  return finding;
}

v1::VerifyFinding ContradictionOf(std::string what) {
  return FindingOf(v1::VERIFY_SEVERITY_CONTRADICTION, std::move(what), kContradictionAdvice);
}

v1::VerifyFinding ContradictionOf(const CollectionId& collection, const std::string& what) {
  v1::VerifyFinding finding =
      ContradictionOf(absl::StrCat("collection ", collection.ToString(), ": ", what));
  finding.set_collection_id(collection.ToString());
  return finding;
}

v1::VerifyFinding NotVerified(std::string what, std::string_view advice) {
  return FindingOf(v1::VERIFY_SEVERITY_NOT_VERIFIED, std::move(what), advice);
}

bool VerifyWork::Begin(std::string_view step) {
  if (resuming_) {
    if (step == options_.after_step) resuming_ = false;
    return false;
  }
  progress_.set_step(std::string(step));
  if (options_.report_steps) {
    Report();
  } else {
    ReportIfDue();
  }
  return true;
}

absl::Status VerifyWork::Read(uint64_t bytes) {
  progress_.set_read_bytes(progress_.read_bytes() + bytes);
  ReportIfDue();
  if (options_.bytes_per_second > 0) {
    const auto cost = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(
        static_cast<double>(bytes) / static_cast<double>(options_.bytes_per_second)));
    paid_ = std::max(paid_, Clock::now()) + cost;
    std::mutex mutex;
    std::condition_variable_any stopped;
    std::unique_lock lock(mutex);
    // Many small reads are paid for together.
    constexpr std::chrono::milliseconds kCredit{10};
    stopped.wait_until(lock, options_.stop, paid_ - kCredit,
                       [this] { return options_.stop.stop_requested(); });
  }
  if (options_.stop.stop_requested()) return absl::CancelledError("the verification was ended");
  return absl::OkStatus();
}

void VerifyWork::Find(v1::VerifyFinding finding) {
  progress_.set_findings_count(progress_.findings_count() + 1);
  if (progress_.findings_count() <= kMaxVerifyFindings) {
    *progress_.add_findings() = std::move(finding);
  }
  Report();
}

void VerifyWork::Complete() {
  progress_.set_step("");
  progress_.set_read_bytes(std::max(progress_.read_bytes(), progress_.total_bytes()));
  progress_.set_total_bytes(progress_.read_bytes());
  progress_.set_complete(true);
  Report();
}

void VerifyWork::Report() {
  reported_ = Clock::now();
  if (options_.report) options_.report(progress_);
  progress_.clear_findings();
}

void VerifyWork::ReportIfDue() {
  if (Clock::now() >= reported_ + options_.report_every) Report();
}

}  // namespace sluice::log

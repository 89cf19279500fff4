#include "services/log/retention.h"

#include <algorithm>

namespace sluice::log {
namespace {

constexpr int kMarksPerAge = 8;
// Marks by age and marks by bytes; more only after the setting was changed.
constexpr int kMaxMarks = 3 * kMarksPerAge;

uint64_t LetGoOrTrimmed(const pb::LogState& log) { return std::max(log.let_go(), log.trim()); }
uint64_t LetGoOrTrimmedBytes(const pb::LogState& log) {
  return std::max(log.let_go_bytes(), log.trim_bytes());
}

int64_t DueOf(const pb::RetentionMark& mark, const RetentionRule& rule) {
  return mark.begun_us() + rule.max_age_us + rule.max_age_us / kMarksPerAge;
}

void NotePassed(pb::LogState& log, const RetentionRule& rule, int64_t now_us) {
  const int marks = log.marks_size();
  const uint64_t noted = marks > 0 ? log.marks(marks - 1).seq_id() : LetGoOrTrimmed(log);
  if (Passed(log) <= noted) return;
  const uint64_t bytes = PassedBytes(log);
  if (marks > 0) {
    pb::RetentionMark& last = *log.mutable_marks(marks - 1);
    const bool open = now_us < last.begun_us() + rule.max_age_us / kMarksPerAge &&
                      bytes - last.begun_bytes() <= rule.max_bytes / kMarksPerAge;
    if (open || marks >= kMaxMarks) {
      // What it stands for already is kept longer, rather than the new records too short.
      if (!open) last.set_begun_us(now_us);
      last.set_seq_id(Passed(log));
      last.set_bytes(bytes);
      return;
    }
  }
  const uint64_t begun_bytes = marks > 0 ? log.marks(marks - 1).bytes() : LetGoOrTrimmedBytes(log);
  pb::RetentionMark& mark = *log.add_marks();
  mark.set_seq_id(Passed(log));
  mark.set_bytes(bytes);
  mark.set_begun_bytes(begun_bytes);
  mark.set_begun_us(now_us);
}

void LetGo(pb::LogState& log, const RetentionRule& rule, int64_t now_us) {
  int gone = 0;
  for (; gone < log.marks_size(); ++gone) {
    const pb::RetentionMark& mark = log.marks(gone);
    // An operator may have trimmed further.
    if (mark.seq_id() <= log.trim()) continue;
    const bool much = PassedBytes(log) - LetGoOrTrimmedBytes(log) > rule.max_bytes;
    if (!much && DueOf(mark, rule) > now_us) break;
    log.set_let_go(mark.seq_id());
    log.set_let_go_bytes(mark.bytes());
  }
  log.mutable_marks()->DeleteSubrange(0, gone);
}

int64_t LossDue(const pb::LogState& log, const pb::Policy& policy, const RetentionRule& rule,
                int64_t now_us) {
  if (PinnedBytes(log) > policy.max_pinned_bytes()) return now_us;
  // Not known: the next Retain finds out.
  if (log.oldest_kept_us() == 0) return now_us;
  return log.oldest_kept_us() + rule.max_age_us + policy.max_pinned_us();
}

int64_t RetainDue(const pb::LogState& log, const pb::Policy& policy, const RetentionRule& rule,
                  int64_t now_us) {
  if (TrimTarget(log) > log.trim()) return now_us;
  int64_t due_us = log.marks().empty() ? INT64_MAX : DueOf(log.marks(0), rule);
  if (IsPinned(log)) due_us = std::min(due_us, LossDue(log, policy, rule, now_us));
  return due_us == INT64_MAX ? 0 : due_us;
}

}  // namespace

RetentionRule RetentionOf(const pb::LogState& log, const pb::Policy& policy) {
  const v1::Retention& setting = log.settings().retention();
  const bool log_only = log.schema().log_only();
  RetentionRule rule{log_only ? kDefaultLogOnlyAgeUs : policy.trim_delay_us(),
                     log_only ? UINT64_MAX : policy.trim_bytes()};
  if (setting.max_age_ms() != 0) {
    rule.max_age_us = static_cast<int64_t>(setting.max_age_ms()) * 1000;
  }
  if (setting.max_bytes() != 0) rule.max_bytes = setting.max_bytes();
  // Trimming may take an eighth longer.
  if (const int64_t quarter_us = EraseQuarterUs(log)) {
    rule.max_age_us = std::min(rule.max_age_us, quarter_us / 2);
  }
  return rule;
}

int64_t EraseQuarterUs(const pb::LogState& log) {
  return static_cast<int64_t>(log.settings().erase_within_ms()) * 1000 / 4;
}

uint64_t Passed(const pb::LogState& log) {
  return log.schema().log_only() ? log.tail() : log.applied();
}

uint64_t PassedBytes(const pb::LogState& log) {
  return log.schema().log_only() ? log.tail_bytes() : log.applied_bytes();
}

bool IsPinned(const pb::LogState& log) {
  return log.has_slowest_cursor() && log.slowest_cursor() < log.let_go();
}

uint64_t PinnedBytes(const pb::LogState& log) {
  return IsPinned(log) ? log.let_go_bytes() - log.trim_bytes() : 0;
}

void UpdateRetention(pb::LogState& log, const pb::Policy& policy, int64_t now_us) {
  if (log.deleted()) {
    log.clear_marks();
    log.set_trim_due_us(0);
    return;
  }
  const RetentionRule rule = RetentionOf(log, policy);
  NotePassed(log, rule, now_us);
  LetGo(log, rule, now_us);
  const int64_t due_us = RetainDue(log, policy, rule, now_us);
  const bool keeps_place =
      due_us != 0 && due_us <= now_us && log.trim_due_us() != 0 && log.trim_due_us() <= now_us;
  if (!keeps_place) log.set_trim_due_us(due_us);
}

uint64_t TrimTarget(const pb::LogState& log) {
  return log.has_slowest_cursor() ? std::min(log.let_go(), log.slowest_cursor()) : log.let_go();
}

v1::CursorLoss LossOfSlowest(const pb::LogState& log, const pb::Policy& policy, int64_t now_us) {
  if (!IsPinned(log)) return v1::CURSOR_LOSS_UNSPECIFIED;
  if (PinnedBytes(log) > policy.max_pinned_bytes()) return v1::CURSOR_LOSS_BYTES;
  const int64_t lost_us =
      log.oldest_kept_us() + RetentionOf(log, policy).max_age_us + policy.max_pinned_us();
  return lost_us <= now_us ? v1::CURSOR_LOSS_AGE : v1::CURSOR_LOSS_UNSPECIFIED;
}

}  // namespace sluice::log

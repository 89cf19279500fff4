#include "tools/sluicectl/pipeline.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "common/client/retry.h"
#include "common/errors/errors.h"
#include "common/record/scan.h"

namespace sluice::ctl {
namespace {

std::vector<uint64_t> IdsOf(const v1::WriteRequest& request) {
  std::vector<uint64_t> ids;
  ids.reserve(static_cast<size_t>(request.records_size()));
  for (const v1::OperationRecord& record : request.records()) ids.push_back(IdHash64(record.id()));
  return ids;
}

// The line of the record that the error names, or of the first.
uint64_t LineOf(const absl::Status& error, const std::vector<uint64_t>& lines) {
  size_t record = 0;
  if (!absl::SimpleAtoi(ErrorMetadata(error, "record"), &record)) return lines.front();
  return record < lines.size() ? lines[record] : lines.front();
}

}  // namespace

Pipeline::Pipeline(Send send, size_t most_under_way)
    : send_(std::move(send)), most_under_way_(most_under_way) {}

bool Pipeline::MayGo(const std::vector<uint64_t>& ids) const {
  if (failure_) return true;
  return under_way_ < most_under_way_ &&
         std::none_of(ids.begin(), ids.end(),
                      [this](uint64_t id) REQUIRES(mutex_) { return ids_.contains(id); });
}

bool Pipeline::Push(Batch batch) {
  auto ids = IdsOf(batch.request);
  {
    MutexLock lock(mutex_);
    changed_.wait(mutex_, [&]() REQUIRES(mutex_) { return MayGo(ids); });
    if (failure_) return false;
    ++under_way_;
    ids_.insert(ids.begin(), ids.end());
  }
  send_(std::move(batch.request),
        [this, ids = std::move(ids), lines = std::move(batch.lines)](
            const absl::StatusOr<v1::WriteResponse>& response) { Answered(ids, lines, response); });
  return true;
}

void Pipeline::Answered(const std::vector<uint64_t>& ids, const std::vector<uint64_t>& lines,
                        const absl::StatusOr<v1::WriteResponse>& response) {
  MutexLock lock(mutex_);
  --under_way_;
  for (const uint64_t id : ids) ids_.erase(id);
  if (response.ok()) {
    const uint64_t first = response->first_seq_id();
    const uint64_t last = first + response->count() - 1;
    totals_.records += response->count();
    totals_.requests += 1;
    totals_.duplicates += response->duplicate() ? 1 : 0;
    totals_.first_seq_id =
        totals_.first_seq_id == 0 ? first : std::min(totals_.first_seq_id, first);
    totals_.last_seq_id = std::max(totals_.last_seq_id, last);
  } else {
    const absl::Status& error = response.status();
    const Outcome outcome = failure_
                                ? client::OverBoth(OutcomeOf(failure_->error), OutcomeOf(error))
                                : OutcomeOf(error);
    if (!failure_ || lines.front() < failure_->first_line) {
      failure_ = Failure{error, LineOf(error, lines), lines.front()};
    }
    failure_->error = WithOutcome(failure_->error, outcome);
  }
  changed_.notify_all();
}

std::optional<Failure> Pipeline::Finish() {
  MutexLock lock(mutex_);
  changed_.wait(mutex_, [this]() REQUIRES(mutex_) { return under_way_ == 0; });
  return failure_;
}

Totals Pipeline::Now() const {
  MutexLock lock(mutex_);
  return totals_;
}

}  // namespace sluice::ctl

#include "tests/model/timeline.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace sluice::model {

void Timeline::Wrote(SeqId first, std::vector<v1::OperationRecord> records) {
  MutexLock lock(mutex_);
  SeqId at = first;
  for (v1::OperationRecord& record : records) {
    if (!records_.emplace(at, std::move(record)).second) {
      errors_.push_back(absl::StrCat("SeqId ", at.value, " was given twice"));
    }
    acknowledged_ = std::max(acknowledged_, at);
    ++at.value;
  }
}

SeqId Timeline::acknowledged() const {
  MutexLock lock(mutex_);
  return acknowledged_;
}

void Timeline::GaveUp(const std::string& id, SeqId up_to) {
  MutexLock lock(mutex_);
  given_up_.emplace(id, up_to);
}

void Timeline::Saw(SeqId as_of, std::string read, Check check) {
  MutexLock lock(mutex_);
  reads_.emplace(as_of, Read{std::move(read), std::move(check)});
}

std::vector<std::string> Timeline::Replay(Model* model) const {
  MutexLock lock(mutex_);
  std::vector<std::string> errors = errors_;
  for (const auto& [id, up_to] : given_up_) model->GaveUp(id, up_to);
  auto read = reads_.begin();
  const auto check_reads_at_tail = [&] {
    for (; read != reads_.end() && read->first == model->tail(); ++read) {
      const std::string difference = read->second.check(*model);
      if (difference.empty()) continue;
      errors.push_back(
          absl::StrCat(read->second.what, "\n    as of ", model->tail().value, ": ", difference));
    }
  };
  check_reads_at_tail();
  for (const auto& [seq_id, record] : records_) {
    if (seq_id.value != model->tail().value + 1) {
      errors.push_back(absl::StrCat("no write got SeqId ", model->tail().value + 1));
      return errors;
    }
    model->Apply(record);
    check_reads_at_tail();
  }
  if (read != reads_.end())
    errors.push_back(read->second.what + "\n    as of a SeqId that no write got");
  return errors;
}

}  // namespace sluice::model

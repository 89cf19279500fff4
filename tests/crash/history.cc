#include "tests/crash/history.h"

#include "absl/strings/str_cat.h"
#include "common/base/check.h"

namespace sluice::testing {
namespace {

const std::string& NameOf(const v1::PushLogsRequest& request) { return request.records(0).id(); }

// A log's records one by one, whatever messages they came in.
struct Flat {
  std::vector<const v1::OperationRecord*> records;
  absl::Status status;
};

Flat Flatten(const std::vector<v1::Append>& log) {
  Flat flat;
  uint64_t next = 1;
  for (const v1::Append& append : log) {
    if (append.first_seq_id() != next) {
      flat.status = absl::DataLossError(
          absl::StrCat("SeqId ", next, " expected, got ", append.first_seq_id()));
      return flat;
    }
    for (const v1::OperationRecord& record : append.records()) flat.records.push_back(&record);
    next += static_cast<uint64_t>(append.records_size());
  }
  return flat;
}

std::string Bytes(const std::vector<const v1::OperationRecord*>& records, size_t from,
                  size_t count) {
  std::string bytes;
  for (size_t i = from; i < from + count && i < records.size(); ++i)
    records[i]->AppendToString(&bytes);
  return bytes;
}

}  // namespace

void History::Tried(const v1::PushLogsRequest& request) {
  MutexLock lock(mutex_);
  Attempt attempt;
  attempt.collection_id = request.collection_id();
  for (const v1::OperationRecord& record : request.records())
    record.AppendToString(&attempt.records);
  attempt.count = request.records_size();
  attempt.order = attempts_.size();
  SLUICE_CHECK(attempts_.emplace(NameOf(request), std::move(attempt)).second);
}

void History::Acknowledged(const v1::PushLogsRequest& request,
                           const v1::PushLogsResponse& response) {
  MutexLock lock(mutex_);
  attempts_.at(NameOf(request)).first_seq_id = response.first_seq_id();
  ++acknowledged_;
  acknowledged_more_.notify_all();
}

void History::Refused(const v1::PushLogsRequest& request) {
  MutexLock lock(mutex_);
  attempts_.at(NameOf(request)).refused = true;
}

bool History::AwaitAcknowledged(size_t more, std::chrono::milliseconds within) {
  MutexLock lock(mutex_);
  const size_t target = acknowledged_ + more;
  return acknowledged_more_.wait_for(mutex_, within, [&] { return acknowledged_ >= target; });
}

absl::Status History::Check(const std::string& collection_id,
                            const std::vector<v1::Append>& log) const {
  MutexLock lock(mutex_);
  const Flat flat = Flatten(log);
  if (!flat.status.ok()) return flat.status;

  std::map<std::string, uint64_t> found;
  std::map<std::string, size_t> last_order_of_writer;
  for (size_t at = 0; at < flat.records.size();) {
    const std::string& name = flat.records[at]->id();
    const auto it = attempts_.find(name);
    if (it == attempts_.end() || it->second.collection_id != collection_id) {
      return absl::DataLossError(
          absl::StrCat("SeqId ", at + 1, " holds ", name, ", which nobody began an append with"));
    }
    const Attempt& attempt = it->second;
    if (attempt.refused)
      return absl::DataLossError(absl::StrCat(name, " was refused as NOT_IN, and is in"));
    if (Bytes(flat.records, at, static_cast<size_t>(attempt.count)) != attempt.records) {
      return absl::DataLossError(absl::StrCat("append ", name, " at SeqId ", at + 1,
                                              " is not whole, or not what was sent"));
    }
    if (!found.emplace(name, at + 1).second)
      return absl::DataLossError(absl::StrCat(name, " is in twice"));
    const std::string writer = name.substr(0, name.find('-'));
    const auto [last, first_of_writer] = last_order_of_writer.emplace(writer, attempt.order);
    if (!first_of_writer && last->second > attempt.order) {
      return absl::DataLossError(absl::StrCat(name, " stands after a later append of its writer"));
    }
    last->second = attempt.order;
    at += static_cast<size_t>(attempt.count);
  }

  for (const auto& [name, attempt] : attempts_) {
    if (attempt.collection_id != collection_id || !attempt.first_seq_id) continue;
    const auto it = found.find(name);
    if (it == found.end())
      return absl::DataLossError(absl::StrCat("acknowledged append ", name, " is lost"));
    if (it->second != *attempt.first_seq_id) {
      return absl::DataLossError(absl::StrCat(name, " was acknowledged at ", *attempt.first_seq_id,
                                              " and is at ", it->second));
    }
  }
  return absl::OkStatus();
}

}  // namespace sluice::testing

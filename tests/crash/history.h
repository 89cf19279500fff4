// What writers tried and what they were told, and the check of it against what the log holds
// afterwards. Thread-safe.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/base/ids.h"
#include "common/base/mutex.h"
#include "sluice/v1/log.pb.h"

namespace sluice::testing {

class History {
 public:
  // An append is about to be tried for the first time. Its first record's id names it: unique over
  // the history.
  void Tried(const v1::PushLogsRequest& request);
  // It was acknowledged.
  void Acknowledged(const v1::PushLogsRequest& request, const v1::PushLogsResponse& response);
  // It was refused for good, and stated to be not in.
  void Refused(const v1::PushLogsRequest& request);

  // Waits until `more` further appends were acknowledged; false if they are not in time.
  bool AwaitAcknowledged(size_t more, std::chrono::milliseconds within);

  // Checks the log of `collection_id`, read from the start to its tail, against the history
  // (invariants 1, 2, 3, 4, 10): SeqIds are dense; every acknowledged append is there once, at the
  // SeqIds that were told, byte for byte; every append there was tried, is whole, and was not
  // refused; the appends of one writer (the part of the id before the first '-') stand in the order
  // in which they were first tried.
  absl::Status Check(const std::string& collection_id, const std::vector<v1::Append>& log) const;

 private:
  struct Attempt {
    std::string collection_id;
    std::string records;
    int count = 0;
    size_t order = 0;
    std::optional<uint64_t> first_seq_id;
    bool refused = false;
  };

  mutable Mutex mutex_;
  CondVar acknowledged_more_;
  std::map<std::string, Attempt> attempts_ GUARDED_BY(mutex_);
  size_t acknowledged_ GUARDED_BY(mutex_) = 0;
};

}  // namespace sluice::testing

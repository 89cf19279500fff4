// Sends batches of records with several requests under way at once, and keeps the one order that
// matters: a batch waits while a request under way has one of its ids, so the records of an id are
// applied in the order given. Records of different ids may get their SeqIds in another order.
//
// Push and Finish are for one thread; Now may be called from any.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "common/base/mutex.h"
#include "common/client/client.h"

namespace sluice::ctl {

struct Batch {
  v1::WriteRequest request;
  // Where each record came from: its line in the input, ascending.
  std::vector<uint64_t> lines;
};

struct Totals {
  uint64_t records = 0;
  uint64_t requests = 0;
  // Requests that an earlier attempt had carried in already.
  uint64_t duplicates = 0;
  // Of the records that are in; 0 if none is.
  uint64_t first_seq_id = 0;
  uint64_t last_seq_id = 0;
};

struct Failure {
  // Of the failed batch that stands first in the input. Its outcome is that of all failed batches.
  absl::Status error;
  // The line that the error names, or the first of that batch.
  uint64_t line = 0;
  // Everything before this line is in.
  uint64_t first_line = 0;
};

class Pipeline {
 public:
  using Send = std::function<void(v1::WriteRequest, client::Callback<v1::WriteResponse>)>;

  Pipeline(Send send, size_t most_under_way);
  // Finish must have returned.
  ~Pipeline() = default;

  // Waits for its turn and sends. False: a batch has failed, and nothing more is sent.
  bool Push(Batch batch);
  // Waits for all that is under way. nullopt: everything is in.
  std::optional<Failure> Finish();
  Totals Now() const;

 private:
  void Answered(const std::vector<uint64_t>& ids, const std::vector<uint64_t>& lines,
                const absl::StatusOr<v1::WriteResponse>& response);
  bool MayGo(const std::vector<uint64_t>& ids) const REQUIRES(mutex_);

  const Send send_;
  const size_t most_under_way_;
  mutable Mutex mutex_;
  CondVar changed_;
  size_t under_way_ GUARDED_BY(mutex_) = 0;
  // Hashes of the ids under way.
  absl::flat_hash_set<uint64_t> ids_ GUARDED_BY(mutex_);
  Totals totals_ GUARDED_BY(mutex_);
  std::optional<Failure> failure_ GUARDED_BY(mutex_);
};

}  // namespace sluice::ctl

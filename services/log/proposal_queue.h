// What waits to be written, and what of it goes into the next group. In the order in which it came;
// but while several collections push, each has a share of a group at most, so that none waits for
// what another one piled up. Commands of one collection are never reordered.
//
// Not thread-safe: the shard's mutex guards it.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "common/base/ids.h"
#include "services/log/command.h"

namespace sluice::log {

// A command on its way, and who waits for its answer.
struct Proposal {
  Command command;
  absl::AnyInvocable<void(Result)> done;
};

class ProposalQueue {
 public:
  using Clock = std::chrono::steady_clock;

  void Add(Proposal proposal, Clock::time_point now);
  bool empty() const { return waiting_.empty(); }

  struct Group {
    std::vector<Proposal> proposals;
    uint64_t bytes = 0;
  };
  // At most `max_bytes` (but at least one command, if any waits).
  Group TakeGroup(uint64_t max_bytes, Clock::time_point now);
  std::deque<Proposal> TakeAll();

 private:
  Group TakeShared(uint64_t max_bytes);

  std::deque<Proposal> waiting_;
  // The collection that pushed last; and until when the last change of it counts as sharing.
  CollectionId pushed_last_;
  Clock::time_point shared_until_;
};

}  // namespace sluice::log

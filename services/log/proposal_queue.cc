#include "services/log/proposal_queue.h"

#include <utility>

#include "absl/container/flat_hash_map.h"

namespace sluice::log {
namespace {

// How long after two collections pushed one after the other a group is shared.
constexpr std::chrono::milliseconds kSharedFor{100};
// A collection's share of a group then: a millisecond or two of writing.
constexpr uint64_t kShareBytes = 512 << 10;

}  // namespace

void ProposalQueue::Add(Proposal proposal, Clock::time_point now) {
  const CollectionId& collection = proposal.command.collection();
  if (!collection.is_nil() && collection != pushed_last_) {
    if (!pushed_last_.is_nil()) shared_until_ = now + kSharedFor;
    pushed_last_ = collection;
  }
  waiting_.push_back(std::move(proposal));
}

ProposalQueue::Group ProposalQueue::TakeGroup(uint64_t max_bytes, Clock::time_point now) {
  if (now < shared_until_) return TakeShared(max_bytes);
  Group group;
  while (!waiting_.empty()) {
    const uint64_t bytes = waiting_.front().command.bytes();
    if (!group.proposals.empty() && group.bytes + bytes > max_bytes) break;
    group.bytes += bytes;
    group.proposals.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  return group;
}

// One pass over what waits: what goes beyond its collection's share stays where it is.
ProposalQueue::Group ProposalQueue::TakeShared(uint64_t max_bytes) {
  Group group;
  absl::flat_hash_map<CollectionId, uint64_t> taken;
  std::deque<Proposal> left;
  while (!waiting_.empty()) {
    Proposal& next = waiting_.front();
    const uint64_t bytes = next.command.bytes();
    if (!group.proposals.empty() && group.bytes + bytes > max_bytes) break;
    uint64_t& of_collection = taken[next.command.collection()];
    if (of_collection > 0 && of_collection + bytes > kShareBytes) {
      // Nor may a smaller one of this collection overtake it.
      of_collection = kShareBytes;
      left.push_back(std::move(next));
    } else {
      of_collection += bytes;
      group.bytes += bytes;
      group.proposals.push_back(std::move(next));
    }
    waiting_.pop_front();
  }
  for (; !left.empty(); left.pop_back()) waiting_.push_front(std::move(left.back()));
  return group;
}

std::deque<Proposal> ProposalQueue::TakeAll() { return std::exchange(waiting_, {}); }

}  // namespace sluice::log

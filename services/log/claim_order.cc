#include "services/log/claim_order.h"

#include <algorithm>
#include <cstdint>

#include "absl/hash/hash.h"

namespace sluice::log {
namespace {

// How far down the line a worker's own is looked for.
constexpr size_t kLookAhead = 64;
// A worker that has not been seen for this long may be gone. One that is idle claims every two
// seconds (compactor.claim_wait_ms).
constexpr int64_t kAboutUs = 3'000'000;
constexpr int64_t kWaitedShare = 4;

}  // namespace

uint64_t HashOfName(std::string_view name) { return absl::HashOf(name); }

void ClaimOrder::Saw(const Claimant& claimant, int64_t now_us) {
  for (const DueKind kind : {DueKind::kCompaction, DueKind::kMerge}) {
    if (claimant.Wants(kind)) Of(kind).seen.Put(claimant.worker, now_us);
  }
}

void ClaimOrder::SetDue(DueKind kind, std::vector<DueWork> due) {
  Kind& of = Of(kind);
  of.due = std::move(due);
  of.line.clear();
  of.tenants.clear();
  of.turns.clear();
  for (size_t place = 0; place < of.due.size(); ++place) {
    of.line.insert(of.line.end(), place);
    Line& line = of.tenants[of.due[place].tenant].line;
    line.insert(line.end(), place);
  }
  for (auto& [tenant, its] : of.tenants) {
    if (const uint64_t* const last = of.last_turns.Find(tenant)) its.last_turn = *last;
    of.turns.insert(its.turn());
  }
}

std::optional<int64_t> ClaimOrder::NextNotLeft(DueKind kind, int64_t now_us) const {
  const Kind& of = Of(kind);
  const auto young = std::partition_point(of.due.begin(), of.due.end(), [&](const DueWork& work) {
    return work.due_us + kLeftUs <= now_us;
  });
  const auto first = of.line.lower_bound(static_cast<size_t>(young - of.due.begin()));
  if (first == of.line.end()) return std::nullopt;
  return of.due[*first].due_us + kLeftUs;
}

std::optional<ClaimOrder::Choice> ClaimOrder::Choose(const Claimant& claimant, int64_t now_us) {
  std::array kinds = {DueKind::kCompaction, DueKind::kMerge};
  const auto first_due_us = [&](DueKind kind) {
    const Kind& of = Of(kind);
    return of.line.empty() ? INT64_MAX : of.due[*of.line.begin()].due_us;
  };
  if (first_due_us(kinds[1]) < first_due_us(kinds[0])) std::swap(kinds[0], kinds[1]);
  for (const DueKind kind : kinds) {
    if (!claimant.Wants(kind)) continue;
    Kind& of = Of(kind);
    const auto found = of.Choose(claimant.worker, now_us);
    if (!found) continue;
    of.Take(found->first);
    return Choice{of.due[found->first], found->second};
  }
  return std::nullopt;
}

ClaimOrder::Kind::Found ClaimOrder::Kind::Choose(WorkerHash worker, int64_t now_us) const {
  if (turns_had % 2 == 1 && !turns.empty()) {
    const TenantHash in_turn = due[turns.begin()->second].tenant;
    if (const Found found = ChooseFrom(tenants.at(in_turn).line, worker, now_us)) return found;
  }
  return ChooseFrom(line, worker, now_us);
}

ClaimOrder::Kind::Found ClaimOrder::Kind::ChooseFrom(const Line& from, WorkerHash worker,
                                                     int64_t now_us) const {
  // The first in line that may go to anybody; and what came due until then may go before it.
  Found front;
  int64_t before_us = 0;
  size_t looked_at = 0;
  for (const size_t place : from) {
    const DueWork& work = due[place];
    if (front && (work.due_us > before_us || ++looked_at > kLookAhead)) break;
    const WorkerHash* const holder = holders.Find(work.collection);
    if (holder && *holder == worker) return Found({place, /*warm=*/true});
    if (front) continue;
    const bool is_holder_about = holder && IsAbout(*holder, now_us);
    const int64_t waited_us = now_us - work.due_us;
    if (is_holder_about && waited_us < kLeftUs) continue;
    front = {place, /*warm=*/false};
    if (!is_holder_about) break;
    before_us = work.due_us + std::max(kLeftUs, waited_us / kWaitedShare);
  }
  return front;
}

void ClaimOrder::Kind::Take(size_t place) {
  const auto it = tenants.find(due[place].tenant);
  TenantLine& its = it->second;
  turns.erase(its.turn());
  line.erase(place);
  its.line.erase(place);
  its.last_turn = ++turns_had;
  last_turns.Put(it->first, turns_had);
  if (its.line.empty()) {
    tenants.erase(it);
  } else {
    turns.insert(its.turn());
  }
}

bool ClaimOrder::Kind::IsAbout(WorkerHash worker, int64_t now_us) const {
  const int64_t* const at = seen.Find(worker);
  return at != nullptr && now_us - *at < kAboutUs;
}

}  // namespace sluice::log

#include "services/log/claim_order.h"

#include <algorithm>

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

std::optional<ClaimOrder::Choice> ClaimOrder::Choose(const Claimant& claimant,
                                                     std::span<const DueWork> due, int64_t now_us) {
  const auto first = std::find_if(due.begin(), due.end(),
                                  [&](const DueWork& work) { return claimant.Wants(work.kind); });
  if (first == due.end()) return std::nullopt;
  const DueKind kind = first->kind;
  Turns& turns = TurnsOf(kind);
  std::optional<Choice> choice;
  if (turns.count % 2 == 1) {
    choice = ChooseAmong(claimant.worker, kind, TenantInTurn(kind, due), due, now_us);
  }
  if (!choice) choice = ChooseAmong(claimant.worker, kind, std::nullopt, due, now_us);
  if (choice) turns.last.Put(due[choice->index].tenant, ++turns.count);
  return choice;
}

std::optional<ClaimOrder::Choice> ClaimOrder::ChooseAmong(WorkerHash worker, DueKind kind,
                                                          std::optional<TenantHash> tenant,
                                                          std::span<const DueWork> due,
                                                          int64_t now_us) const {
  // The first in line that may go to anybody; and what came due until then may go before it.
  std::optional<Choice> front;
  int64_t before_us = 0;
  size_t looked_at = 0;
  for (size_t i = 0; i < due.size(); ++i) {
    const DueWork& work = due[i];
    if (work.kind != kind || (tenant && work.tenant != *tenant)) continue;
    if (front && (work.due_us > before_us || ++looked_at > kLookAhead)) break;
    const WorkerHash* const holder = holders_.Find(work.collection);
    if (holder && *holder == worker) return Choice{i, /*warm=*/true};
    if (front) continue;
    const bool is_holder_about = holder && IsAbout(*holder, now_us);
    const int64_t waited_us = now_us - work.due_us;
    if (is_holder_about && waited_us < kLeftUs) continue;
    front = Choice{i, /*warm=*/false};
    if (!is_holder_about) break;
    before_us = work.due_us + std::max(kLeftUs, waited_us / kWaitedShare);
  }
  return front;
}

std::optional<TenantHash> ClaimOrder::TenantInTurn(DueKind kind,
                                                   std::span<const DueWork> due) const {
  const Turns& turns = TurnsOf(kind);
  std::optional<TenantHash> tenant;
  uint64_t longest_ago = 0;
  for (const DueWork& work : due) {
    if (work.kind != kind || work.tenant == tenant) continue;
    const uint64_t* const last = turns.last.Find(work.tenant);
    if (last == nullptr) return work.tenant;
    if (tenant && *last >= longest_ago) continue;
    tenant = work.tenant;
    longest_ago = *last;
  }
  return tenant;
}

bool ClaimOrder::IsAbout(WorkerHash worker, int64_t now_us) const {
  const int64_t* const seen = seen_.Find(worker);
  return seen != nullptr && now_us - *seen < kAboutUs;
}

}  // namespace sluice::log

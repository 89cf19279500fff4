// When the desk (claim_desk.h) reads the due index of one kind again. A look at much that is due
// serves for a time in proportion to it, so that looking takes the same share of a CPU however much
// is due and however many claims come. Pure.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace sluice::log {

struct DueLook {
  using Time = std::chrono::steady_clock::time_point;
  static constexpr size_t kMuchDue = 64;
  static constexpr std::chrono::microseconds kFreshForEach{25};

  // A look at `now` that found `due` rows, and that more comes due at `next`.
  static DueLook At(Time now, size_t due, std::optional<Time> next) {
    const auto much = static_cast<int64_t>(due >= kMuchDue ? due : 0);
    return {next, now + much * kFreshForEach};
  }

  // Whether what was found, some of which is left (`has_due`), still serves.
  bool Serves(Time now, bool has_due) const { return has_due && now < fresh_until; }
  // When to look again for those whom it does not help. What comes due while it serves is seen
  // after that, and not before: a wake that may not look comes back at once.
  std::optional<Time> Again(Time now, bool has_due) const {
    return Serves(now, has_due) ? fresh_until : next;
  }

  std::optional<Time> next;
  Time fresh_until;
};

}  // namespace sluice::log

// Faults for tests: the process kills or stops itself when it reaches a named stage, so that a test
// can prove that any moment is survivable. Off unless the setting `compactor.fault` names one; then
// a stage costs one comparison. Thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <optional>
#include <string_view>

#include "absl/status/status.h"

namespace sluice::compactor {

// Every stage, in the order in which jobs reach them.
//   X(name, text, when)
#define SLUICE_COMPACTOR_STAGES(X)                                                             \
  X(kClaimed, "claimed", "compaction: the lease is granted")                                   \
  X(kOpened, "opened", "compaction: the segments are open")                                    \
  X(kRead, "read", "compaction: a batch is in memory")                                         \
  X(kFolded, "folded", "compaction: some rows are folded and embedded")                        \
  X(kWritten, "written", "compaction: the segment is in a temporary file")                     \
  X(kStored, "stored", "compaction: the object is in its place, not committed")                \
  X(kCommitted, "committed", "compaction: a commit was answered")                              \
  X(kReleased, "released", "any: the lease is given back")                                     \
  X(kMergeClaimed, "merge-claimed", "merge: the lease is granted")                             \
  X(kMergeWritten, "merge-written", "merge: the segment is in a temporary file")               \
  X(kMergeStored, "merge-stored", "merge: the object is in its place, not committed")          \
  X(kMergeCommitted, "merge-committed", "merge: the commit was answered")                      \
  X(kGarbageDeleted, "garbage-deleted", "garbage: objects are deleted, the log does not know") \
  X(kGarbageCollected, "garbage-collected", "garbage: the log knows")

enum class Stage {
#define X(name, text, when) name,
  SLUICE_COMPACTOR_STAGES(X)
#undef X
};

inline constexpr std::array kStageNames = {
#define X(name, text, when) std::string_view(text),
    SLUICE_COMPACTOR_STAGES(X)
#undef X
};

class Faults {
 public:
  // "" (none), "kill:STAGE" (SIGKILL) or "stop:STAGE" (SIGSTOP), each the first time only; else
  // INVALID_ARGUMENT. Before the first Reach.
  absl::Status Arm(std::string_view fault);
  void Reach(Stage stage);

 private:
  static constexpr int kNone = -1;
  int signal_ = 0;
  std::atomic<int> armed_{kNone};
};

}  // namespace sluice::compactor

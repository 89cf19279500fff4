// Work of many like parts, done by the caller and by threads that have nothing else to do.
#pragma once

#include <cstddef>

#include "absl/functional/function_ref.h"
#include "common/base/executor.h"

namespace sluice {

// Calls `part` with each of 0 .. parts - 1 once, in this order as they are begun; returns when all
// have ended. `part` is thread-safe. `helpers`: whose idle threads take part; null: the caller
// alone. Nobody is waited for to begin, so this may be called on a thread of `helpers`; those go
// back between two parts once other tasks wait.
void Share(size_t parts, Executor* helpers, absl::FunctionRef<void(size_t)> part);

}  // namespace sluice

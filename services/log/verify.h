// Verifies a log, running or stopped: reads what is stored, compares checksums, and looks whether
// rows agree. Changes nothing. README.md says what is covered.
//
// What is damaged is found (VerifyWork::Find), and the rest goes on. Errors: CANCELLED;
// FAILED_PRECONDITION, as they say; UNAVAILABLE (I/O).
#pragma once

#include <filesystem>

#include "absl/status/status.h"
#include "services/log/store.h"
#include "services/log/verify_work.h"

namespace sluice::log {

// A log that runs: its data folder, and the store that it has open there.
absl::Status VerifyRunning(const Store& store, const std::filesystem::path& folder,
                           VerifyWork& work);

// One that does not: FAILED_PRECONDITION if it does, or if the folder is not a log's; holds the
// folder. RocksDB may end the process at what is damaged: the step that was reported last is the
// one, and the next run goes on after it.
absl::Status VerifyFolder(const std::filesystem::path& folder, VerifyWork& work);

}  // namespace sluice::log

// The folder of a shard's data: FORMAT says what it is, and that it is whole; LOCK is held by the
// process that uses it; store/ and the journal's folder hold the rest. While a restore is at work
// there is RESTORING in place of FORMAT, and no shard opens the folder.
//
// Plain functions. Errors: FAILED_PRECONDITION, as they say; UNAVAILABLE (I/O).
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/log/command.pb.h"
#include "services/log/file.h"

namespace sluice::log {

// Whether the folder has a FORMAT file yet. FAILED_PRECONDITION if it is of a format that this
// program cannot read, if it lacks one and yet holds data, or if a restore into it was not
// finished. Touches nothing.
absl::StatusOr<bool> CheckFormat(const std::filesystem::path& folder, FileSystem& files);
absl::Status MarkFormat(const std::filesystem::path& folder, FileSystem& files);

// Where the journal is, within the folder. A restored log's is named after its incarnation: the
// journal of the log that was backed up is another one, even if somebody puts it beside the store.
std::string JournalFolder(const pb::ShardState& shard);

// Begins a restore into a folder that is empty, or not there, or in which a restore was not
// finished. FAILED_PRECONDITION if it holds anything else.
absl::Status BeginRestoring(const std::filesystem::path& folder, FileSystem& files);
// RESTORING becomes FORMAT.
absl::Status FinishRestoring(const std::filesystem::path& folder, FileSystem& files);

}  // namespace sluice::log

// The log under measurement: a process of its own, collections in it, and what it costs.
#pragma once

#include <grpcpp/channel.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/client/client.h"
#include "sluice/v1/collection.pb.h"
#include "sluice/v1/compaction.pb.h"
#include "tests/support/process.h"

namespace sluice::bench {

// sluice-log over `folder`; `settings` are variables (SLUICE_LOG_...) beside its defaults.
absl::StatusOr<std::unique_ptr<testing::Process>> StartLog(
    const std::filesystem::path& folder, const std::map<std::string, std::string>& settings = {});

// This program as a server, with these arguments.
absl::StatusOr<std::unique_ptr<testing::Process>> StartSelf(std::vector<std::string> arguments);

// Settings under which nothing but the log's own speed limits a writer.
v1::CollectionSettings WithoutBacklogLimit();

// A new collection, of the payload's dimension; its id.
absl::StatusOr<std::string> NewCollection(
    const std::shared_ptr<grpc::Channel>& channel,
    const v1::CollectionSettings& settings = WithoutBacklogLimit());

// Makes `count` collections in a log's data folder that no process has open, by the commands that
// CreateCollection proposes, many in flight. Their ids.
absl::StatusOr<std::vector<std::string>> MakeCollections(const std::filesystem::path& folder,
                                                         size_t count,
                                                         const v1::CollectionSettings& settings);

// Commits all that was claimed as applied, with no segment, and ends the lease.
absl::Status CommitWithoutSegment(client::Compaction& compaction, const v1::ClaimResponse& claimed);

// Memory that a process has in place, in bytes; processor time it has used, in seconds.
uint64_t ResidentBytes(pid_t pid);
double ProcessorSeconds(pid_t pid);
// Blocks that the files below a folder take.
uint64_t DiskBytes(const std::filesystem::path& folder);
// Makes the kernel forget the pages of the files below a folder, so that they are read from disk.
void DropPages(const std::filesystem::path& folder);

}  // namespace sluice::bench

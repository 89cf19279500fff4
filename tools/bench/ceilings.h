// What the machine can do at best, measured in the same run with the same messages.
#pragma once

#include <grpcpp/impl/codegen/service_type.h>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <vector>

#include "absl/status/statusor.h"

namespace sluice::bench {

// A loop that writes blocks of `block_bytes` at the end of a growing file and calls fdatasync after
// each.
struct FileLoop {
  size_t block_bytes = 0;
  double bytes_per_second = 0;
  double p50_us = 0;
};
absl::StatusOr<FileLoop> WriteAndSync(const std::filesystem::path& folder, size_t block_bytes,
                                      std::chrono::milliseconds duration);

// The fastest of several block sizes, 64 KiB .. 8 MiB.
absl::StatusOr<FileLoop> BestWriteAndSync(const std::filesystem::path& folder,
                                          std::chrono::milliseconds duration_each);

// Serves `service` on loopback. Prints "ready grpc=ADDRESS"; runs until it is killed.
int ServeCeiling(grpc::Service& service);

// Serves LogService.PushLogs with the generated callback service: parses each message, stores
// nothing.
int ServeEcho();

}  // namespace sluice::bench

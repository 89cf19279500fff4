// Checks the files of tables of a store, without the store: whatever their bytes are.
#pragma once

#include <filesystem>

#include "absl/status/status.h"
#include "services/log/verify_work.h"

namespace sluice::log {

// The part that RocksDB 7.8.3 reads before it compares checksums, and on which its asserts may end
// the process: footer, the index of blocks beside the data, properties. DATA_LOSS naming the file;
// NOT_FOUND; UNAVAILABLE (I/O).
absl::Status CheckTableFrame(const std::filesystem::path& path);

// Compares the checksums of all blocks, of a file whose frame is whole: data, its index, filters,
// what stands beside them. Errors as above; what Read of `work` gives.
absl::Status CheckTableBlocks(const std::filesystem::path& path, VerifyWork& work);

}  // namespace sluice::log

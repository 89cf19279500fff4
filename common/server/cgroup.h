// What this process may use, for memory budgets and thread counts: the machine's memory and
// processors, or less where a control group (v1 or v2) or a CPU affinity says so. Thread-safe.
#pragma once

#include <cstdint>
#include <string>

namespace sluice::server {

struct Allowance {
  uint64_t memory_bytes;
  // At least 1; a quota of 1.5 processors counts as 2.
  uint32_t cpus;
};

// `root` is where /proc and /sys are found: another one in tests.
Allowance ProcessAllowance(const std::string& root = "/");

}  // namespace sluice::server

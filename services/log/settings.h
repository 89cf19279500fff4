// The settings of the log service, all under `log.`. README.md has the table; a test compares.
#pragma once

#include <cstdint>
#include <string>

#include "common/server/settings.h"
#include "services/log/shard.h"

namespace sluice::log {

struct LogSettings {
  std::string data;
  uint64_t journal_file_bytes = 0;
  uint64_t journal_group_bytes = 0;
  uint64_t memtable_bytes = 0;
  uint64_t block_cache_bytes = 0;
  uint64_t max_inflight_bytes = 0;
  uint64_t max_inflight_collection_bytes = 0;
  uint64_t dedupe_window_seconds = 0;
  uint64_t dedupe_max_bytes = 0;
  uint64_t grace_seconds = 0;
  uint64_t trim_delay_seconds = 0;
  uint64_t trim_bytes = 0;
  uint64_t max_pinned_seconds = 0;
  uint64_t max_pinned_bytes = 0;
  uint64_t read_threads = 0;
  uint64_t read_max_waiting = 0;
  uint64_t view_seconds = 0;
  uint64_t max_streams = 0;
  uint64_t max_held_bytes = 0;
  uint64_t max_waiting_claims = 0;
  std::string backup_folder;

  // Sets the defaults. `this` must outlive `settings`.
  void Declare(server::Settings& settings);
  // Without the functions, which the node sets.
  ShardOptions Shard() const;
};

}  // namespace sluice::log

#include "services/log/settings.h"

#include <chrono>
#include <filesystem>
#include <system_error>

#include "common/record/limits.h"

namespace sluice::log {
namespace {
constexpr uint64_t kKiB = 1 << 10;
constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kGiB = 1 << 30;
constexpr uint64_t kDay = 24 * 60 * 60;

// Of the file system that the folder is on, or would be.
uint64_t DiskBytes(std::filesystem::path folder) {
  std::error_code error;
  folder = std::filesystem::absolute(folder, error);
  while (!std::filesystem::exists(folder, error) && folder.has_relative_path()) {
    folder = folder.parent_path();
  }
  const std::filesystem::space_info space = std::filesystem::space(folder, error);
  // What cannot be found out is no reason to give up cursors.
  return error ? UINT64_MAX : space.capacity;
}
}  // namespace

void LogSettings::Declare(server::Settings& s) {
  s.Add("log.data", &data, "sluice-data/log",
        "Folder of the journal and the store; made if it is not there. One process at a time.");
  s.Add("log.journal.file_bytes", &journal_file_bytes, 64 * kMiB, kMiB, kGiB,
        "Size of a journal file; they are allocated whole.");
  s.Add("log.journal.group_bytes", &journal_group_bytes, 8 * kMiB, 64 * kKiB, 64 * kMiB,
        "A group of commands that is written and synced together is closed at this size.");
  s.Add("log.store.memtable_bytes", &memtable_bytes, 32 * kMiB, kMiB, kGiB,
        "Size of a memtable; up to three are in memory.");
  s.Add("log.store.block_cache_bytes", &block_cache_bytes, 32 * kMiB, kMiB, 64 * kGiB,
        "Blocks of the store kept in memory.");
  s.Add("log.push.max_inflight_bytes", &max_inflight_bytes, 64 * kMiB, 2 * kMaxBytesPerAppend,
        16 * kGiB,
        "Bytes of commands accepted and not answered yet; more are refused with OVERLOADED.");
  s.Add("log.push.max_inflight_collection_bytes", &max_inflight_collection_bytes, 16 * kMiB, kMiB,
        16 * kGiB, "The same for the pushes of each collection.");
  s.Add("log.dedupe_window_seconds", &dedupe_window_seconds, 15 * 60, 1, kDay,
        "How long an append's request_id is remembered; older ones are refused.");
  s.Add("log.dedupe_max_bytes", &dedupe_max_bytes, 4 * kGiB, kMiB, 1024 * kGiB,
        "Disk that they may take, about 100 bytes each; beyond, pushes with a new one are refused "
        "with OVERLOADED.");
  s.Add("log.grace_seconds", &grace_seconds, 60 * 60, 0, 30 * kDay,
        "How long what nothing refers to any more is kept: segments, ended leases, deleted logs.");
  s.Add("log.trim.delay_seconds", &trim_delay_seconds, 10 * 60, 0, 30 * kDay,
        "Records that the segments reflect are trimmed after this long, where a collection's "
        "retention does not say otherwise.");
  s.Add("log.trim.max_bytes", &trim_bytes, 64 * kMiB, 0, 1024 * kGiB,
        "They are trimmed before that when they are more than this, for each collection.");
  s.Add("log.cursor.max_pinned_seconds", &max_pinned_seconds, 7 * kDay, 60, 365 * kDay,
        "A cursor that holds records in place for this long beyond their retention is lost.");
  s.Add("log.cursor.max_pinned_bytes", &max_pinned_bytes, 0, 0, 1024 * 1024 * kGiB,
        "A cursor that holds more bytes than this beyond their retention is lost; 0: a tenth of "
        "the disk that log.data is on.");
  s.Add("log.read.threads", &read_threads, 4, 1, 256, "Threads that read the store.");
  s.Add("log.read.max_waiting", &read_max_waiting, 1000, 1, 1'000'000,
        "Calls that wait for one of them; more are refused with OVERLOADED.");
  s.Add("log.read.view_seconds", &view_seconds, 60, 1, 3600,
        "How long a view is kept for its reader; one that takes longer is ended with OVERLOADED.");
  s.Add("log.subscribe.max_streams", &max_streams, 10'000, 1, 1'000'000,
        "Subscriptions, views and push streams open at a time; more are refused with OVERLOADED.");
  s.Add("log.subscribe.max_held_bytes", &max_held_bytes, 64 * kMiB, kMiB, 16 * kGiB,
        "Messages of all streams that their consumers have not read; near it they get smaller, and "
        "push streams read less ahead of their answers.");
  s.Add("log.claim.max_waiting", &max_waiting_claims, 10'000, 1, 1'000'000,
        "Claims that wait for work; more are refused with OVERLOADED.");
  s.Add("log.backup.folder", &backup_folder, "",
        "Where backups are kept; better on another disk. Empty: there are none.");
}

ShardOptions LogSettings::Shard() const {
  ShardOptions options;
  options.folder = data;
  options.journal_file_bytes = journal_file_bytes;
  options.max_group_bytes = journal_group_bytes;
  options.store.memtable_bytes = memtable_bytes;
  options.store.block_cache_bytes = block_cache_bytes;
  options.max_inflight = {.node_bytes = max_inflight_bytes,
                          .collection_bytes = max_inflight_collection_bytes};
  options.dedupe_window = std::chrono::seconds(dedupe_window_seconds);
  options.dedupe_max_bytes = dedupe_max_bytes;
  options.grace = std::chrono::seconds(grace_seconds);
  options.trim_delay = std::chrono::seconds(trim_delay_seconds);
  options.trim_bytes = trim_bytes;
  options.max_pinned = std::chrono::seconds(max_pinned_seconds);
  options.max_pinned_bytes = max_pinned_bytes ? max_pinned_bytes : DiskBytes(data) / 10;
  return options;
}

}  // namespace sluice::log

// A shard's journal: groups of commands, durable in the order they were written. README.md has the
// file format and the rules of recovery.
//
// One thread, except where said. A group is durable once Append returns OK. After any error,
// nothing more is accepted until Reopen succeeds; the group that failed is not in the journal if
// the error's outcome is kNotIn, and may be after a crash if it is kUnknown.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "services/log/file.h"
#include "services/log/journal_reader.h"

namespace sluice::log {

struct JournalOptions {
  std::filesystem::path folder;
  // Files are allocated whole; a group larger than this gets a larger file.
  uint64_t file_bytes = 64 << 20;
  // Not owned.
  FileSystem* files = FileSystem::Machine();
};

class Journal {
 public:
  // Reads what is there, and calls `replay` with each group after `applied`, in order. A torn end
  // is cut off. DATA_LOSS, naming the file and the position, if a group that was synced cannot be
  // read, or groups after `applied` are missing. Nothing is written before the first Append or
  // Seal.
  static absl::StatusOr<std::unique_ptr<Journal>> Open(
      JournalOptions options, JournalPosition applied,
      absl::FunctionRef<absl::Status(JournalPosition, std::string_view group)> replay);

  // Makes a journal whose first group will be the one after `last`: for a store that was restored.
  // FAILED_PRECONDITION if the folder is not empty.
  static absl::Status Begin(JournalOptions options, JournalPosition last);

  // Writes the parts as one group, and syncs it. Its position is last() afterwards.
  absl::Status Append(std::span<const std::string_view> parts);
  // Writes and syncs an empty group, if the last one is not: so that damage to the last group is
  // told from a torn end.
  absl::Status Seal();
  // After an error: cuts back to the last group that was synced, and goes on in a new file. May be
  // tried again and again.
  absl::Status Reopen();
  // OK, or the error that Reopen has yet to heal.
  const absl::Status& failure() const { return failure_; }

  // Whether there is nothing for Seal to do.
  bool sealed() const { return sealed_; }

  // Gives back files all of whose groups are at or below `position`.
  absl::Status RemoveThrough(JournalPosition position);
  // Goes on in a new file, and sees to it that nothing of the old ones outlives RemoveThrough: they
  // are not used again.
  absl::Status Shed();

  JournalPosition last() const { return JournalPosition(last_); }
  // Size of the files on disk.
  uint64_t DiskBytes() const;

 private:
  explicit Journal(JournalOptions options) : options_(std::move(options)) {}
  absl::Status Recover(uint64_t applied,
                       absl::FunctionRef<absl::Status(JournalPosition, std::string_view)> replay);
  absl::Status StartFile(uint64_t min_bytes);
  // The file becomes the one that is written.
  absl::Status GoOnIn(std::unique_ptr<File> file, uint64_t bytes);
  absl::Status WriteEntry(std::span<const std::string_view> parts);
  absl::Status Fail(const absl::Status& cause, bool written);
  std::filesystem::path PathOf(uint64_t number) const;

  JournalOptions options_;
  // Oldest first; the last one is being written if file_ is open.
  std::deque<JournalFile> files_;
  // Files given back, to be used again: their blocks are allocated and written, which makes syncing
  // cheaper.
  std::vector<std::filesystem::path> spares_;
  // Files up to this number are not.
  uint64_t shed_ = 0;
  std::unique_ptr<File> file_;
  uint64_t file_id_ = 0;
  // Where the next group goes: the end of the last group that was synced.
  uint64_t end_ = 0;
  uint64_t last_ = 0;
  bool sealed_ = true;
  absl::Status failure_;
};

}  // namespace sluice::log

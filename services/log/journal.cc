#include "services/log/journal.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/coding.h"
#include "common/base/crc32c.h"
#include "common/errors/errors.h"
#include "services/log/journal_format.h"

namespace sluice::log {
namespace {

constexpr std::string_view kNext = "next";
constexpr size_t kMaxSpares = 2;

}  // namespace

std::filesystem::path Journal::PathOf(uint64_t number) const {
  return options_.folder / JournalFileName(number);
}

absl::StatusOr<std::unique_ptr<Journal>> Journal::Open(
    JournalOptions options, JournalPosition applied,
    absl::FunctionRef<absl::Status(JournalPosition, std::string_view group)> replay) {
  std::unique_ptr<Journal> journal(new Journal(std::move(options)));
  SLUICE_RETURN_IF_ERROR(journal->options_.files->MakeFolder(journal->options_.folder));
  SLUICE_RETURN_IF_ERROR(journal->Recover(applied.value, replay));
  return journal;
}

absl::Status Journal::Begin(JournalOptions options, JournalPosition last) {
  Journal journal(std::move(options));
  FileSystem& files = *journal.options_.files;
  SLUICE_RETURN_IF_ERROR(files.MakeFolder(journal.options_.folder));
  SLUICE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          files.List(journal.options_.folder));
  if (!names.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(journal.options_.folder.string(), " is not empty"));
  }
  journal.last_ = last.value;
  return journal.StartFile(0);
}

absl::Status Journal::Recover(
    uint64_t applied, absl::FunctionRef<absl::Status(JournalPosition, std::string_view)> replay) {
  FileSystem& fs = *options_.files;
  const auto end = [](const JournalDamage& damage) { return damage.error; };
  SLUICE_ASSIGN_OR_RETURN(JournalListing listing,
                          ListJournal(fs, options_.folder, JournalPosition(applied), end));
  // Older files are not needed any more; what is left of them goes now, so that a gap among them is
  // none of ours.
  for (const std::filesystem::path& older : listing.older) {
    SLUICE_RETURN_IF_ERROR(fs.Remove(older));
  }
  files_ = std::move(listing.files);
  spares_ = std::move(listing.spares);
  if (!files_.empty()) {
    // What is about to be taken for durable may only be in the page cache yet.
    SLUICE_ASSIGN_OR_RETURN(auto file, fs.Open(PathOf(files_.back().number), 0));
    SLUICE_RETURN_IF_ERROR(file->Sync());
  }
  const auto on_group = [&](JournalPosition position, std::string_view group) {
    sealed_ = group.empty();
    return sealed_ || position.value <= applied ? absl::OkStatus() : replay(position, group);
  };
  SLUICE_ASSIGN_OR_RETURN(const JournalPosition last,
                          ReadJournal(fs, options_.folder, files_,
                                      {.synced = JournalPosition(applied)}, on_group, end));
  last_ = last.value;
  return absl::OkStatus();
}

absl::Status Journal::Append(std::span<const std::string_view> parts) {
  SLUICE_RETURN_IF_ERROR(failure_);
  SLUICE_RETURN_IF_ERROR(WriteEntry(parts));
  sealed_ = false;
  return absl::OkStatus();
}

absl::Status Journal::Seal() {
  SLUICE_RETURN_IF_ERROR(failure_);
  if (sealed_) return absl::OkStatus();
  SLUICE_RETURN_IF_ERROR(WriteEntry({}));
  sealed_ = true;
  return absl::OkStatus();
}

absl::Status Journal::WriteEntry(std::span<const std::string_view> parts) {
  uint64_t length = 0;
  for (const std::string_view part : parts) length += part.size();
  SLUICE_CHECK(length <= UINT32_MAX);
  const uint64_t bytes = JournalGroupBytes(length);
  if (!file_ || end_ + bytes > files_.back().bytes) {
    const absl::Status started = StartFile(kFirstJournalGroupAt + bytes);
    if (!started.ok()) return Fail(started, /*written=*/false);
  }

  const std::string rest_of_header = EncodeJournalGroupHeader(length, file_id_, last_ + 1, last_);
  uint32_t crc = Crc32c(rest_of_header);
  for (const std::string_view part : parts) crc = Crc32c(part, crc);
  std::string header;
  PutFixed<uint32_t>(&header, crc);
  header += rest_of_header;

  std::vector<std::string_view> all;
  all.reserve(parts.size() + 1);
  all.push_back(header);
  all.insert(all.end(), parts.begin(), parts.end());
  absl::Status written = file_->Write(end_, all);
  if (written.ok()) written = file_->Sync();
  if (!written.ok()) return Fail(written, /*written=*/true);
  end_ += bytes;
  ++last_;
  return absl::OkStatus();
}

absl::Status Journal::StartFile(uint64_t min_bytes) {
  FileSystem& fs = *options_.files;
  const std::filesystem::path next = options_.folder / kNext;
  if (!spares_.empty()) {
    SLUICE_RETURN_IF_ERROR(fs.Rename(spares_.back(), next));
    spares_.pop_back();
  }
  const uint64_t bytes = std::max(options_.file_bytes, min_bytes);
  SLUICE_ASSIGN_OR_RETURN(std::unique_ptr<File> file, fs.Open(next, bytes));
  return GoOnIn(std::move(file), bytes);
}

absl::Status Journal::GoOnIn(std::unique_ptr<File> file, uint64_t bytes) {
  FileSystem& fs = *options_.files;
  JournalFileHeader header;
  header.number = files_.empty() ? 1 : files_.back().number + 1;
  header.file_id = RandomUint64();
  header.first_position = last_ + 1;
  const std::string encoded = EncodeJournalFileHeader(header);
  const std::string_view parts[] = {encoded};
  SLUICE_RETURN_IF_ERROR(file->Write(0, parts));
  SLUICE_RETURN_IF_ERROR(file->Sync());
  // Only a file whose header is durable gets its name.
  SLUICE_RETURN_IF_ERROR(fs.Rename(options_.folder / kNext, PathOf(header.number)));
  SLUICE_RETURN_IF_ERROR(fs.SyncFolder(options_.folder));
  files_.push_back({header.number, header.first_position, bytes});
  file_ = std::move(file);
  file_id_ = header.file_id;
  end_ = kFirstJournalGroupAt;
  return absl::OkStatus();
}

absl::Status Journal::Fail(const absl::Status& cause, bool written) {
  failure_ = cause;
  if (!written) {
    return WithOutcome(MakeError(Reason::READ_ONLY, std::string(cause.message())), Outcome::kNotIn);
  }
  // The disk may hold some, all or none of the group. Cut off what the kernel believes is there;
  // the next file's header does so for good.
  (void)file_->Truncate(end_);
  file_.reset();
  return WithOutcome(MakeError(Reason::COMMIT_UNKNOWN, std::string(cause.message())),
                     Outcome::kUnknown);
}

absl::Status Journal::Reopen() {
  if (failure_.ok()) return absl::OkStatus();
  absl::Status started = StartFile(0);
  if (started.ok()) failure_ = absl::OkStatus();
  return started;
}

absl::Status Journal::RemoveThrough(JournalPosition position) {
  bool removed = false;
  while (files_.size() > 1 && files_[1].first_position <= position.value + 1) {
    const JournalFile& oldest = files_.front();
    const std::filesystem::path path = PathOf(oldest.number);
    if (oldest.number > shed_ && spares_.size() < kMaxSpares) {
      const std::filesystem::path spare = options_.folder / absl::StrCat("spare-", oldest.number);
      SLUICE_RETURN_IF_ERROR(options_.files->Rename(path, spare));
      spares_.push_back(spare);
    } else {
      SLUICE_RETURN_IF_ERROR(options_.files->Remove(path));
    }
    files_.pop_front();
    removed = true;
  }
  // Before a spare gets a new header, its old name must be gone for good.
  return removed ? options_.files->SyncFolder(options_.folder) : absl::OkStatus();
}

absl::Status Journal::Shed() {
  SLUICE_RETURN_IF_ERROR(failure_);
  for (; !spares_.empty(); spares_.pop_back()) {
    SLUICE_RETURN_IF_ERROR(options_.files->Remove(spares_.back()));
  }
  const uint64_t newest = files_.empty() ? 0 : files_.back().number;
  const bool is_fresh = file_ && files_.back().first_position == last_ + 1;
  shed_ = is_fresh ? newest - 1 : newest;
  if (is_fresh) return absl::OkStatus();
  // That there is no room for a file does no harm by itself.
  SLUICE_ASSIGN_OR_RETURN(std::unique_ptr<File> next,
                          options_.files->Open(options_.folder / kNext, options_.file_bytes));
  absl::Status started = GoOnIn(std::move(next), options_.file_bytes);
  return started.ok() ? started : Fail(started, /*written=*/false);
}

uint64_t Journal::DiskBytes() const {
  uint64_t bytes = spares_.size() * options_.file_bytes;
  for (const JournalFile& file : files_) bytes += file.bytes;
  return bytes;
}

}  // namespace sluice::log

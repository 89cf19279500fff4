#include "services/log/journal.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/check.h"
#include "common/base/coding.h"
#include "common/base/crc32c.h"
#include "common/errors/errors.h"

namespace sluice::log {
namespace {

// README.md has the layouts. A file: header, then groups, each at a multiple of 8.
constexpr std::string_view kMagic = "SLUICEJ1";
constexpr size_t kFileHeaderBytes = 40;
constexpr uint64_t kFirstGroupAt = 64;
constexpr size_t kGroupHeaderBytes = 32;
constexpr std::string_view kSuffix = ".journal";
constexpr std::string_view kSparePrefix = "spare-";
constexpr std::string_view kNext = "next";
constexpr size_t kMaxSpares = 2;

absl::string_view ToAbsl(std::string_view s) { return {s.data(), s.size()}; }

uint64_t Aligned(uint64_t bytes) { return (bytes + 7) & ~uint64_t{7}; }

struct FileHeader {
  uint64_t number = 0;
  uint64_t file_id = 0;
  uint64_t first_position = 0;
};

std::string EncodeFileHeader(const FileHeader& header) {
  std::string out(kMagic);
  PutFixed<uint64_t>(&out, header.number);
  PutFixed<uint64_t>(&out, header.file_id);
  PutFixed<uint64_t>(&out, header.first_position);
  PutFixed<uint32_t>(&out, Crc32c(out));
  out.resize(kFileHeaderBytes);
  return out;
}

std::optional<FileHeader> DecodeFileHeader(std::string_view file) {
  Decoder in(file);
  const std::string_view magic = in.Bytes(kMagic.size());
  FileHeader header;
  header.number = in.Fixed<uint64_t>();
  header.file_id = in.Fixed<uint64_t>();
  header.first_position = in.Fixed<uint64_t>();
  const auto crc = in.Fixed<uint32_t>();
  if (!in.ok() || magic != kMagic || crc != Crc32c(file.substr(0, 32))) return std::nullopt;
  return header;
}

struct Group {
  uint64_t position = 0;
  // The last position that was synced when this group was written.
  uint64_t synced = 0;
  std::string_view payload;
  uint64_t end = 0;
};

// The group at `at`, if one of this file stands there whole.
std::optional<Group> ReadGroup(std::string_view file, uint64_t file_id, uint64_t at) {
  if (at + kGroupHeaderBytes > file.size()) return std::nullopt;
  const char* p = file.data() + at;
  if (GetFixed<uint64_t>(p + 8) != file_id) return std::nullopt;
  const uint64_t length = GetFixed<uint32_t>(p + 4);
  if (length > file.size() - at - kGroupHeaderBytes) return std::nullopt;
  if (Crc32c({p + 4, kGroupHeaderBytes - 4 + length}) != GetFixed<uint32_t>(p)) return std::nullopt;
  Group group;
  group.position = GetFixed<uint64_t>(p + 16);
  group.synced = GetFixed<uint64_t>(p + 24);
  group.payload = file.substr(at + kGroupHeaderBytes, length);
  group.end = at + Aligned(kGroupHeaderBytes + length);
  return group;
}

// Whether some group after `at` was written when `position` was synced already.
bool SyncedLater(std::string_view file, uint64_t file_id, uint64_t at, uint64_t position) {
  for (uint64_t i = at; i + kGroupHeaderBytes <= file.size(); i += 8) {
    const auto group = ReadGroup(file, file_id, i);
    if (group && group->position > position && group->synced >= position) return true;
  }
  return false;
}

absl::Status Lost(const std::filesystem::path& path, uint64_t position, std::string_view what) {
  return absl::DataLossError(
      absl::StrCat("journal file ", path.string(), ": group ", position, " ", ToAbsl(what)));
}

}  // namespace

std::filesystem::path Journal::PathOf(uint64_t number) const {
  return options_.folder / absl::StrCat(absl::Dec(number, absl::kZeroPad16), ToAbsl(kSuffix));
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
  SLUICE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          options_.files->List(options_.folder));
  for (const std::string& name : names) {
    absl::string_view digits = name;
    uint64_t number = 0;
    if (absl::ConsumeSuffix(&digits, ToAbsl(kSuffix)) && absl::SimpleAtoi(digits, &number)) {
      files_.push_back({.number = number});
    } else if (absl::StartsWith(name, ToAbsl(kSparePrefix))) {
      spares_.push_back(options_.folder / name);
    }
  }
  std::sort(files_.begin(), files_.end(),
            [](const JournalFile& a, const JournalFile& b) { return a.number < b.number; });

  // Backwards, to find where to begin: the last file that starts at or before what is to be
  // replayed.
  size_t begin = files_.size();
  while (begin > 0) {
    JournalFile& file = files_[--begin];
    SLUICE_ASSIGN_OR_RETURN(const std::string bytes, options_.files->Read(PathOf(file.number)));
    const auto header = DecodeFileHeader(bytes);
    if (!header || header->number != file.number) {
      return absl::DataLossError(absl::StrCat("journal file ", PathOf(file.number).string(),
                                              ": its header cannot be read"));
    }
    file.first_position = header->first_position;
    file.bytes = bytes.size();
    if (file.first_position <= applied + 1) break;
  }
  if (files_.empty() ? applied > 0 : files_[begin].first_position > applied + 1) {
    return absl::DataLossError(absl::StrCat("the journal in ", options_.folder.string(),
                                            " lacks the groups from ", applied + 1, " on"));
  }
  // Older files are not needed any more; what is left of them goes now, so that a gap among them is
  // none of ours.
  for (; begin > 0; --begin) {
    SLUICE_RETURN_IF_ERROR(options_.files->Remove(PathOf(files_.front().number)));
    files_.pop_front();
  }

  last_ = files_.empty() ? 0 : files_.front().first_position - 1;
  for (size_t i = 0; i < files_.size(); ++i) {
    const std::filesystem::path path = PathOf(files_[i].number);
    const bool newest = i + 1 == files_.size();
    if (!newest && files_[i + 1].number != files_[i].number + 1) {
      return Lost(PathOf(files_[i].number + 1), last_ + 1, "is missing with its file");
    }
    if (newest) {
      // What is about to be taken for durable may only be in the page cache yet.
      SLUICE_ASSIGN_OR_RETURN(auto file, options_.files->Open(path, 0));
      SLUICE_RETURN_IF_ERROR(file->Sync());
    }
    SLUICE_ASSIGN_OR_RETURN(const std::string bytes, options_.files->Read(path));
    const auto header = DecodeFileHeader(bytes);
    if (!header) return Lost(path, last_ + 1, "cannot be read");
    // Groups from the next file's first position on were cut off.
    const uint64_t limit = newest ? UINT64_MAX : files_[i + 1].first_position;
    for (uint64_t at = kFirstGroupAt; last_ + 1 < limit;) {
      const auto group = ReadGroup(bytes, header->file_id, at);
      if (!group || group->position != last_ + 1) {
        const bool synced =
            !newest || last_ + 1 <= applied || SyncedLater(bytes, header->file_id, at, last_ + 1);
        if (synced) return Lost(path, last_ + 1, "was durable and cannot be read");
        break;
      }
      last_ = group->position;
      at = group->end;
      sealed_ = group->payload.empty();
      if (last_ > applied && !sealed_) {
        SLUICE_RETURN_IF_ERROR(replay(JournalPosition(last_), group->payload));
      }
    }
  }
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
  const uint64_t bytes = Aligned(kGroupHeaderBytes + length);
  if (!file_ || end_ + bytes > files_.back().bytes) {
    const absl::Status started = StartFile(kFirstGroupAt + bytes);
    if (!started.ok()) return Fail(started, /*written=*/false);
  }

  std::string rest_of_header;
  PutFixed<uint32_t>(&rest_of_header, static_cast<uint32_t>(length));
  PutFixed<uint64_t>(&rest_of_header, file_id_);
  PutFixed<uint64_t>(&rest_of_header, last_ + 1);
  PutFixed<uint64_t>(&rest_of_header, last_);
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
  FileHeader header;
  header.number = files_.empty() ? 1 : files_.back().number + 1;
  header.file_id = RandomUint64();
  header.first_position = last_ + 1;
  const std::string encoded = EncodeFileHeader(header);
  const std::string_view parts[] = {encoded};
  SLUICE_RETURN_IF_ERROR(file->Write(0, parts));
  SLUICE_RETURN_IF_ERROR(file->Sync());
  // Only a file whose header is durable gets its name.
  SLUICE_RETURN_IF_ERROR(fs.Rename(next, PathOf(header.number)));
  SLUICE_RETURN_IF_ERROR(fs.SyncFolder(options_.folder));
  files_.push_back({header.number, header.first_position, bytes});
  file_ = std::move(file);
  file_id_ = header.file_id;
  end_ = kFirstGroupAt;
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
  const absl::Status started = StartFile(0);
  if (started.ok()) failure_ = absl::OkStatus();
  return started;
}

absl::Status Journal::RemoveThrough(JournalPosition position) {
  bool removed = false;
  while (files_.size() > 1 && files_[1].first_position <= position.value + 1) {
    const JournalFile& oldest = files_.front();
    const std::filesystem::path path = PathOf(oldest.number);
    if (spares_.size() < kMaxSpares) {
      const std::filesystem::path spare =
          options_.folder / absl::StrCat(ToAbsl(kSparePrefix), oldest.number);
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

uint64_t Journal::DiskBytes() const {
  uint64_t bytes = spares_.size() * options_.file_bytes;
  for (const JournalFile& file : files_) bytes += file.bytes;
  return bytes;
}

}  // namespace sluice::log

#include "services/log/journal_reader.h"

#include <algorithm>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "services/log/journal_format.h"

namespace sluice::log {
namespace {

constexpr char kSparePrefix[] = "spare-";

JournalDamage Lost(const std::filesystem::path& path, uint64_t first, uint64_t last,
                   absl::string_view what) {
  return {absl::DataLossError(
              absl::StrCat("journal file ", path.string(), ": group ", first, " ", what)),
          path, JournalPosition(first), JournalPosition(last)};
}

// Reads one file's groups, from the one after `last` on.
class GroupWalk {
 public:
  GroupWalk(std::filesystem::path path, std::string bytes, uint64_t file_id)
      : path_(std::move(path)), bytes_(std::move(bytes)), file_id_(file_id) {}

  // The group after `last`; nullopt: it is not there whole.
  std::optional<JournalGroup> Next(uint64_t last) {
    const auto group = ReadJournalGroup(bytes_, file_id_, at_);
    if (!group || group->position != last + 1) return std::nullopt;
    at_ = group->end;
    return group;
  }
  // Whether some later group was written when `position` was synced already.
  bool SyncedLater(uint64_t position) const {
    return FindJournalGroup(bytes_, file_id_, at_, position, position).has_value();
  }
  // Goes to the next whole group after `position`. Where that is; `otherwise` if there is none.
  uint64_t SkipTo(uint64_t position, uint64_t otherwise) {
    const auto group = FindJournalGroup(bytes_, file_id_, at_, position, 0);
    if (!group) return otherwise;
    at_ = group->end - JournalGroupBytes(group->payload.size());
    return group->position;
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  const std::filesystem::path path_;
  const std::string bytes_;
  const uint64_t file_id_;
  uint64_t at_ = kFirstJournalGroupAt;
};

}  // namespace

absl::StatusOr<JournalListing> ListJournal(FileSystem& files, const std::filesystem::path& folder,
                                           JournalPosition applied, OnJournalDamage on_damage) {
  SLUICE_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(folder));
  JournalListing listing;
  std::vector<uint64_t> numbers;
  for (const std::string& name : names) {
    if (const auto number = NumberOfJournalFile(name)) {
      numbers.push_back(*number);
    } else if (absl::StartsWith(name, kSparePrefix)) {
      listing.spares.push_back(folder / name);
    }
  }
  std::sort(numbers.begin(), numbers.end());

  // Backwards, to find where to begin: the last file that starts at or before what is to be
  // replayed.
  while (!numbers.empty()) {
    const uint64_t number = numbers.back();
    numbers.pop_back();
    const std::filesystem::path path = folder / JournalFileName(number);
    SLUICE_ASSIGN_OR_RETURN(const std::string bytes, files.Read(path));
    const auto header = DecodeJournalFileHeader(bytes);
    if (!header || header->number != number) {
      SLUICE_RETURN_IF_ERROR(
          on_damage({absl::DataLossError(absl::StrCat("journal file ", path.string(),
                                                      ": its header cannot be read")),
                     path,
                     {},
                     {}}));
      continue;
    }
    listing.files.push_front({number, header->first_position, bytes.size()});
    if (header->first_position <= applied.value + 1) break;
  }
  const uint64_t first = applied.value + 1;
  if (listing.files.empty() ? applied.value > 0 : listing.files.front().first_position > first) {
    const uint64_t last = listing.files.empty() ? 0 : listing.files.front().first_position - 1;
    SLUICE_RETURN_IF_ERROR(
        on_damage({absl::DataLossError(absl::StrCat("the journal in ", folder.string(),
                                                    " lacks the groups from ", first, " on")),
                   folder, JournalPosition(first), JournalPosition(last)}));
  }
  for (const uint64_t number : numbers) listing.older.push_back(folder / JournalFileName(number));
  return listing;
}

absl::StatusOr<JournalPosition> ReadJournal(
    FileSystem& files, const std::filesystem::path& folder, const std::deque<JournalFile>& listed,
    JournalRange range, absl::FunctionRef<absl::Status(JournalPosition, std::string_view)> on_group,
    OnJournalDamage on_damage) {
  uint64_t last = listed.empty() ? 0 : listed.front().first_position - 1;
  for (size_t i = 0; i < listed.size(); ++i) {
    const std::filesystem::path path = folder / JournalFileName(listed[i].number);
    const bool newest = i + 1 == listed.size();
    // Groups from the next file's first position on were cut off.
    const uint64_t next_file = newest ? UINT64_MAX : listed[i + 1].first_position;
    const bool gap = !newest && listed[i + 1].number != listed[i].number + 1;
    SLUICE_ASSIGN_OR_RETURN(std::string bytes, files.Read(path));
    const auto header = DecodeJournalFileHeader(bytes);
    if (!header) {
      SLUICE_RETURN_IF_ERROR(on_damage(Lost(path, last + 1, next_file - 1, "cannot be read")));
      last = next_file - 1;
      continue;
    }
    GroupWalk walk(path, std::move(bytes), header->file_id);
    const uint64_t limit = range.last.value < next_file ? range.last.value + 1 : next_file;
    while (last + 1 < limit) {
      const auto group = walk.Next(last);
      if (group) {
        last = group->position;
        SLUICE_RETURN_IF_ERROR(on_group(JournalPosition(last), group->payload));
        continue;
      }
      const uint64_t lost = last + 1;
      if (newest && lost > range.synced.value && !walk.SyncedLater(lost)) break;
      // How many groups the newest file had beyond what was synced, nobody knows.
      const uint64_t none = newest ? std::max(lost, range.synced.value) + 1 : next_file;
      const uint64_t next = walk.SkipTo(lost, none);
      const JournalDamage damage =
          gap && next == none ? Lost(folder / JournalFileName(listed[i].number + 1), lost, next - 1,
                                     "is missing with its file")
                              : Lost(path, lost, next - 1, "was durable and cannot be read");
      SLUICE_RETURN_IF_ERROR(on_damage(damage));
      last = next - 1;
    }
  }
  return JournalPosition(last);
}

}  // namespace sluice::log

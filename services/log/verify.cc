#include "services/log/verify.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/crc32c.h"
#include "common/errors/errors.h"
#include "services/log/command.h"
#include "services/log/data_folder.h"
#include "services/log/file.h"
#include "services/log/journal_reader.h"
#include "services/log/keys.h"
#include "services/log/reader.h"
#include "services/log/verify_rows.h"
#include "services/log/verify_tables.h"

namespace sluice::log {
namespace {

namespace fs = std::filesystem;

constexpr char kStoreFolder[] = "store";
constexpr char kOpening[] = "opening the store";
// A file of the journal that is not needed any more may go while it is read; then there are others.
constexpr int kJournalAttempts = 10;

uint64_t BytesIn(const fs::path& folder) {
  uint64_t bytes = 0;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code gone;
    const auto size = it->file_size(gone);
    if (!gone) bytes += size;
  }
  return bytes;
}

std::string StepOf(const std::string& table) { return absl::StrCat(kStoreFolder, "/", table); }

// What RocksDB's tables hold is read for itself, then row by row.
uint64_t BytesToRead(const fs::path& folder, const std::vector<TableFile>& tables,
                     const fs::path& journal) {
  uint64_t bytes = BytesIn(folder / kStoreFolder) + BytesIn(journal);
  for (const TableFile& table : tables) bytes += table.bytes;
  return bytes;
}

// Checks the blocks of a table whose frame was checked, or says what was found of it.
absl::Status CheckTable(const fs::path& folder, const std::string& table, const absl::Status& frame,
                        absl::FunctionRef<bool()> in_use, VerifyWork& work) {
  absl::Status checked = frame;
  if (checked.ok()) {
    if (!work.Begin(StepOf(table))) return absl::OkStatus();
    checked = CheckTableBlocks(folder / kStoreFolder / table, work);
  }
  if (checked.ok() || absl::IsCancelled(checked) || !in_use()) {
    return absl::IsCancelled(checked) ? checked : absl::OkStatus();
  }
  v1::VerifyFinding finding =
      absl::IsDataLoss(checked) || absl::IsNotFound(checked)
          ? DamageOf(checked, kRestoreAdvice)
          : NotVerified(std::string(checked.message()), "look at the disk, and verify again");
  finding.set_file(StepOf(table));
  work.Find(std::move(finding));
  return absl::OkStatus();
}

// Groups that are whole, and yet hold something else.
absl::Status CheckCommands(JournalPosition position, std::string_view group, VerifyWork& work) {
  const absl::Status read = ForEachCommand(group, [](const CommandView& command) {
    const auto* push = std::get_if<PushView>(&command.change);
    if (push && Crc32c(push->records) != push->records_crc32c) {
      return absl::DataLossError("the records of a push do not match their checksum");
    }
    return absl::OkStatus();
  });
  if (read.ok()) return work.Read(group.size());
  work.Find(
      DamageOf(Annotate(read, absl::StrCat("journal group ", position.value)), kRestoreAdvice));
  return work.Read(group.size());
}

// The groups after `persisted` are what a start needs; nullopt: nobody knows where it begins.
// NOT_FOUND: a file of a log that runs went meanwhile.
absl::Status CheckJournal(const fs::path& folder, std::optional<JournalPosition> persisted,
                          JournalRange range, std::string_view advice, VerifyWork& work) {
  FileSystem& files = *FileSystem::Machine();
  const auto on_damage = [&](const JournalDamage& damage) -> absl::Status {
    std::error_code ignored;
    const bool gone = !fs::exists(damage.file, ignored) && range.last.value != UINT64_MAX;
    if (gone) return absl::NotFoundError(damage.file.string());
    if (!persisted && damage.file == folder) return absl::OkStatus();
    work.Find(DamageOf(damage.error, advice));
    return absl::OkStatus();
  };
  SLUICE_ASSIGN_OR_RETURN(
      const JournalListing listing,
      ListJournal(files, folder, persisted.value_or(JournalPosition()), on_damage));
  return ReadJournal(
             files, folder, listing.files, range,
             [&](JournalPosition position, std::string_view group) {
               return CheckCommands(position, group, work);
             },
             on_damage)
      .status();
}

absl::Status VerifyRunningJournal(const Store& store, const fs::path& folder, VerifyWork& work) {
  absl::Status read = absl::OkStatus();
  for (int i = 0; i < kJournalAttempts; ++i) {
    work.Begin("journal");
    const JournalPosition persisted = store.persisted();
    SLUICE_ASSIGN_OR_RETURN(const pb::ShardState shard,
                            ReadShardState(Snapshot(store, Snapshot::Cache::kLeave)));
    const JournalPosition applied(shard.applied_position());
    read =
        CheckJournal(folder / JournalFolder(shard), persisted, {.synced = applied, .last = applied},
                     "everything in it is applied: make a backup (sluicectl backup create) and "
                     "restore that before the log stops",
                     work);
    if (!absl::IsNotFound(read)) break;
  }
  return read;
}

}  // namespace

absl::Status VerifyRunning(const Store& store, const fs::path& folder, VerifyWork& work) {
  const std::vector<TableFile> tables = store.Tables();
  const auto shard = ReadShardState(Snapshot(store, Snapshot::Cache::kLeave));
  const fs::path journal = folder / JournalFolder(shard.ok() ? *shard : pb::ShardState());
  work.Expect(BytesToRead(folder, tables, journal));

  bool frames_are_whole = true;
  for (const TableFile& table : tables) {
    const auto in_use = [&] {
      const std::vector<TableFile> now = store.Tables();
      return std::any_of(now.begin(), now.end(),
                         [&](const TableFile& other) { return other.name == table.name; });
    };
    const absl::Status frame = CheckTableFrame(folder / kStoreFolder / table.name);
    if (!frame.ok() && in_use()) frames_are_whole = false;
    SLUICE_RETURN_IF_ERROR(CheckTable(folder, table.name, frame, in_use, work));
  }

  absl::Status journal_read = VerifyRunningJournal(store, folder, work);
  if (absl::IsCancelled(journal_read)) return journal_read;
  if (!journal_read.ok()) {
    work.Find(NotVerified(absl::StrCat("the journal: ", journal_read.message()),
                          "look at the disk, and verify again"));
  }

  // RocksDB may end the process where it opens such a table for a reader.
  if (!frames_are_whole) {
    work.Find(
        NotVerified("the rows are not read while a table is damaged where RocksDB does not "
                    "expect it",
                    "stop the log, and verify its folder (sluicectl verify --data)"));
    return absl::OkStatus();
  }
  return VerifyRows(store, work);
}

namespace {

// The steps of verifying a folder.
class FolderVerifier {
 public:
  FolderVerifier(fs::path folder, VerifyWork& work) : folder_(std::move(folder)), work_(work) {}

  absl::Status Run() {
    SLUICE_RETURN_IF_ERROR(Hold());
    SLUICE_RETURN_IF_ERROR(CheckFrames());
    SLUICE_RETURN_IF_ERROR(OpenStore());
    SLUICE_RETURN_IF_ERROR(CheckTables());
    if (store_) SLUICE_RETURN_IF_ERROR(VerifyRows(*store_, work_));
    return CheckJournals();
  }

 private:
  absl::Status Hold() {
    FileSystem& files = *FileSystem::Machine();
    const absl::StatusOr<bool> format = CheckFormat(folder_, files);
    std::error_code ignored;
    if (!format.ok() || !*format) {
      // Its first bytes may be what is damaged.
      const bool is_logs = fs::exists(folder_ / "FORMAT", ignored) &&
                           fs::exists(folder_ / kStoreFolder / "CURRENT", ignored);
      if (!is_logs) {
        return format.ok() ? absl::FailedPreconditionError(
                                 absl::StrCat(folder_.string(), " is not a log's data folder"))
                           : format.status();
      }
      v1::VerifyFinding finding =
          DamageOf(format.status(), "of a log of this version it is one line: sluice-log 1");
      finding.set_file("FORMAT");
      work_.Find(std::move(finding));
    }
    SLUICE_ASSIGN_OR_RETURN(lock_, files.Lock(folder_ / "LOCK"));
    return absl::OkStatus();
  }

  absl::Status CheckFrames() {
    SLUICE_ASSIGN_OR_RETURN(std::vector<std::string> names,
                            FileSystem::Machine()->List(folder_ / kStoreFolder));
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      if (name.ends_with(".sst")) frames_[name] = CheckTableFrame(folder_ / kStoreFolder / name);
    }
    return absl::OkStatus();
  }

  absl::Status OpenStore() {
    const bool ended_the_process = work_.EndedIn(kOpening);
    // To be done also by a run that goes on behind it.
    (void)work_.Begin(kOpening);
    if (ended_the_process) return absl::OkStatus();
    auto opened = Store::OpenToRead({.folder = folder_ / kStoreFolder});
    if (opened.ok()) {
      store_ = *std::move(opened);
      return absl::OkStatus();
    }
    v1::VerifyFinding finding = DamageOf(opened.status(), kRestoreAdvice);
    if (!finding.file().ends_with(".sst")) {
      finding.set_file(StepOf(ReadToOpen(opened.status())));
    }
    work_.Find(std::move(finding));
    work_.Find(NotVerified("the store cannot be opened: its rows are not read", kRestoreAdvice));
    return absl::OkStatus();
  }

  // Which file it is that RocksDB does not name when it cannot open the store.
  std::string ReadToOpen(const absl::Status& error) const {
    constexpr char kCurrent[] = "CURRENT";
    for (const auto& [name, frame] : frames_) {
      if (!frame.ok()) return name;
    }
    const auto manifest = FileSystem::Machine()->Read(folder_ / kStoreFolder / kCurrent);
    if (!manifest.ok() || absl::StrContains(error.message(), kCurrent)) return kCurrent;
    return std::string(absl::StripTrailingAsciiWhitespace(*manifest));
  }

  absl::Status CheckTables() {
    std::vector<TableFile> tables;
    if (store_) {
      tables = store_->Tables();
      std::sort(tables.begin(), tables.end(),
                [](const TableFile& a, const TableFile& b) { return a.name < b.name; });
    } else {
      for (const auto& [name, frame] : frames_) tables.push_back({name, 0});
    }
    work_.Expect(BytesToRead(folder_, tables, folder_ / JournalsIn().front()));
    for (const TableFile& table : tables) {
      const auto frame = frames_.find(table.name);
      SLUICE_RETURN_IF_ERROR(CheckTable(
          folder_, table.name, frame == frames_.end() ? absl::OkStatus() : frame->second,
          [] { return true; }, work_));
    }
    return absl::OkStatus();
  }

  // The log's own; all that are there, where that is not known.
  std::vector<std::string> JournalsIn() const {
    if (store_) {
      const auto shard = ReadShardState(Snapshot(*store_));
      if (shard.ok()) return {JournalFolder(*shard)};
    }
    std::vector<std::string> folders;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder_, ignored)) {
      const std::string name = entry.path().filename();
      if (name.starts_with("journal")) folders.push_back(name);
    }
    if (folders.empty()) folders.emplace_back("journal");
    return folders;
  }

  absl::Status CheckJournals() {
    for (const std::string& name : JournalsIn()) {
      if (!work_.Begin(name)) continue;
      std::optional<JournalPosition> applied;
      if (store_) {
        const auto shard = ReadShardState(Snapshot(*store_));
        if (shard.ok()) applied = JournalPosition(shard->applied_position());
      }
      const absl::Status read =
          CheckJournal(folder_ / name, applied, {.synced = applied.value_or(JournalPosition())},
                       kRestoreAdvice, work_);
      if (absl::IsUnavailable(read) || absl::IsNotFound(read)) {
        work_.Find(NotVerified(std::string(read.message()), "look at the disk, and verify again"));
        continue;
      }
      SLUICE_RETURN_IF_ERROR(read);
    }
    return absl::OkStatus();
  }

  const fs::path folder_;
  VerifyWork& work_;
  std::shared_ptr<void> lock_;
  // By name: whether each table's frame is whole.
  std::map<std::string, absl::Status> frames_;
  // Null: it cannot be opened.
  std::unique_ptr<Store> store_;
};

}  // namespace

absl::Status VerifyFolder(const fs::path& folder, VerifyWork& work) {
  return FolderVerifier(folder, work).Run();
}

}  // namespace sluice::log

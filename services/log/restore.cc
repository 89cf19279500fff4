#include "services/log/restore.h"

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/errors/errors.h"
#include "services/log/data_folder.h"
#include "services/log/journal.h"
#include "services/log/keys.h"
#include "services/log/reader.h"
#include "services/log/store.h"

namespace sluice::log {
namespace {

constexpr size_t kBatchBytes = 4 << 20;

rocksdb::Slice ToSlice(std::string_view s) { return {s.data(), s.size()}; }

// Changes what the rows say of the old incarnation. May be cut short and begun again.
class Rebirth {
 public:
  Rebirth(Store& store, const pb::ShardState& before)
      : store_(store), snapshot_(store), before_(before) {}

  // Segments keep the names of their objects.
  absl::Status NameSegments() {
    return Each(RowType::kSegment, [this](std::string_view key, std::string_view row) {
      v1::SegmentInfo segment;
      if (!segment.ParseFromArray(row.data(), static_cast<int>(row.size()))) {
        return absl::DataLossError("a segment's row cannot be read");
      }
      if (segment.incarnation() != 0) return absl::OkStatus();
      segment.set_incarnation(before_.incarnation());
      batch_.Put(ToSlice(key), segment.SerializeAsString());
      return absl::OkStatus();
    });
  }

  // Backups hold objects of the old incarnation, which this log deletes in no case.
  absl::Status ForgetPins() {
    SLUICE_RETURN_IF_ERROR(Each(RowType::kPin, [this](std::string_view key, std::string_view) {
      batch_.Delete(ToSlice(key));
      return absl::OkStatus();
    }));
    return Each(RowType::kGarbage, [this](std::string_view key, std::string_view row) {
      auto garbage = DecodeGarbageKey(key);
      if (!garbage || garbage->due_us != kHeld) return absl::OkStatus();
      garbage->due_us = before_.time_us() + before_.policy().grace_us();
      batch_.Delete(ToSlice(key));
      batch_.Put(EncodeGarbageKey(*garbage), ToSlice(row));
      return absl::OkStatus();
    });
  }

  absl::Status Rename(Incarnation now) {
    pb::ShardState shard = before_;
    shard.set_incarnation(now.value);
    shard.set_restored(true);
    batch_.Put(ShardKey(), shard.SerializeAsString());
    return Write();
  }

 private:
  template <class Visit>
  absl::Status Each(RowType type, Visit visit) {
    const std::string prefix = TypePrefix(type);
    auto it = snapshot_.Scan(prefix, PrefixEnd(prefix));
    for (; it.Valid(); it.Next()) {
      SLUICE_RETURN_IF_ERROR(visit(it.key(), it.value()));
      if (batch_.GetDataSize() >= kBatchBytes) SLUICE_RETURN_IF_ERROR(Write());
    }
    return it.status();
  }
  absl::Status Write() {
    SLUICE_RETURN_IF_ERROR(store_.Write(&batch_));
    batch_.Clear();
    return absl::OkStatus();
  }

  Store& store_;
  const Snapshot snapshot_;
  const pb::ShardState before_;
  rocksdb::WriteBatch batch_;
};

absl::StatusOr<BackupFiles> Pick(const BackupFolder& backups, uint32_t id) {
  if (id != 0) return backups.Find(id);
  const std::vector<BackupFiles> all = backups.List();
  if (all.empty()) return MakeError(Reason::BACKUP_NOT_FOUND, "the folder has no whole backup");
  return all.back();
}

absl::Status RemoveAll(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::remove_all(folder, error);
  if (!error) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(folder.string(), ": ", error.message()));
}

// The journal folders of a restore that was interrupted.
absl::Status RemoveJournals(const std::filesystem::path& data, FileSystem& files) {
  SLUICE_ASSIGN_OR_RETURN(const auto names, files.List(data));
  for (const std::string& name : names) {
    if (name.starts_with("journal-")) SLUICE_RETURN_IF_ERROR(RemoveAll(data / name));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Restored> Restore(const RestoreOptions& options, BackupWork* work) {
  FileSystem& files = *FileSystem::Machine();
  const auto reached = [&](std::string_view step) {
    if (options.reached) options.reached(step);
  };
  SLUICE_ASSIGN_OR_RETURN(const auto backups, BackupFolder::OpenToRead(options.backups, work));
  SLUICE_ASSIGN_OR_RETURN(const BackupFiles backup, Pick(*backups, options.backup_id));
  SLUICE_RETURN_IF_ERROR(BeginRestoring(options.data, files));
  SLUICE_ASSIGN_OR_RETURN(const auto lock, files.Lock(options.data / "LOCK"));
  // Another one may have finished before the folder was held.
  SLUICE_RETURN_IF_ERROR(BeginRestoring(options.data, files));
  reached("begun");

  const std::filesystem::path store_folder = options.data / "store";
  SLUICE_RETURN_IF_ERROR(RemoveAll(store_folder));
  SLUICE_RETURN_IF_ERROR(RemoveJournals(options.data, files));
  SLUICE_RETURN_IF_ERROR(files.MakeFolder(store_folder));
  reached("emptied");
  work->total_bytes = backup.bytes;
  SLUICE_RETURN_IF_ERROR(backups->CopyTo(backup.id, store_folder));
  reached("copied");

  Restored restored{.backup_id = backup.id, .bytes = backup.bytes, .before = {}, .now = {}};
  pb::ShardState shard;
  {
    SLUICE_ASSIGN_OR_RETURN(const auto store,
                            Store::Open({.folder = store_folder}, [](JournalPosition) {}));
    SLUICE_ASSIGN_OR_RETURN(shard, ReadShardState(Snapshot(*store)));
    if (shard.incarnation() == 0 || shard.incarnation() != backup.label.incarnation()) {
      return MakeError(Reason::BACKUP_DAMAGED, "its label is of another log",
                       {{"backup_id", absl::StrCat(backup.id)}});
    }
    restored.before = Incarnation(shard.incarnation());
    restored.now = Incarnation(RandomUint64() | 1);
    Rebirth rebirth(*store, shard);
    SLUICE_RETURN_IF_ERROR(rebirth.NameSegments());
    SLUICE_RETURN_IF_ERROR(rebirth.ForgetPins());
    SLUICE_RETURN_IF_ERROR(rebirth.Rename(restored.now));
    SLUICE_RETURN_IF_ERROR(store->Flush());
    SLUICE_ASSIGN_OR_RETURN(shard, ReadShardState(Snapshot(*store)));
  }
  reached("renamed");
  SLUICE_RETURN_IF_ERROR(Journal::Begin({.folder = options.data / JournalFolder(shard),
                                         .file_bytes = options.journal_file_bytes,
                                         .files = &files},
                                        JournalPosition(shard.applied_position())));
  reached("journal");
  SLUICE_RETURN_IF_ERROR(FinishRestoring(options.data, files));
  reached("finished");
  return restored;
}

}  // namespace sluice::log

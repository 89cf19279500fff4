#include "services/log/backup_desk.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "services/log/reader.h"

namespace sluice::log {
namespace {

constexpr std::chrono::milliseconds kProgressEvery(200);

// Reports how far `work` is, until it goes.
class Reports {
 public:
  Reports(const BackupWork& work,
          const std::function<void(const v1::CreateBackupProgress&)>& report)
      : thread_([&work, &report](const std::stop_token& stop) {
          std::mutex mutex;
          std::condition_variable_any wakes;
          std::unique_lock lock(mutex);
          while (
              !wakes.wait_for(lock, stop, kProgressEvery, [&] { return stop.stop_requested(); })) {
            v1::CreateBackupProgress progress;
            progress.set_copied_bytes(work.written_bytes);
            progress.set_total_bytes(work.total_bytes);
            progress.set_verified_bytes(work.verified_bytes);
            report(progress);
          }
        }) {}

 private:
  std::jthread thread_;
};

}  // namespace

void BackupDesk::Reached(std::string_view step) const {
  if (reached) reached(step);
}

absl::StatusOr<std::unique_ptr<BackupFolder>> BackupDesk::OpenFolder(BackupWork* work) const {
  if (folder_.empty()) {
    return MakeError(Reason::BACKUPS_OFF, "the log has no folder for backups (log.backup.folder)");
  }
  return BackupFolder::Open(folder_, work);
}

absl::StatusOr<v1::BackupInfo> BackupDesk::Create(
    const std::stop_token& stop,
    const std::function<void(const v1::CreateBackupProgress&)>& progress) {
  BackupWork work;
  SLUICE_ASSIGN_OR_RETURN(const auto folder, OpenFolder(&work));
  if (const std::vector<uint32_t> damaged = folder->Damaged(); !damaged.empty()) {
    // A new backup would remove what is left of it.
    return MakeError(Reason::BACKUP_DAMAGED,
                     absl::StrCat("backup ", damaged[0],
                                  " of the folder is damaged: delete it, or move it away"),
                     {{"backup_id", absl::StrCat(damaged[0])}});
  }
  // The flush that comes first would wait.
  SLUICE_RETURN_IF_ERROR(shard_.Writable());

  pb::Command begin;
  begin.mutable_begin_pin();
  const Result begun = shard_.ProposeAndWait(Command(begin));
  SLUICE_RETURN_IF_ERROR(begun.status());
  const uint64_t pin = std::get<PinAnswer>(*begun).number;
  Reached("pinned");

  work.total_bytes = shard_.store().DiskBytes() + shard_.store().MemtableBytes();
  const Reports reports(work, progress);
  const absl::StatusOr<BackupFiles> created = CreateUnder(pin, *folder, work, stop);
  // What it held is not named by anything.
  if (!created.ok()) {
    const absl::Status ended = EndPin(pin);
    if (ended.ok()) return created.status();
    return Annotate(created.status(),
                    absl::StrCat("pin ", pin, " is left (", ended.message(), ")"));
  }

  pb::Command seal;
  seal.mutable_seal_pin()->set_number(pin);
  seal.mutable_seal_pin()->set_bytes(created->bytes);
  SLUICE_RETURN_IF_ERROR(shard_.ProposeAndWait(Command(seal)).status());
  Reached("sealed");
  v1::BackupInfo info;
  info.set_backup_id(created->id);
  info.set_pin(pin);
  info.set_complete(true);
  info.set_begun_time_us(created->label.begun_us());
  info.set_bytes(created->bytes);
  info.set_incarnation(created->label.incarnation());
  return info;
}

absl::StatusOr<BackupFiles> BackupDesk::CreateUnder(uint64_t pin, BackupFolder& folder,
                                                    BackupWork& work, const std::stop_token& stop) {
  const std::stop_callback on_stop(stop, [&work] { work.stopped = true; });
  SLUICE_ASSIGN_OR_RETURN(const auto pins, ReadPins(Snapshot(shard_.store())));
  pb::BackupLabel label;
  label.set_incarnation(shard_.incarnation().value);
  label.set_pin(pin);
  for (const Pin& p : pins) {
    if (p.number == pin) label.set_begun_us(p.state.begun_us());
  }
  SLUICE_ASSIGN_OR_RETURN(const BackupFiles files, folder.Create(shard_.store(), label));
  Reached("copied");
  const absl::StatusOr<BackupContents> contents = folder.Verify(files.id);
  if (contents.ok()) {
    Reached("verified");
    return files;
  }
  work.stopped = false;
  const absl::Status deleted = folder.Delete(files.id);
  if (!deleted.ok()) {
    return Annotate(contents.status(),
                    absl::StrCat("backup ", files.id, " is left (", deleted.message(), ")"));
  }
  return contents.status();
}

absl::StatusOr<std::vector<v1::BackupInfo>> BackupDesk::List() {
  if (folder_.empty()) return ListIn(nullptr);
  BackupWork work;
  SLUICE_ASSIGN_OR_RETURN(const auto folder, OpenFolder(&work));
  return ListIn(folder.get());
}

absl::StatusOr<std::vector<v1::BackupInfo>> BackupDesk::ListIn(const BackupFolder* folder) const {
  SLUICE_ASSIGN_OR_RETURN(std::vector<Pin> pins, ReadPins(Snapshot(shard_.store())));
  std::vector<v1::BackupInfo> backups;
  const auto add = [&](uint32_t id) -> v1::BackupInfo& {
    backups.emplace_back().set_backup_id(id);
    return backups.back();
  };
  if (folder != nullptr) {
    for (const BackupFiles& files : folder->List()) {
      v1::BackupInfo& info = add(files.id);
      info.set_begun_time_us(files.label.begun_us());
      info.set_bytes(files.bytes);
      info.set_incarnation(files.label.incarnation());
      info.set_complete(true);
      if (files.label.incarnation() != shard_.incarnation().value) continue;
      const auto pin = std::find_if(pins.begin(), pins.end(),
                                    [&](const Pin& p) { return p.number == files.label.pin(); });
      info.set_complete(pin != pins.end() && pin->state.sealed_epoch() != 0 &&
                        !pin->state.ending());
      if (pin == pins.end()) continue;
      info.set_pin(pin->number);
      pins.erase(pin);
    }
    for (const uint32_t id : folder->Damaged()) {
      add(id).set_damage("its files are not those of its list");
    }
    std::sort(backups.begin(), backups.end(),
              [](const auto& a, const auto& b) { return a.backup_id() < b.backup_id(); });
  }
  for (const Pin& pin : pins) {
    v1::BackupInfo& info = add(0);
    info.set_pin(pin.number);
    info.set_begun_time_us(pin.state.begun_us());
    info.set_incarnation(shard_.incarnation().value);
  }
  return backups;
}

absl::StatusOr<v1::VerifyBackupResponse> BackupDesk::Verify(const std::stop_token& stop,
                                                            uint32_t backup_id) {
  BackupWork work;
  const std::stop_callback on_stop(stop, [&work] { work.stopped = true; });
  SLUICE_ASSIGN_OR_RETURN(const auto folder, OpenFolder(&work));
  SLUICE_ASSIGN_OR_RETURN(const BackupContents contents, folder->Verify(backup_id));
  v1::VerifyBackupResponse response;
  response.set_collections(contents.collections);
  SLUICE_ASSIGN_OR_RETURN(const auto backups, ListIn(folder.get()));
  for (const v1::BackupInfo& info : backups) {
    if (info.backup_id() == backup_id) *response.mutable_backup() = info;
  }
  return response;
}

absl::Status BackupDesk::Delete(uint32_t backup_id) {
  BackupWork work;
  SLUICE_ASSIGN_OR_RETURN(const auto folder, OpenFolder(&work));
  const std::vector<uint32_t> damaged = folder->Damaged();
  if (std::find(damaged.begin(), damaged.end(), backup_id) != damaged.end()) {
    // Whose it is cannot be read: if a pin of ours is left, it is listed.
    return folder->Delete(backup_id);
  }
  SLUICE_ASSIGN_OR_RETURN(const BackupFiles files, folder->Find(backup_id));
  return DeleteFiles(*folder, files);
}

absl::Status BackupDesk::DeletePin(uint64_t pin) {
  SLUICE_ASSIGN_OR_RETURN(const auto pins, ReadPins(Snapshot(shard_.store())));
  if (std::none_of(pins.begin(), pins.end(), [&](const Pin& p) { return p.number == pin; })) {
    return MakeError(Reason::BACKUP_NOT_FOUND, absl::StrCat("there is no pin ", pin));
  }
  if (folder_.empty()) return EndPin(pin);
  BackupWork work;
  SLUICE_ASSIGN_OR_RETURN(const auto folder, OpenFolder(&work));
  for (const BackupFiles& files : folder->List()) {
    if (files.label.pin() == pin && files.label.incarnation() == shard_.incarnation().value) {
      return DeleteFiles(*folder, files);
    }
  }
  return EndPin(pin);
}

absl::Status BackupDesk::DeleteFiles(BackupFolder& folder, const BackupFiles& files) {
  SLUICE_RETURN_IF_ERROR(folder.Delete(files.id));
  Reached("deleted");
  // Another log's pins are not ours to end.
  if (files.label.incarnation() != shard_.incarnation().value) return absl::OkStatus();
  SLUICE_RETURN_IF_ERROR(EndPin(files.label.pin()));
  Reached("unpinned");
  return absl::OkStatus();
}

absl::Status BackupDesk::EndPin(uint64_t pin) {
  pb::Command end;
  end.mutable_end_pin()->set_number(pin);
  for (;;) {
    const Result ended = shard_.ProposeAndWait(Command(end));
    if (ReasonOf(ended.status()) == Reason::BACKUP_NOT_FOUND) return absl::OkStatus();
    SLUICE_RETURN_IF_ERROR(ended.status());
    if (!std::get<PinAnswer>(*ended).more) return absl::OkStatus();
  }
}

}  // namespace sluice::log

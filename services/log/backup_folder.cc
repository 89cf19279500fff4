#include "services/log/backup_folder.h"

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "services/log/file.h"
#include "services/log/keys.h"
#include "services/log/store_files.h"
#include "sluice/v1/segment.pb.h"

namespace sluice::log {
namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

IOStatus Stopped() { return IOStatus::Aborted("the backup was ended"); }

class WrittenFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  WrittenFile(std::unique_ptr<rocksdb::FSWritableFile> file, BackupWork* work)
      : FSWritableFileOwnerWrapper(std::move(file)), work_(work) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    if (work_->stopped) return Stopped();
    work_->written_bytes += data.size();
    return FSWritableFileOwnerWrapper::Append(data, options, debug);
  }
  IOStatus Append(const Slice& data, const IOOptions& options,
                  const rocksdb::DataVerificationInfo& verification,
                  IODebugContext* debug) override {
    if (work_->stopped) return Stopped();
    work_->written_bytes += data.size();
    return FSWritableFileOwnerWrapper::Append(data, options, verification, debug);
  }

 private:
  BackupWork* const work_;
};

class ReadFile : public rocksdb::FSSequentialFileOwnerWrapper {
 public:
  ReadFile(std::unique_ptr<rocksdb::FSSequentialFile> file, BackupWork* work)
      : FSSequentialFileOwnerWrapper(std::move(file)), work_(work) {}

  IOStatus Read(size_t n, const IOOptions& options, Slice* result, char* scratch,
                IODebugContext* debug) override {
    if (work_->stopped) return Stopped();
    IOStatus status = FSSequentialFileOwnerWrapper::Read(n, options, result, scratch, debug);
    if (status.ok() && work_->verifying) work_->verified_bytes += result->size();
    return status;
  }

 private:
  BackupWork* const work_;
};

// The machine's files, counted, until the work is stopped: RocksDB can be told to stop a backup,
// but not a verification or a restore.
class WorkFiles : public rocksdb::FileSystemWrapper {
 public:
  explicit WorkFiles(BackupWork* work)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), work_(work) {}
  static const char* kClassName() { return "SluiceBackupFiles"; }
  const char* Name() const override { return kClassName(); }

  IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* file,
                           IODebugContext* debug) override {
    std::unique_ptr<rocksdb::FSWritableFile> opened;
    IOStatus status = target()->NewWritableFile(path, options, &opened, debug);
    if (status.ok()) *file = std::make_unique<WrittenFile>(std::move(opened), work_);
    return status;
  }
  IOStatus NewSequentialFile(const std::string& path, const rocksdb::FileOptions& options,
                             std::unique_ptr<rocksdb::FSSequentialFile>* file,
                             IODebugContext* debug) override {
    std::unique_ptr<rocksdb::FSSequentialFile> opened;
    IOStatus status = target()->NewSequentialFile(path, options, &opened, debug);
    if (status.ok()) *file = std::make_unique<ReadFile>(std::move(opened), work_);
    return status;
  }

 private:
  BackupWork* const work_;
};

absl::Status FromBackup(const rocksdb::Status& status, absl::string_view what, uint32_t id = 0) {
  if (status.ok()) return absl::OkStatus();
  const std::string message = absl::StrCat(what, ": ", status.ToString());
  if (status.IsNotFound()) return MakeError(Reason::BACKUP_NOT_FOUND, message);
  if (status.IsCorruption() || status.IsPathNotFound()) {
    return MakeError(Reason::BACKUP_DAMAGED, message, {{"backup_id", absl::StrCat(id)}});
  }
  return MakeError(Reason::BACKUP_FAILED, message);
}

absl::Status DamagedBackup(uint32_t id, absl::string_view what) {
  return MakeError(Reason::BACKUP_DAMAGED, absl::StrCat("backup ", id, ": ", what),
                   {{"backup_id", absl::StrCat(id)}});
}

rocksdb::BackupEngineOptions OptionsFor(const std::filesystem::path& folder, rocksdb::Env* env) {
  // Shared by checksum: logs restored from it and the log it is of may have files of the same
  // number.
  rocksdb::BackupEngineOptions options(folder.string(), env);
  options.share_table_files = true;
  options.share_files_with_checksum = true;
  options.sync = true;
  options.backup_log_files = false;
  return options;
}

BackupFiles FilesOf(const rocksdb::BackupInfo& info) {
  BackupFiles files{.id = info.backup_id, .bytes = info.size, .label = {}};
  if (!files.label.ParseFromString(info.app_metadata)) files.label.Clear();
  return files;
}

}  // namespace

absl::StatusOr<std::unique_ptr<BackupFolder>> BackupFolder::Open(
    const std::filesystem::path& folder, BackupWork* work) {
  FileSystem& machine = *FileSystem::Machine();
  std::unique_ptr<BackupFolder> opened(new BackupFolder(work));
  absl::Status made = machine.MakeFolder(folder);
  if (!made.ok()) return MakeError(Reason::BACKUP_FAILED, std::string(made.message()));
  absl::StatusOr<std::shared_ptr<void>> lock = machine.Lock(folder / "LOCK");
  if (!lock.ok()) {
    return MakeError(
        absl::IsFailedPrecondition(lock.status()) ? Reason::BACKUP_BUSY : Reason::BACKUP_FAILED,
        std::string(lock.status().message()));
  }
  opened->lock_ = *std::move(lock);
  opened->env_ = rocksdb::NewCompositeEnv(std::make_shared<WorkFiles>(work));
  rocksdb::BackupEngine* engine = nullptr;
  SLUICE_RETURN_IF_ERROR(
      FromBackup(rocksdb::BackupEngine::Open(OptionsFor(folder, opened->env_.get()),
                                             rocksdb::Env::Default(), &engine),
                 folder.string()));
  opened->engine_.reset(engine);
  opened->base_ = engine;
  return opened;
}

absl::StatusOr<std::unique_ptr<BackupFolder>> BackupFolder::OpenToRead(
    const std::filesystem::path& folder, BackupWork* work) {
  if (const auto names = FileSystem::Machine()->List(folder); !names.ok()) {
    return MakeError(Reason::BACKUP_NOT_FOUND, std::string(names.status().message()));
  }
  std::unique_ptr<BackupFolder> opened(new BackupFolder(work));
  absl::StatusOr<std::shared_ptr<void>> lock = FileSystem::Machine()->Lock(folder / "LOCK");
  if (absl::IsFailedPrecondition(lock.status())) {
    return MakeError(Reason::BACKUP_BUSY, std::string(lock.status().message()));
  }
  if (lock.ok()) opened->lock_ = *std::move(lock);
  opened->env_ = rocksdb::NewCompositeEnv(std::make_shared<WorkFiles>(work));
  rocksdb::BackupEngineReadOnly* reader = nullptr;
  SLUICE_RETURN_IF_ERROR(
      FromBackup(rocksdb::BackupEngineReadOnly::Open(OptionsFor(folder, opened->env_.get()),
                                                     opened->env_.get(), &reader),
                 folder.string()));
  opened->reader_.reset(reader);
  opened->base_ = reader;
  return opened;
}

std::vector<BackupFiles> BackupFolder::List() const {
  std::vector<rocksdb::BackupInfo> infos;
  base_->GetBackupInfo(&infos);
  std::vector<BackupFiles> files;
  files.reserve(infos.size());
  for (const rocksdb::BackupInfo& info : infos) files.push_back(FilesOf(info));
  std::sort(files.begin(), files.end(),
            [](const BackupFiles& a, const BackupFiles& b) { return a.id < b.id; });
  return files;
}

std::vector<uint32_t> BackupFolder::Damaged() const {
  std::vector<rocksdb::BackupID> ids;
  base_->GetCorruptedBackups(&ids);
  std::sort(ids.begin(), ids.end());
  return ids;
}

absl::StatusOr<BackupFiles> BackupFolder::Find(uint32_t id) const {
  rocksdb::BackupInfo info;
  SLUICE_RETURN_IF_ERROR(
      FromBackup(base_->GetBackupInfo(id, &info), absl::StrCat("backup ", id), id));
  return FilesOf(info);
}

absl::StatusOr<BackupFiles> BackupFolder::Create(Store& store, const pb::BackupLabel& label) {
  rocksdb::CreateBackupOptions options;
  // There is no write-ahead log: what is in memtables alone would be missing.
  options.flush_before_backup = true;
  rocksdb::BackupID id = 0;
  const IOStatus created =
      engine_->CreateNewBackupWithMetadata(options, store.db(), label.SerializeAsString(), &id);
  if (!created.ok()) {
    // What was copied; the next backup would remove it too.
    (void)engine_->GarbageCollect();
    return FromBackup(created, "making a backup");
  }
  return Find(id);
}

absl::StatusOr<BackupContents> BackupFolder::Verify(uint32_t id) const {
  work_->verifying = true;
  SLUICE_RETURN_IF_ERROR(FromBackup(base_->VerifyBackup(id, /*verify_with_checksum=*/true),
                                    absl::StrCat("backup ", id), id));
  return Read(id);
}

absl::StatusOr<BackupContents> BackupFolder::Read(uint32_t id) const {
  rocksdb::BackupInfo info;
  const std::string name = absl::StrCat("backup ", id);
  SLUICE_RETURN_IF_ERROR(
      FromBackup(base_->GetBackupInfo(id, &info, /*include_file_details=*/true), name, id));
  rocksdb::Options options;
  options.env = info.env_for_open.get();
  options.info_log = std::make_shared<NoLog>();
  rocksdb::DB* raw = nullptr;
  SLUICE_RETURN_IF_ERROR(
      FromBackup(rocksdb::DB::OpenForReadOnly(options, info.name_for_open, &raw), name, id));
  const std::unique_ptr<rocksdb::DB> db(raw);

  BackupContents contents;
  std::string row;
  const std::string key = ShardKey();
  const rocksdb::Status got = db->Get(rocksdb::ReadOptions(), key, &row);
  if (!got.ok() || !contents.shard.ParseFromString(row)) {
    return DamagedBackup(id, "the shard's row cannot be read");
  }
  if (contents.shard.incarnation() != FilesOf(info).label.incarnation()) {
    return DamagedBackup(id, "its label is of another log");
  }
  const auto each = [&](RowType type, google::protobuf::Message& message,
                        auto&& visit) -> absl::Status {
    rocksdb::ReadOptions read;
    read.total_order_seek = true;
    const std::string prefix = TypePrefix(type);
    const std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(read));
    for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next()) {
      if (!message.ParseFromArray(it->value().data(), static_cast<int>(it->value().size()))) {
        return DamagedBackup(id, "a row of a log cannot be read");
      }
      visit();
    }
    return FromBackup(it->status(), name, id);
  };
  pb::LogState log;
  SLUICE_RETURN_IF_ERROR(
      each(RowType::kLog, log, [&] { contents.collections += log.deleted() ? 0 : 1; }));
  v1::SegmentInfo segment;
  SLUICE_RETURN_IF_ERROR(each(RowType::kSegment, segment, [] {}));
  return contents;
}

absl::Status BackupFolder::Delete(uint32_t id) {
  return FromBackup(engine_->DeleteBackup(id), absl::StrCat("backup ", id), id);
}

absl::Status BackupFolder::CopyTo(uint32_t id, const std::filesystem::path& store) const {
  return FromBackup(
      base_->RestoreDBFromBackup(rocksdb::RestoreOptions(), id, store.string(), store.string()),
      absl::StrCat("backup ", id), id);
}

}  // namespace sluice::log

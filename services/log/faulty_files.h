// For tests: the machine's files, with calls that fail on demand, writes that are torn, and a power
// loss that forgets what was not synced. Thread-safe as far as FileSystem is.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "services/log/file.h"

namespace sluice::log {

class FaultyFiles : public FileSystem {
 public:
  // Asked before each call: "open", "write", "sync", "truncate", "rename", "syncfolder". True: it
  // fails. A failing write has written half of its bytes.
  std::function<bool(std::string_view call, const std::filesystem::path& path)> fails =
      [](std::string_view, const std::filesystem::path&) { return false; };

  // Puts back what every file held when it was last synced. Names are not rolled back.
  void LosePower() {
    const std::lock_guard lock(mutex_);
    for (const auto& [path, writes] : unsynced_) {
      auto file = machine_.Open(path, 0);
      if (!file.ok()) continue;
      for (auto it = writes.rbegin(); it != writes.rend(); ++it) {
        const std::string_view parts[] = {it->second};
        (void)(*file)->Write(it->first, parts);
      }
    }
    unsynced_.clear();
  }

  absl::StatusOr<std::unique_ptr<File>> Open(const std::filesystem::path& path,
                                             uint64_t allocate) override {
    if (fails("open", path)) return absl::UnavailableError("injected: open");
    auto file = machine_.Open(path, allocate);
    if (!file.ok()) return file.status();
    return std::make_unique<FaultyFile>(*this, *std::move(file), path);
  }
  absl::StatusOr<std::string> Read(const std::filesystem::path& path) override {
    return machine_.Read(path);
  }
  absl::Status Rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    if (fails("rename", from)) return absl::UnavailableError("injected: rename");
    return machine_.Rename(from, to);
  }
  absl::Status Remove(const std::filesystem::path& path) override { return machine_.Remove(path); }
  absl::Status SyncFolder(const std::filesystem::path& folder) override {
    if (fails("syncfolder", folder)) return absl::UnavailableError("injected: syncfolder");
    return machine_.SyncFolder(folder);
  }
  absl::Status MakeFolder(const std::filesystem::path& folder) override {
    return machine_.MakeFolder(folder);
  }
  absl::StatusOr<std::shared_ptr<void>> Lock(const std::filesystem::path& path) override {
    return machine_.Lock(path);
  }
  absl::StatusOr<std::vector<std::string>> List(const std::filesystem::path& folder) override {
    return machine_.List(folder);
  }

 private:
  class FaultyFile : public File {
   public:
    FaultyFile(FaultyFiles& files, std::unique_ptr<File> file, std::filesystem::path path)
        : files_(files), file_(std::move(file)), path_(std::move(path)) {}

    absl::Status Write(uint64_t offset, std::span<const std::string_view> parts) override {
      std::string bytes;
      for (const std::string_view part : parts) bytes += part;
      {
        const std::lock_guard lock(files_.mutex_);
        std::string before = files_.machine_.Read(path_).value_or("");
        before.resize(std::max(before.size(), offset + bytes.size()));
        files_.unsynced_[path_].emplace_back(offset, before.substr(offset, bytes.size()));
      }
      const bool torn = files_.fails("write", path_);
      if (torn) bytes.resize(bytes.size() / 2);
      const std::string_view written[] = {bytes};
      const absl::Status status = file_->Write(offset, written);
      return torn ? absl::UnavailableError("injected: write") : status;
    }
    absl::Status Sync() override {
      if (files_.fails("sync", path_)) return absl::UnavailableError("injected: sync");
      const std::lock_guard lock(files_.mutex_);
      files_.unsynced_.erase(path_);
      return file_->Sync();
    }
    absl::Status Truncate(uint64_t size) override {
      if (files_.fails("truncate", path_)) return absl::UnavailableError("injected: truncate");
      return file_->Truncate(size);
    }

   private:
    FaultyFiles& files_;
    std::unique_ptr<File> file_;
    std::filesystem::path path_;
  };

  FileSystem& machine_ = *FileSystem::Machine();
  std::mutex mutex_;
  // By file: where was written since the last sync, and what stood there before.
  std::map<std::filesystem::path, std::vector<std::pair<uint64_t, std::string>>> unsynced_;
};

}  // namespace sluice::log

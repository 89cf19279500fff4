// For tests: a disk in memory, under a journal and a store at once. Operations fail on demand,
// space runs out, and power goes: what was not synced is then lost, in part or whole, as a real
// disk may lose it.
//
// The model of a power loss, by file: of what was written since its last sync, nothing, everything,
// or a prefix whose last write is torn at a sector survives; where it overwrites what was there
// already, also any of its sectors. (A file grows in order, as on ext4 and XFS: RocksDB relies on
// it for its manifest.) By folder: a prefix
// of what was made, renamed and removed since the folder was last synced survives. Which of them is
// drawn from the seed. A new file's name is durable only once its folder was synced, as POSIX has
// it.
//
// Thread-safe. Must outlive what uses files() and rocks(). Paths are absolute; "/data" exists.
#pragma once

#include <rocksdb/file_system.h>
#include <rocksdb/system_clock.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "services/log/file.h"

namespace sluice::log {

// A clock for RocksDB, which sleeps for a second after each background error.
class ImpatientClock : public rocksdb::SystemClockWrapper {
 public:
  ImpatientClock() : SystemClockWrapper(rocksdb::SystemClock::Default()) {}
  const char* Name() const override { return "ImpatientClock"; }
  void SleepForMicroseconds(int micros) override {
    SystemClockWrapper::SleepForMicroseconds(std::min(micros, 500));
  }
};

class SimulatedDisk {
 public:
  enum class Op {
    kOpen,
    kRead,
    kWrite,
    kSync,
    kResize,
    kRename,
    kRemove,
    kSyncFolder,
    kMakeFolder,
    kLock,
  };

  explicit SimulatedDisk(uint64_t seed = 0);
  ~SimulatedDisk();
  SimulatedDisk(const SimulatedDisk&) = delete;
  SimulatedDisk& operator=(const SimulatedDisk&) = delete;

  // The journal's way to it, and RocksDB's.
  FileSystem* files() { return files_.get(); }
  const std::shared_ptr<rocksdb::FileSystem>& rocks() const { return rocks_; }

  // Asked before each operation: 0, or the errno that it fails with. A failing write has written
  // some of its sectors, a failing sync has synced nothing. Called under the disk's lock.
  void SetFaults(std::function<int(Op op, std::string_view path)> faults);
  // Bytes of all files; writing beyond fails with ENOSPC.
  void SetCapacity(uint64_t bytes);
  uint64_t UsedBytes() const;

  // Operations so far; reads are not counted.
  uint64_t Operations() const;
  // The operation after the next `operations` is cut off half way, and from then on all fail.
  void CutPowerAfter(uint64_t operations);
  bool HasPower() const;
  // Cuts the power if that was not done yet, loses what is to be lost, and turns the machine on
  // again: files opened before fail for good.
  void Restart();

  // What a file holds now; for tests that damage it. "" if there is none.
  std::string Contents(std::string_view path) const;
  void SetContents(std::string_view path, std::string bytes);
  std::vector<std::string> List(std::string_view folder) const;

 private:
  class JournalFiles;
  class JournalFile;
  class RocksFiles;
  class WritableFile;
  class ReadableFile;
  class SequentialFile;
  class Folder;

  struct Node;
  using NodeRef = std::shared_ptr<Node>;
  struct Write {
    uint64_t offset = 0;
    std::string bytes;
  };
  struct Resize {
    uint64_t size = 0;
  };
  using Change = std::variant<Write, Resize>;
  // Entries that change together; null: removed.
  using EntryChange = std::vector<std::pair<std::string, NodeRef>>;
  // A file or a folder: as it is, as it is on the disk for sure, and what leads from one to the
  // other.
  struct Node {
    bool folder = false;
    std::string bytes;
    std::string durable_bytes;
    std::vector<Change> changes;
    std::map<std::string, NodeRef> entries;
    std::map<std::string, NodeRef> durable_entries;
    std::vector<EntryChange> entry_changes;
  };
  // A file as somebody opened it.
  struct Handle {
    NodeRef node;
    std::string path;
    uint64_t boot = 0;
  };

  // All under mutex_. 0 or an errno.
  int Begin(Op op, std::string_view path);
  int OpenLocked(std::string_view path, bool create, bool truncate, Handle* handle);
  int WriteLocked(const Handle& handle, uint64_t offset, std::string_view bytes);
  int ResizeLocked(const Handle& handle, uint64_t size, bool only_grow);
  int SyncLocked(const Handle& handle);
  int ReadLocked(const Handle& handle, uint64_t offset, size_t n, std::string* out);
  int RenameLocked(std::string_view from, std::string_view to);
  int RemoveLocked(std::string_view path);
  int SyncFolderLocked(std::string_view path);
  int MakeFolderLocked(std::string_view path);
  int ListLocked(std::string_view path, std::vector<std::string>* names) const;
  int LockLocked(std::string_view path);

  NodeRef Find(std::string_view path) const;
  // The folder that holds the path's last part, and that part.
  NodeRef Parent(std::string_view path, std::string* name) const;
  void ChangeEntries(Node& folder, EntryChange change);
  void Lose(Node& node);
  void LoseData(Node& file);
  uint64_t UsedLocked() const;
  static uint64_t UsedBy(const Node& node);
  static void Apply(const Change& change, std::string* bytes);
  static void Apply(const EntryChange& change, std::map<std::string, NodeRef>* entries);

  mutable std::mutex mutex_;
  std::mt19937_64 random_;
  NodeRef root_;
  std::function<int(Op, std::string_view)> faults_;
  uint64_t capacity_ = UINT64_MAX;
  uint64_t operations_ = 0;
  uint64_t power_until_ = UINT64_MAX;
  bool power_ = true;
  // Of the operation under way: the power went, and it was carried out nevertheless.
  bool interrupted_ = false;
  uint64_t boot_ = 0;
  std::set<std::string, std::less<>> locks_;
  std::unique_ptr<FileSystem> files_;
  std::shared_ptr<rocksdb::FileSystem> rocks_;
};

}  // namespace sluice::log

#include "common/objects/object_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/ids.h"
#include "common/errors/errors.h"
#include "common/objects/sha256.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

constexpr char kTemporaryFolder[] = ".tmp";
// At once, of different objects.
constexpr int kMaxDownloads = 4;

fs::path FileName(std::string name, const std::string& sha256) {
  std::replace(name.begin(), name.end(), '/', '_');
  return absl::StrCat(name, ".", sha256);
}

absl::Status OutOfPatience(const Patience& patience, const std::string& name) {
  if (patience.given_up.stop_requested()) return absl::CancelledError("given up: " + name);
  return absl::UnavailableError(name + " did not arrive in time");
}

}  // namespace

absl::StatusOr<std::unique_ptr<ObjectCache>> ObjectCache::Open(fs::path folder,
                                                               uint64_t max_bytes) {
  std::error_code error;
  folder = fs::absolute(folder, error);
  if (!error) fs::create_directories(folder, error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("cannot create ", folder.string(), ": ", error.message()));
  }
  const int lock = open(folder.c_str(), O_RDONLY | O_CLOEXEC);
  if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) != 0) {
    const std::error_code why(errno, std::generic_category());
    if (lock >= 0) close(lock);
    return absl::UnavailableError(absl::StrCat("cannot lock ", folder.string(),
                                               ", which is for one process: ", why.message()));
  }
  std::unique_ptr<ObjectCache> cache(new ObjectCache(folder, max_bytes, lock));
  fs::remove_all(folder / kTemporaryFolder, error);
  if (!error) fs::create_directories(folder / kTemporaryFolder, error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("cannot clear ", folder.string(), "/.tmp: ", error.message()));
  }
  cache->FindFiles();
  return cache;
}

ObjectCache::~ObjectCache() { close(lock_); }

void ObjectCache::FindFiles() {
  struct Found {
    fs::file_time_type written;
    std::string name;
    fs::path path;
    uint64_t bytes;
  };
  std::vector<Found> all;
  std::error_code error;
  for (const auto& file : fs::directory_iterator(folder_, error)) {
    std::string name = file.path().stem().string();
    std::replace(name.begin(), name.end(), '_', '/');
    if (!file.is_regular_file(error) || !CheckObjectName(name).ok()) continue;
    const uint64_t bytes = file.file_size(error);
    if (!error) all.push_back({file.last_write_time(error), name, file.path(), bytes});
  }
  std::sort(all.begin(), all.end(),
            [](const Found& a, const Found& b) { return a.written < b.written; });
  const MutexLock lock(mutex_);
  for (Found& found : all) {
    Keep(found.name, std::make_shared<const fs::path>(std::move(found.path)), found.bytes, true);
  }
  Evict();
}

fs::path ObjectCache::NewTemporaryPath() const {
  return folder_ / kTemporaryFolder / Uuid::Random().ToString();
}

absl::StatusOr<ObjectFile> ObjectCache::Get(std::string_view name, const Download& download,
                                            const Patience& patience) {
  const std::string key(name);
  std::shared_ptr<Arrival> arrival;
  {
    MutexLock lock(mutex_);
    while (true) {
      if (ObjectFile file = FindChecked(key)) return file;
      std::shared_ptr<Arrival>& here = arriving_[key];
      if (here == nullptr) break;
      arrival = here;
      if (!Await(patience, [&] { return arrival->done; })) return OutOfPatience(patience, key);
      if (!arrival->given_up || patience.is_over()) return arrival->outcome;
    }
    arrival = arriving_[key] = std::make_shared<Arrival>();
    if (Await(patience, [&]() REQUIRES(mutex_) { return downloads_ < kMaxDownloads; })) {
      ++downloads_;
    } else {
      Conclude(key, *arrival, OutOfPatience(patience, key), true);
      return arrival->outcome;
    }
  }
  absl::StatusOr<ObjectFile> outcome = Arrive(key, download);
  const MutexLock lock(mutex_);
  --downloads_;
  Conclude(key, *arrival, outcome, !outcome.ok() && patience.is_over());
  return outcome;
}

void ObjectCache::Conclude(const std::string& name, Arrival& arrival,
                           absl::StatusOr<ObjectFile> outcome, bool given_up) {
  arrival.done = true;
  arrival.given_up = given_up;
  arrival.outcome = std::move(outcome);
  arriving_.erase(name);
  changed_.notify_all();
}

bool ObjectCache::Await(const Patience& patience, const std::function<bool()>& ready) {
  return changed_.wait_until(mutex_, patience.given_up, patience.deadline, ready);
}

ObjectFile ObjectCache::Find(std::string_view name) {
  const std::string key(name);
  {
    const MutexLock lock(mutex_);
    if (ObjectFile file = FindChecked(key)) return file;
  }
  return Check(key);
}

ObjectFile ObjectCache::FindChecked(const std::string& name) {
  const auto entry = entries_.find(name);
  if (entry == entries_.end() || entry->second.unchecked) return nullptr;
  recent_.splice(recent_.begin(), recent_, entry->second.place);
  return entry->second.file;
}

ObjectFile ObjectCache::Check(const std::string& name) {
  ObjectFile file;
  {
    const MutexLock lock(mutex_);
    const auto entry = entries_.find(name);
    if (entry == entries_.end()) return nullptr;
    file = entry->second.file;
  }
  const absl::StatusOr<std::string> sha256 = Sha256OfFile(*file);
  const bool good = sha256.ok() && file->extension() == "." + *sha256;
  const MutexLock lock(mutex_);
  const auto entry = entries_.find(name);
  if (entry == entries_.end() || entry->second.file != file) return nullptr;
  if (!good) {
    Drop(name);
    return nullptr;
  }
  entry->second.unchecked = false;
  recent_.splice(recent_.begin(), recent_, entry->second.place);
  return file;
}

absl::StatusOr<ObjectFile> ObjectCache::Arrive(const std::string& name, const Download& download) {
  if (ObjectFile file = Check(name)) return file;
  const fs::path path = NewTemporaryPath();
  absl::StatusOr<std::string> sha256 = download(path);
  absl::StatusOr<ObjectFile> kept =
      sha256.ok() ? Move(name, path, *sha256) : absl::StatusOr<ObjectFile>(sha256.status());
  std::error_code ignored;
  if (!kept.ok()) fs::remove(path, ignored);
  return kept;
}

absl::StatusOr<ObjectFile> ObjectCache::Move(const std::string& name, const fs::path& file,
                                             const std::string& sha256) {
  const MutexLock lock(mutex_);
  Drop(name);
  const fs::path path = folder_ / FileName(name, sha256);
  std::error_code error;
  const uint64_t bytes = fs::file_size(file, error);
  if (!error) fs::rename(file, path, error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("cannot move ", file.string(), " to ", path.string(), ": ", error.message()));
  }
  ObjectFile kept = std::make_shared<const fs::path>(path);
  Keep(name, kept, bytes, false);
  Evict();
  return kept;
}

void ObjectCache::Add(std::string_view name, const fs::path& file, const std::string& sha256) {
  std::error_code ignored;
  if (!Move(std::string(name), file, sha256).ok()) fs::remove(file, ignored);
}

void ObjectCache::Remove(std::string_view name) {
  const MutexLock lock(mutex_);
  Drop(std::string(name));
}

void ObjectCache::Keep(const std::string& name, ObjectFile file, uint64_t bytes, bool unchecked) {
  Drop(name);
  recent_.push_front(name);
  entries_[name] = {std::move(file), bytes, unchecked, recent_.begin()};
  bytes_ += bytes;
}

void ObjectCache::Drop(const std::string& name) {
  const auto entry = entries_.find(name);
  if (entry == entries_.end()) return;
  std::error_code ignored;
  fs::remove(*entry->second.file, ignored);
  bytes_ -= entry->second.bytes;
  recent_.erase(entry->second.place);
  entries_.erase(entry);
}

void ObjectCache::Evict() {
  for (auto name = recent_.end(); bytes_ > max_bytes_ && name != recent_.begin();) {
    --name;
    // Copies are made under the lock or of one that is held, so one that nobody holds stays so.
    if (entries_[*name].file.use_count() > 1) continue;
    const std::string dropped = *name++;
    Drop(dropped);
  }
}

}  // namespace sluice

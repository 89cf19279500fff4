#include "services/compactor/garbage.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "common/errors/errors.h"
#include "common/server/logging.h"

namespace sluice::compactor {
namespace {

constexpr uint32_t kEntriesPerCall = 100;

// The name without its last part.
std::string FolderOf(const std::string& name) { return name.substr(0, name.rfind('/')); }

// The last part of a name as a number; nullopt if it is none.
std::optional<uint64_t> NumberOf(std::string_view name) {
  const std::string_view last = name.substr(name.rfind('/') + 1);
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(last.data(), last.data() + last.size(), number);
  if (error != std::errc() || end != last.data() + last.size()) return std::nullopt;
  return number;
}

absl::StatusOr<std::vector<std::string>> NotCommitted(const v1::EndedToken& ended,
                                                      const std::string& folder,
                                                      const ObjectStore& objects) {
  SLUICE_ASSIGN_OR_RETURN(std::vector<std::string> names, objects.List(folder));
  const auto& committed = ended.committed_objects();
  std::erase_if(names, [&](const std::string& name) {
    const std::optional<uint64_t> number = NumberOf(name);
    return FolderOf(name) != folder || !number ||
           std::find(committed.begin(), committed.end(), *number) != committed.end();
  });
  return names;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ObjectsOf(const v1::GarbageEntry& entry,
                                                   const ObjectStore& objects) {
  SLUICE_ASSIGN_OR_RETURN(const CollectionId collection, ParseCollectionId(entry.collection_id()));
  const Incarnation incarnation(entry.incarnation());
  const auto name = [&](uint64_t token, uint64_t number) {
    return SegmentObjectName(collection, incarnation, token, number);
  };
  if (incarnation.value != 0) {
    switch (entry.what_case()) {
      case v1::GarbageEntry::kSegment:
        return std::vector{name(entry.segment().token(), entry.segment().number())};
      case v1::GarbageEntry::kEndedToken:
        if (entry.ended_token().token() == 0) break;
        return NotCommitted(entry.ended_token(), FolderOf(name(entry.ended_token().token(), 1)),
                            objects);
      case v1::GarbageEntry::kWholeCollection:
        if (!entry.whole_collection()) break;
        return objects.List(FolderOf(FolderOf(name(1, 1))));
      case v1::GarbageEntry::WHAT_NOT_SET:
        break;
    }
  }
  return absl::InvalidArgumentError("an entry of the garbage list is of no known form");
}

absl::Status CollectGarbage(const Workplace& workplace, Pulse& pulse, const std::stop_token& stop) {
  static server::RateLimitedLog not_understood(std::chrono::minutes(1));
  v1::ListGarbageRequest list;
  list.set_limit(kEntriesPerCall);
  while (!stop.stop_requested()) {
    SLUICE_ASSIGN_OR_RETURN(const v1::ListGarbageResponse listed,
                            workplace.compaction.ListGarbage(list));
    v1::CollectGarbageRequest collected;
    for (const v1::GarbageEntry& entry : listed.entries()) {
      if (stop.stop_requested()) break;
      const absl::StatusOr<std::vector<std::string>> names = ObjectsOf(entry, workplace.objects);
      if (!names.ok() && absl::IsInvalidArgument(names.status())) {
        not_understood(server::Level::kWarn, "garbage entry left alone",
                       {{"collection_id", entry.collection_id()}, {"error", names.status()}});
        continue;
      }
      SLUICE_RETURN_IF_ERROR(names.status());
      for (const std::string& name : *names) {
        SLUICE_RETURN_IF_ERROR(workplace.objects.Delete(name));
        workplace.metrics.garbage_objects.Increment();
      }
      collected.add_keys(entry.key());
      pulse.Beat();
    }
    if (collected.keys().empty()) return absl::OkStatus();
    workplace.faults.Reach(Stage::kGarbageDeleted);
    SLUICE_RETURN_IF_ERROR(workplace.compaction.CollectGarbage(collected));
    workplace.faults.Reach(Stage::kGarbageCollected);
    if (listed.entries_size() < static_cast<int>(kEntriesPerCall)) return absl::OkStatus();
  }
  return absl::OkStatus();
}

}  // namespace sluice::compactor

// Reading a shard's rows from a snapshot: logs, segments, due work, garbage, the catalog. Plain
// functions; thread-safe. Errors: COLLECTION_NOT_FOUND, COLLECTION_DELETED where they say so;
// LOG_CORRUPT for a row that cannot be read; what Store gives.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "services/log/command.pb.h"
#include "services/log/keys.h"
#include "services/log/store.h"
#include "sluice/v1/collection.pb.h"
#include "sluice/v1/compaction.pb.h"
#include "sluice/v1/cursor.pb.h"
#include "sluice/v1/segment.pb.h"

namespace sluice::log {

absl::StatusOr<pb::ShardState> ReadShardState(const Snapshot& snapshot);

// COLLECTION_NOT_FOUND; COLLECTION_DELETED.
absl::StatusOr<pb::LogState> ReadLog(const Snapshot& snapshot, const CollectionId& collection);
// Oldest first.
absl::StatusOr<std::vector<v1::SegmentInfo>> ReadSegments(const Snapshot& snapshot,
                                                          const CollectionId& collection);

// CURSOR_NOT_FOUND.
absl::StatusOr<pb::CursorState> ReadCursor(const Snapshot& snapshot, const CollectionId& collection,
                                           std::string_view name);
// "index" first, unless the collection is log_only; the others by name.
absl::StatusOr<std::vector<v1::Cursor>> ReadCursors(const Snapshot& snapshot,
                                                    const CollectionId& collection,
                                                    const pb::LogState& log,
                                                    Incarnation incarnation);

// Work of this kind in order of due time: what is due at `now_us`, at most `limit`.
absl::StatusOr<std::vector<DueKey>> ReadDue(const Snapshot& snapshot, DueKind kind, int64_t now_us,
                                            size_t limit);
// When the next work of this kind comes due that is not at `now_us`; nullopt: there is none.
absl::StatusOr<std::optional<int64_t>> NextDue(const Snapshot& snapshot, DueKind kind,
                                               int64_t now_us);

// Entries whose grace time is over at `now_us`, oldest first, complete with their keys. All name
// objects of this log's incarnation: those that a restored log finds in its rows from before are
// not its own to delete; their names of now stand for nothing.
absl::StatusOr<std::vector<v1::GarbageEntry>> ReadGarbage(const Snapshot& snapshot, int64_t now_us,
                                                          size_t limit);

// Rows that lack their vector, for this reason (UNSPECIFIED: any), in order of the hashes of their
// ids, after the page that ended with `after` (or ""). Looks at a bounded number of rows, so that a
// page may be short and not the last.
struct MissingPage {
  std::vector<v1::MissingVector> missing;
  // "" on the last page.
  std::string next;
};
absl::StatusOr<MissingPage> ReadMissingVectors(const Snapshot& snapshot,
                                               const CollectionId& collection,
                                               v1::MissingReason reason, std::string_view after,
                                               size_t limit);
// By number.
struct Pin {
  uint64_t number = 0;
  pb::PinState state;
};
absl::StatusOr<std::vector<Pin>> ReadPins(const Snapshot& snapshot);

// In any state. COLLECTION_NOT_FOUND.
absl::StatusOr<v1::Collection> ReadCollection(const Snapshot& snapshot,
                                              const CollectionId& collection);
// By its name, while it has it (CREATING, ACTIVE or DELETING). COLLECTION_NOT_FOUND.
absl::StatusOr<v1::Collection> FindCollection(const Snapshot& snapshot, std::string_view tenant,
                                              std::string_view database, std::string_view name);
// ACTIVE ones in order of (tenant, database, name); an empty part means all. `after` is `next` of
// the page before, or "".
struct CollectionPage {
  std::vector<v1::Collection> collections;
  // "" on the last page.
  std::string next;
};
absl::StatusOr<CollectionPage> ListCollections(const Snapshot& snapshot, std::string_view tenant,
                                               std::string_view database, std::string_view after,
                                               size_t limit);
// Those that a crash may have left half created or half deleted, or whose log does not have their
// newest settings. Reads the whole catalog: for start-up.
absl::StatusOr<std::vector<v1::Collection>> ListUnsettledCollections(const Snapshot& snapshot);

}  // namespace sluice::log

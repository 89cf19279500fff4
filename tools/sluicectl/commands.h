// The commands of sluicectl. Each prints its result to standard output; an error is returned, and
// what it says about being in holds for the whole command.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tools/sluicectl/session.h"

namespace sluice::ctl {

// collections.cc
// Unset: not given. 0: the default.
struct SettingsArguments {
  std::optional<uint64_t> max_bytes;
  std::optional<uint64_t> max_age_ms;
  std::optional<uint64_t> max_backlog_bytes;
  std::optional<uint64_t> retain_ms;
  std::optional<uint64_t> erase_within_ms;
  std::optional<uint64_t> retain_bytes;
};
struct CreateArguments {
  std::string name;
  uint32_t dimension = 0;
  std::string metric = "cosine";
  std::string embedder = "none";
  bool log_only = false;
  std::string model;
  std::string document_prefix;
  std::string query_prefix;
  bool get_or_create = false;
  SettingsArguments settings;
};
absl::Status CreateCollection(Session& session, const CreateArguments& arguments);
// Changes the settings that are given, and leaves the others as they are.
absl::Status UpdateCollection(Session& session, const std::string& collection,
                              const SettingsArguments& settings);
absl::Status ListCollections(Session& session, bool all);
absl::Status DescribeCollection(Session& session, const std::string& collection);
absl::Status DeleteCollection(Session& session, const std::string& collection);

// write.cc
struct WriteArguments {
  std::string collection;
  // "-" is standard input.
  std::string file = "-";
  // Of `delete`: instead of a file.
  std::vector<std::string> ids;
  size_t batch = 1'000;
  size_t under_way = 8;
};
absl::Status Write(Session& session, v1::Operation operation, const WriteArguments& arguments);

// read.cc
struct ReadArguments {
  std::string collection;
  bool vectors = false;
  bool applied = false;
  std::optional<uint64_t> at_least;
  // get
  std::vector<std::string> ids;
  bool all = false;
  // query
  std::string text;
  std::string vector;
  uint32_t limit = 10;
};
absl::Status Get(Session& session, const ReadArguments& arguments);
absl::Status Query(Session& session, const ReadArguments& arguments);
absl::Status Count(Session& session, const ReadArguments& arguments);

// cursors.cc
struct CursorArguments {
  std::string collection;
  std::string name;
  uint64_t seq_id = 0;
  std::optional<uint64_t> expected;
};
std::string CursorTable(const google::protobuf::RepeatedPtrField<v1::Cursor>& cursors,
                        uint64_t tail_seq_id);
absl::Status ListCursors(Session& session, const std::string& collection);
absl::Status GetCursor(Session& session, const CursorArguments& arguments);
absl::Status CommitCursor(Session& session, const CursorArguments& arguments);
absl::Status RollbackCursor(Session& session, const CursorArguments& arguments);
// CURSOR_NOT_FOUND if there is none of this name.
absl::Status DeleteCursor(Session& session, const CursorArguments& arguments);

// missing.cc
struct MissingArguments {
  std::string collection;
  // "unspecified": any.
  std::string reason = "unspecified";
  bool retry = false;
  bool drop = false;
};
absl::Status Missing(Session& session, const MissingArguments& arguments);

// follow.cc
struct TailArguments {
  std::string collection;
  std::string from = "earliest";
  // A cursor to begin at and to move; "": none. If it is not there, it is made, at `from`.
  std::string cursor;
  bool follow = false;
};
absl::Status Tail(Session& session, const TailArguments& arguments);
absl::Status Wait(Session& session, const std::string& collection, std::optional<uint64_t> seq_id);
absl::Status Lag(Session& session, const std::vector<std::string>& collections);

// clock.cc
absl::Status Clock(Session& session, bool correct);

// backup.cc
absl::Status CreateBackup(Session& session);
absl::Status ListBackups(Session& session);
absl::Status VerifyBackup(Session& session, uint32_t backup_id);
// One of the two; the other is 0.
absl::Status DeleteBackup(Session& session, uint32_t backup_id, uint64_t pin);
// The log's oldest complete ones, until `keep` are left.
absl::Status PurgeBackups(Session& session, uint32_t keep);
struct RestoreArguments {
  std::string from;
  // 0: the newest.
  uint32_t backup_id = 0;
  std::string data;
};
// Speaks to no server.
absl::Status RestoreBackup(Session& session, const RestoreArguments& arguments);

// verify.cc
struct VerifyArguments {
  // A folder of this machine, of a log that does not run; "": the log that runs at the server.
  std::string data;
  // Bytes a second; 0: the default, which of a folder is no limit.
  uint64_t rate = 0;
  // Of the process that reads the folder: it tells the other one what it finds.
  bool apart = false;
  std::string after_step;
};
// DATA_LOSS if something was found.
absl::Status Verify(Session& session, const VerifyArguments& arguments);

}  // namespace sluice::ctl

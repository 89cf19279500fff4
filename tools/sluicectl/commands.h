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
struct CreateArguments {
  std::string name;
  uint32_t dimension = 0;
  std::string metric = "cosine";
  std::string embedder = "none";
  std::string model;
  std::string document_prefix;
  std::string query_prefix;
  bool get_or_create = false;
  uint64_t max_bytes = 0;
  uint64_t max_age_ms = 0;
  uint64_t max_backlog_bytes = 0;
};
absl::Status CreateCollection(Session& session, const CreateArguments& arguments);
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
  bool follow = false;
};
absl::Status Tail(Session& session, const TailArguments& arguments);
absl::Status Wait(Session& session, const std::string& collection, std::optional<uint64_t> seq_id);
absl::Status Lag(Session& session, const std::vector<std::string>& collections);

}  // namespace sluice::ctl

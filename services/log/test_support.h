// What the tests of this folder share: a folder that goes away, and records to push.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/base/ids.h"
#include "common/record/fold.h"
#include "common/record/scan.h"
#include "services/log/command.h"
#include "sluice/v1/log.pb.h"

namespace sluice::log {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string path = (std::filesystem::temp_directory_path() / "sluice-log-XXXXXX").string();
    SLUICE_CHECK(::mkdtemp(path.data()) != nullptr);
    path_ = path;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// An UPSERT of `id` with a document, and a vector of `dimension` components unless that is 0.
inline v1::OperationRecord Record(const std::string& id, const std::string& document = "text",
                                  uint32_t dimension = 0) {
  v1::OperationRecord record;
  record.set_id(id);
  record.set_operation(v1::OPERATION_UPSERT);
  record.set_document(document);
  if (dimension > 0) SetVector(std::vector<float>(dimension, 0.5F), record.mutable_vector());
  return record;
}

// `request`: conditions, if any; the other fields are filled in.
inline Command PushOf(const CollectionId& collection, const RequestId& request_id,
                      const std::vector<v1::OperationRecord>& records,
                      Incarnation incarnation = Incarnation(0), v1::PushLogsRequest request = {}) {
  request.set_collection_id(collection.ToString());
  for (const v1::OperationRecord& record : records) *request.add_records() = record;
  struct Owner {
    std::string message;
    ScannedPush push;
  };
  auto owner = std::make_shared<Owner>();
  owner->message = request.SerializeAsString();
  SLUICE_CHECK(ScanPush(owner->message, &owner->push).ok());
  const ScannedPush& push = owner->push;
  RequestId predecessor;
  if (!push.predecessor_request_id.empty()) {
    predecessor = RequestId(*Uuid::Parse(push.predecessor_request_id));
  }
  return Command::Push(collection, request_id, incarnation, push, owner, predecessor);
}

inline CollectionId NewCollectionId() { return CollectionId(Uuid::Random()); }

inline Command OpenLogOf(const CollectionId& collection,
                         const v1::CollectionSettings& settings = {}, bool log_only = false) {
  pb::Command command;
  pb::OpenLog& open = *command.mutable_open_log();
  open.set_collection_id(std::string(collection.view()));
  *open.mutable_settings() = settings;
  open.mutable_schema()->set_log_only(log_only);
  open.set_settings_version(1);
  open.set_id_hash_key(std::string(16, 'k'));
  return Command(command);
}

}  // namespace sluice::log

// Random reads and writes of a few collections through one frontend, noted in their histories. A
// workload with the same seed issues the same operations (the answers depend on what others do
// meanwhile). Used by one thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/base/ids.h"
#include "common/client/client.h"
#include "sluice/v1/frontend.pb.h"
#include "sluice/v1/record.pb.h"
#include "tests/model/timeline.h"

namespace sluice::model {

// Random records on few ids, so that they meet: adds of ids that exist, updates of others that do
// not, keys set and removed, ids added again; texts of few words.
class RecordGenerator {
 public:
  RecordGenerator(uint64_t seed, uint32_t dimension) : random_(seed), dimension_(dimension) {}

  // OPERATION_UNSPECIFIED: any.
  v1::OperationRecord Record(v1::Operation operation);
  // 1 .. 6 records; an id may occur several times.
  std::vector<v1::OperationRecord> Records(v1::Operation operation);
  std::string Id();
  std::string Text();
  v1::Vector Vector();
  uint64_t Below(uint64_t n) { return random_() % n; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

 private:
  void FillMetadata(v1::OperationRecord* record);

  std::mt19937_64 random_;
  const uint32_t dimension_;
};

// A collection under test.
struct Target {
  CollectionId id;
  v1::CollectionSchema schema;
  Timeline timeline;
  // Rows without their vector that workloads found listed.
  std::atomic<uint64_t> found_owed = 0;
  std::atomic<uint64_t> found_refused = 0;
};

class Workload {
 public:
  // `targets` must outlive this. `name` tells this workload's operations in messages.
  Workload(std::string name, client::Frontend frontend, client::Log log,
           client::Compaction compaction, std::vector<Target*> targets, uint64_t seed);

  // One random operation. An error is that of a call that failed although it was tried again, or of
  // an answer that is wrong as such; answers that contradict the writes come out when the histories
  // are replayed.
  absl::Status Step();

 private:
  absl::Status Write(Target& target);
  absl::Status WriteThroughFrontend(Target& target, v1::Operation operation);
  absl::Status Push(Target& target);
  absl::Status GetByIds(Target& target);
  absl::Status Scan(Target& target);
  absl::Status Count(Target& target);
  absl::Status Query(Target& target);
  // Some that are listed are retried, or dropped.
  absl::Status SettleMissing(Target& target);
  // Some texts become such as an embedder elsewhere refuses; a few in all, since many would be a
  // failure of the collection.
  void MakeRefused(const Target& target, std::vector<v1::OperationRecord>* records);

  // A random level; what it promises of a read that begins now.
  struct Promise {
    v1::ReadLevel level;
    // The read reflects the records up to here at least, and their texts' vectors up to `embedded`.
    SeqId reflects;
    SeqId embedded;
  };
  Promise RandomLevel(const Target& target);
  // Fails if a read answered as of a SeqId below what its level promises.
  absl::Status CheckAsOf(const Promise& promise, uint64_t as_of) const;
  std::string Label(const google::protobuf::Message& request) const;

  const std::string name_;
  client::Frontend frontend_;
  client::Log log_;
  client::Compaction compaction_;
  const std::vector<Target*> targets_;
  RecordGenerator generator_;
  uint64_t steps_ = 0;
  int refused_ = 0;
};

}  // namespace sluice::model

// For tests: a collection as log and compactor would keep it, in memory, with real segments in a
// folder; and a LogService in front of it. Not thread-safe, except the service.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/ids.h"
#include "common/base/mutex.h"
#include "common/objects/object_store.h"
#include "common/record/fold.h"
#include "common/segment/segment.h"
#include "common/segment/segment_set.h"
#include "sluice/v1/log.grpc.pb.h"

namespace sluice::frontend {

class FakeCollection {
 public:
  // Rows by id: what a reader is to find.
  using Rows = std::map<std::string, Row>;

  FakeCollection(const ObjectStore* objects, uint32_t dimension, std::string embedder,
                 v1::Metric metric = v1::METRIC_L2);

  const CollectionId& id() const { return id_; }
  Incarnation incarnation() const { return incarnation_; }
  SeqId tail() const { return SeqId(records_.size()); }
  SeqId applied() const { return applied_; }
  const std::vector<v1::SegmentInfo>& segments() const { return infos_; }

  void Push(v1::OperationRecord record);
  // What a compactor does: all records up to `to` become a segment.
  void Compact(SeqId to);
  // What a merge does, to the neighbours [first, last).
  void Merge(size_t first, size_t last);
  // Forgets the records after `tail`, as a restore from a backup does, and gets another
  // incarnation.
  void Restore(SeqId tail);

  // As LogService.ReadView answers, in messages of a few records each.
  std::vector<v1::ReadViewResponse> ReadView(const v1::ReadViewRequest& request) const;

  // After the records up to and including `as_of`.
  Rows RowsAt(SeqId as_of) const;

 private:
  std::string ObjectName(const v1::SegmentInfo& info) const;
  void Put(v1::SegmentInfo info, const std::filesystem::path& file, size_t first, size_t last);

  const ObjectStore* const objects_;
  const CollectionId id_;
  const std::string id_hash_key_ = "0123456789abcdef";
  const IdHasher hasher_;
  v1::CollectionSchema schema_;
  Incarnation incarnation_{1};
  std::vector<v1::OperationRecord> records_;
  SeqId applied_;
  std::vector<v1::SegmentInfo> infos_;
  std::vector<std::shared_ptr<const Segment>> segments_;
  uint64_t version_ = 1;
  uint64_t next_token_ = 1;
};

// Serves PushLogs and ReadView.
class FakeLogService final : public v1::LogService::Service {
 public:
  explicit FakeLogService(FakeCollection* collection) : collections_({collection}) {}

  void Serve(FakeCollection* collection) {
    MutexLock lock(mutex_);
    collections_.push_back(collection);
  }

  // Runs `change` on the first collection, while no snapshot is being taken.
  void Change(const std::function<void(FakeCollection&)>& change);
  // Called for each ReadView as it arrives, before its snapshot is taken.
  void OnReadView(std::function<grpc::Status(const v1::ReadViewRequest&)> hook);
  // Called after the snapshot was taken, before it is sent.
  void OnSnapshot(std::function<void()> hook);
  // Called for each push before it is appended, which an error prevents.
  void OnPush(std::function<grpc::Status(grpc::ServerContext*)> hook);
  // ReadViews that took a snapshot.
  int snapshots();
  int pushes();
  v1::PushLogsRequest last_push();

 private:
  grpc::Status PushLogs(grpc::ServerContext* context, const v1::PushLogsRequest* request,
                        v1::PushLogsResponse* response) override;
  grpc::Status ReadView(grpc::ServerContext* context, const v1::ReadViewRequest* request,
                        grpc::ServerWriter<v1::ReadViewResponse>* writer) override;

  // Null if there is none.
  FakeCollection* Find(const std::string& id) REQUIRES(mutex_);

  Mutex mutex_;
  CondVar changed_;
  std::vector<FakeCollection*> collections_ GUARDED_BY(mutex_);
  std::function<grpc::Status(const v1::ReadViewRequest&)> on_read_view_ GUARDED_BY(mutex_);
  std::function<void()> on_snapshot_ GUARDED_BY(mutex_);
  std::function<grpc::Status(grpc::ServerContext*)> on_push_ GUARDED_BY(mutex_);
  int snapshots_ GUARDED_BY(mutex_) = 0;
  int pushes_ GUARDED_BY(mutex_) = 0;
  v1::PushLogsRequest last_push_ GUARDED_BY(mutex_);
};

}  // namespace sluice::frontend

#include "services/frontend/fake_log.h"

#include <algorithm>
#include <optional>

#include "common/base/check.h"
#include "common/segment/merge.h"

namespace sluice::frontend {
namespace {

// Few, so that tests see many messages.
constexpr size_t kRecordsPerMessage = 7;

template <class T>
T Must(absl::StatusOr<T> value) {
  SLUICE_CHECK(value.ok());
  return *std::move(value);
}

}  // namespace

FakeCollection::FakeCollection(const ObjectStore* objects, uint32_t dimension, std::string embedder,
                               v1::Metric metric)
    : objects_(objects), id_(Uuid::Random()), hasher_(id_hash_key_) {
  schema_.set_dimension(dimension);
  schema_.set_metric(metric);
  schema_.mutable_embedder()->set_kind(std::move(embedder));
}

void FakeCollection::Push(v1::OperationRecord record) { records_.push_back(std::move(record)); }

void FakeCollection::Compact(SeqId to) {
  SLUICE_CHECK(to >= applied_ && to <= tail());
  std::map<IdHash, std::vector<RecordAt>> by_id;
  for (uint64_t i = applied_.value; i < to.value; ++i) {
    by_id[hasher_(records_[i].id())].push_back({SeqId(i + 1), &records_[i]});
  }
  const auto before = SegmentSet::Build(segments_, nullptr);
  const std::filesystem::path file = objects_->NewTemporaryPath();
  const auto writer = Must(SegmentWriter::Create(file, schema_.dimension()));
  for (const auto& [id, records] : by_id) {
    std::optional<Row> row;
    if (const auto place = before->Find(id)) row = Must(before->ReadRow(*place));
    const bool existed = row.has_value();
    const Folded folded = Fold(std::move(row), records, !schema_.embedder().kind().empty());
    if (!folded.changed) continue;
    if (folded.row) {
      SLUICE_CHECK(writer->Add(id, *folded.row).ok());
    } else if (existed) {
      SLUICE_CHECK(writer->AddDeleted(id).ok());
    }
  }
  v1::SegmentInfo info = Must(writer->Finish());
  info.set_after_seq_id(applied_.value);
  info.set_up_to_seq_id(to.value);
  Put(std::move(info), file, infos_.size(), infos_.size());
  applied_ = to;
}

void FakeCollection::Merge(size_t first, size_t last) {
  const std::filesystem::path file = objects_->NewTemporaryPath();
  auto info = Must(MergeSegments(std::span(segments_).subspan(first, last - first),
                                 {.older = std::span(segments_).first(first),
                                  .dimension = schema_.dimension(),
                                  .graph = {.metric = schema_.metric()}},
                                 file));
  if (info) return Put(*std::move(info), file, first, last);
  infos_.erase(infos_.begin() + first, infos_.begin() + last);
  segments_.erase(segments_.begin() + first, segments_.begin() + last);
  ++version_;
}

// In place of [first, last), whose objects are deleted at once.
void FakeCollection::Put(v1::SegmentInfo info, const std::filesystem::path& file, size_t first,
                         size_t last) {
  info.set_token(next_token_++);
  info.set_number(1);
  SLUICE_CHECK(objects_->Put(ObjectName(info), file).ok());
  for (size_t i = first; i < last; ++i) {
    SLUICE_CHECK(objects_->Delete(ObjectName(infos_[i])).ok());
  }
  const auto path = Must(objects_->Fetch(ObjectName(info)));
  infos_.erase(infos_.begin() + first, infos_.begin() + last);
  segments_.erase(segments_.begin() + first, segments_.begin() + last);
  segments_.insert(segments_.begin() + first, Must(Segment::Open(*path, info)));
  infos_.insert(infos_.begin() + first, std::move(info));
  ++version_;
}

std::string FakeCollection::ObjectName(const v1::SegmentInfo& info) const {
  return SegmentObjectName(id_, incarnation_, info);
}

void FakeCollection::Restore(SeqId tail) {
  records_.resize(tail.value);
  applied_ = SeqId();
  infos_.clear();
  segments_.clear();
  // Versions and tokens may repeat under the new incarnation.
  version_ = 1;
  next_token_ = 1;
  ++incarnation_.value;
}

std::vector<v1::ReadViewResponse> FakeCollection::ReadView(
    const v1::ReadViewRequest& request) const {
  std::vector<v1::ReadViewResponse> messages(1);
  v1::ReadViewHeader* const header = messages[0].mutable_header();
  const bool continues = request.incarnation() == incarnation_.value;
  header->set_incarnation(incarnation_.value);
  header->set_segments_version(version_);
  header->set_tail_seq_id(tail().value);
  header->set_applied_seq_id(applied_.value);
  header->set_live_count(SegmentSet::Build(segments_, nullptr)->live_count());
  header->set_segments_included(!continues || request.segments_version() != version_);
  if (header->segments_included()) {
    for (const v1::SegmentInfo& info : infos_) *header->add_segments() = info;
  }
  *header->mutable_schema() = schema_;
  header->set_id_hash_key(id_hash_key_);
  header->set_dimension(schema_.dimension());
  uint64_t next = std::max(applied_.value, continues ? request.after_seq_id() : 0);
  while (next < records_.size()) {
    v1::Append* const append = messages.emplace_back().add_appends();
    append->set_first_seq_id(next + 1);
    for (size_t i = 0; i < kRecordsPerMessage && next < records_.size(); ++i) {
      *append->add_records() = records_[next++];
    }
  }
  return messages;
}

FakeCollection::Rows FakeCollection::RowsAt(SeqId as_of) const {
  Rows rows;
  for (uint64_t i = 0; i < as_of.value; ++i) {
    const std::string& id = records_[i].id();
    std::optional<Row> row;
    if (const auto found = rows.find(id); found != rows.end()) {
      row = std::move(found->second);
      rows.erase(found);
    }
    const RecordAt at[] = {{SeqId(i + 1), &records_[i]}};
    row = Fold(std::move(row), at, !schema_.embedder().kind().empty()).row;
    if (row) rows.emplace(id, *std::move(row));
  }
  return rows;
}

void FakeLogService::Change(const std::function<void(FakeCollection&)>& change) {
  MutexLock lock(mutex_);
  change(*collections_[0]);
  changed_.notify_all();
}

void FakeLogService::OnReadView(std::function<grpc::Status(const v1::ReadViewRequest&)> hook) {
  MutexLock lock(mutex_);
  on_read_view_ = std::move(hook);
}

void FakeLogService::OnSnapshot(std::function<void()> hook) {
  MutexLock lock(mutex_);
  on_snapshot_ = std::move(hook);
}

int FakeLogService::snapshots() {
  MutexLock lock(mutex_);
  return snapshots_;
}

void FakeLogService::OnPush(std::function<grpc::Status(grpc::ServerContext*)> hook) {
  MutexLock lock(mutex_);
  on_push_ = std::move(hook);
}

FakeCollection* FakeLogService::Find(const std::string& id) {
  for (FakeCollection* collection : collections_) {
    if (collection->id().ToString() == id) return collection;
  }
  return nullptr;
}

int FakeLogService::pushes() {
  MutexLock lock(mutex_);
  return pushes_;
}

v1::PushLogsRequest FakeLogService::last_push() {
  MutexLock lock(mutex_);
  return last_push_;
}

grpc::Status FakeLogService::PushLogs(grpc::ServerContext* context,
                                      const v1::PushLogsRequest* request,
                                      v1::PushLogsResponse* response) {
  std::function<grpc::Status(grpc::ServerContext*)> arrived;
  {
    MutexLock lock(mutex_);
    arrived = on_push_;
  }
  if (arrived) {
    if (grpc::Status status = arrived(context); !status.ok()) return status;
  }
  MutexLock lock(mutex_);
  ++pushes_;
  last_push_ = *request;
  FakeCollection* const collection = Find(request->collection_id());
  if (!collection) return grpc::Status(grpc::StatusCode::NOT_FOUND, "no such collection");
  response->set_first_seq_id(collection->tail().value + 1);
  for (const v1::OperationRecord& record : request->records()) collection->Push(record);
  response->set_count(request->records_size());
  response->set_tail_seq_id(collection->tail().value);
  response->set_incarnation(collection->incarnation().value);
  response->set_commit_time_us(7);
  response->set_duplicate(true);
  return grpc::Status::OK;
}

grpc::Status FakeLogService::ReadView(grpc::ServerContext* context,
                                      const v1::ReadViewRequest* request,
                                      grpc::ServerWriter<v1::ReadViewResponse>* writer) {
  std::function<grpc::Status(const v1::ReadViewRequest&)> arrived;
  {
    MutexLock lock(mutex_);
    arrived = on_read_view_;
  }
  if (arrived) {
    if (grpc::Status status = arrived(*request); !status.ok()) return status;
  }
  std::vector<v1::ReadViewResponse> messages;
  std::function<void()> taken;
  {
    MutexLock lock(mutex_);
    FakeCollection* const collection = Find(request->collection_id());
    if (!collection) return grpc::Status(grpc::StatusCode::NOT_FOUND, "no such collection");
    while (collection->applied().value < request->wait_applied_seq_id()) {
      changed_.wait_for(mutex_, std::chrono::milliseconds(5));
      if (context->IsCancelled()) return grpc::Status(grpc::StatusCode::CANCELLED, "cancelled");
    }
    messages = collection->ReadView(*request);
    taken = on_snapshot_;
    ++snapshots_;
  }
  if (taken) taken();
  for (const v1::ReadViewResponse& message : messages) {
    if (!writer->Write(message)) break;
  }
  return grpc::Status::OK;
}

}  // namespace sluice::frontend

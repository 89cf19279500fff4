#include "tests/model/workload.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"

namespace sluice::model {
namespace {

constexpr uint64_t kIds = 40;
constexpr uint64_t kMaxRecords = 6;
// Of one workload.
constexpr int kMaxRefused = 12;

void IncludeAll(v1::Include* include) {
  include->set_vector(true);
  include->set_document(true);
  include->set_uri(true);
  include->set_metadata(true);
}

void SetValue(uint64_t kind, uint64_t number, v1::MetadataValue* value) {
  switch (kind) {
    case 0:
      return value->set_string_value(absl::StrCat("value ", number));
    case 1:
      return value->set_int_value(-static_cast<int64_t>(number));
    case 2:
      return value->set_float_value(static_cast<double>(number) / 3);
    default:
      return value->set_bool_value(number % 2 == 0);
  }
}

// Rows that neither come nor go while the pages are read are seen exactly once, others only if they
// were there at all.
std::string CheckScan(const Model& model, const std::map<std::string, int>& seen, SeqId first,
                      SeqId last) {
  for (const std::string& id : model.ids()) {
    const auto it = seen.find(id);
    const int times = it == seen.end() ? 0 : it->second;
    if (model.ExistedThroughout(id, first, last) && times != 1) {
      return absl::StrCat("row ", id, " was there throughout and is seen ", times, " times");
    }
    if (!model.ExistedAtAll(id, first, last) && times != 0)
      return absl::StrCat("row ", id, " was never there and is seen");
  }
  return "";
}

}  // namespace

std::string RecordGenerator::Id() { return absl::StrCat("id-", Below(kIds)); }

std::string RecordGenerator::Text() {
  static constexpr std::array kWords = {"amber",  "basalt",  "copper", "dolomite", "emerald",
                                        "flint",  "granite", "halite", "iron",     "jasper",
                                        "kaolin", "lapis",   "marble", "nickel",   "opal",
                                        "quartz", "ruby",    "slate",  "topaz",    "zinc"};
  std::string text;
  for (uint64_t words = Below(6); words > 0; --words)
    absl::StrAppend(&text, kWords[Below(kWords.size())], " ");
  return text;
}

v1::Vector RecordGenerator::Vector() {
  // Small whole numbers: equal distances occur.
  std::vector<float> components(dimension_);
  for (float& component : components) component = static_cast<float>(Below(5)) - 2;
  v1::Vector vector;
  vector.set_dimension(dimension_);
  vector.set_data(components.data(), components.size() * sizeof(float));
  return vector;
}

void RecordGenerator::FillMetadata(v1::OperationRecord* record) {
  for (const char key : {'a', 'b', 'c', 'd', 'e'}) {
    if (!OneIn(3)) continue;
    v1::MetadataEntry* entry = record->add_metadata();
    entry->set_key(std::string(1, key));
    // Unset removes the key, which an ADD may not do.
    const bool set = record->operation() == v1::OPERATION_ADD || !OneIn(3);
    if (set) SetValue(Below(4), Below(10), entry->mutable_value());
  }
}

v1::OperationRecord RecordGenerator::Record(v1::Operation operation) {
  v1::OperationRecord record;
  record.set_id(Id());
  record.set_operation(operation != v1::OPERATION_UNSPECIFIED
                           ? operation
                           : static_cast<v1::Operation>(1 + Below(4)));
  if (record.operation() == v1::OPERATION_DELETE) return record;
  if (!OneIn(3)) record.set_document(Text());
  if (OneIn(4)) record.set_uri(absl::StrCat("uri:", Below(10)));
  if (OneIn(3)) *record.mutable_vector() = Vector();
  FillMetadata(&record);
  return record;
}

std::vector<v1::OperationRecord> RecordGenerator::Records(v1::Operation operation) {
  std::vector<v1::OperationRecord> records;
  for (uint64_t count = 1 + Below(kMaxRecords); count > 0; --count)
    records.push_back(Record(operation));
  if (OneIn(4)) records.back().set_id(records.front().id());
  return records;
}

Workload::Workload(std::string name, client::Frontend frontend, client::Log log,
                   client::Compaction compaction, std::vector<Target*> targets, uint64_t seed)
    : name_(std::move(name)),
      frontend_(std::move(frontend)),
      log_(std::move(log)),
      compaction_(std::move(compaction)),
      targets_(std::move(targets)),
      generator_(seed, targets_.front()->schema.dimension()) {}

std::string Workload::Label(const google::protobuf::Message& request) const {
  return absl::StrCat(name_, ", step ", steps_, ": ", request.GetTypeName(), " ",
                      request.ShortDebugString());
}

absl::Status Workload::Step() {
  ++steps_;
  Target& target = *targets_[generator_.Below(targets_.size())];
  if (IsEmbeddedElsewhere(target.schema) && generator_.OneIn(20)) return SettleMissing(target);
  switch (generator_.Below(10)) {
    case 0:
    case 1:
      return GetByIds(target);
    case 2:
      return Count(target);
    case 3:
    case 4:
    case 5:
      return Query(target);
    case 6:
      if (generator_.OneIn(3)) return Scan(target);
      [[fallthrough]];
    default:
      return Write(target);
  }
}

absl::Status Workload::Write(Target& target) {
  const uint64_t kind = generator_.Below(10);
  if (kind == 0) return Push(target);
  constexpr std::array kOperations = {
      v1::OPERATION_ADD,    v1::OPERATION_ADD,    v1::OPERATION_UPDATE,
      v1::OPERATION_UPDATE, v1::OPERATION_UPDATE, v1::OPERATION_UPSERT,
      v1::OPERATION_UPSERT, v1::OPERATION_UPSERT, v1::OPERATION_DELETE};
  return WriteThroughFrontend(target, kOperations[kind - 1]);
}

absl::Status Workload::WriteThroughFrontend(Target& target, v1::Operation operation) {
  std::vector<v1::OperationRecord> records = generator_.Records(operation);
  MakeRefused(target, &records);
  v1::WriteRequest write;
  v1::DeleteRequest deletion;
  write.mutable_collection()->set_id(target.id.ToString());
  *deletion.mutable_collection() = write.collection();
  for (const v1::OperationRecord& record : records) {
    deletion.add_ids(record.id());
    v1::OperationRecord* added = write.add_records();
    *added = record;
    // Either is allowed.
    if (generator_.OneIn(2)) added->clear_operation();
  }
  absl::StatusOr<v1::WriteResponse> response = absl::InternalError("no such operation");
  if (operation == v1::OPERATION_ADD) response = frontend_.Add(write);
  if (operation == v1::OPERATION_UPDATE) response = frontend_.Update(write);
  if (operation == v1::OPERATION_UPSERT) response = frontend_.Upsert(write);
  if (operation == v1::OPERATION_DELETE) response = frontend_.Delete(deletion);
  if (!response.ok()) return Annotate(response.status(), Label(write));
  if (response->count() != records.size())
    return absl::InternalError(Label(write) + ": another count: " + response->ShortDebugString());
  target.timeline.Wrote(SeqId(response->first_seq_id()), std::move(records));
  return absl::OkStatus();
}

// Operations of all kinds in one append, which only the log takes.
absl::Status Workload::Push(Target& target) {
  std::vector<v1::OperationRecord> records = generator_.Records(v1::OPERATION_UNSPECIFIED);
  MakeRefused(target, &records);
  v1::PushLogsRequest request;
  request.set_collection_id(target.id.ToString());
  request.mutable_records()->Assign(records.begin(), records.end());
  const absl::StatusOr<v1::PushLogsResponse> response = log_.Push(request);
  if (!response.ok()) return Annotate(response.status(), Label(request));
  target.timeline.Wrote(SeqId(response->first_seq_id()), std::move(records));
  return absl::OkStatus();
}

Workload::Promise Workload::RandomLevel(const Target& target) {
  Promise promise;
  const SeqId acknowledged = target.timeline.acknowledged();
  // An embedder that is away, or has refused a text, keeps vectors owed at any level.
  const bool elsewhere = IsEmbeddedElsewhere(target.schema);
  switch (generator_.Below(8)) {
    case 0:
      promise.level.set_kind(v1::ReadLevel::KIND_APPLIED);
      // All of it is in segments.
      promise.embedded = SeqId(elsewhere ? 0 : UINT64_MAX);
      break;
    case 1:
      promise.level.set_kind(v1::ReadLevel::KIND_AT_LEAST);
      promise.level.set_seq_id(acknowledged.value);
      promise.reflects = acknowledged;
      promise.embedded = elsewhere ? SeqId(0) : acknowledged;
      break;
    default:
      promise.reflects = acknowledged;
  }
  return promise;
}

absl::Status Workload::CheckAsOf(const Promise& promise, uint64_t as_of) const {
  if (as_of >= promise.reflects.value) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(
      name_, ", step ", steps_, ": answers as of ", as_of, ", but ", promise.reflects.value,
      " was acknowledged before; ", promise.level.ShortDebugString()));
}

absl::Status Workload::GetByIds(Target& target) {
  const Promise promise = RandomLevel(target);
  v1::GetRequest request;
  request.mutable_collection()->set_id(target.id.ToString());
  *request.mutable_level() = promise.level;
  IncludeAll(request.mutable_include());
  std::set<std::string> ids;
  for (uint64_t count = 1 + generator_.Below(8); count > 0; --count) {
    const std::string id = generator_.Id();
    if (ids.insert(id).second) request.add_ids(id);
  }
  const absl::StatusOr<v1::GetResponse> response = frontend_.Get(request);
  if (!response.ok()) return Annotate(response.status(), Label(request));
  target.timeline.Saw(
      SeqId(response->as_of_seq_id()), Label(request),
      [request, response = *response, embedded = promise.embedded](const Model& model) {
        return model.CheckGet(request, response, embedded);
      });
  return CheckAsOf(promise, response->as_of_seq_id());
}

absl::Status Workload::Scan(Target& target) {
  const Promise promise = RandomLevel(target);
  v1::GetRequest request;
  request.mutable_collection()->set_id(target.id.ToString());
  *request.mutable_level() = promise.level;
  IncludeAll(request.mutable_include());
  request.set_page_size(static_cast<uint32_t>(1 + generator_.Below(20)));
  std::map<std::string, int> seen;
  SeqId first(UINT64_MAX);
  SeqId last;
  do {
    const absl::StatusOr<v1::GetResponse> response = frontend_.Get(request);
    if (!response.ok()) return Annotate(response.status(), Label(request));
    SLUICE_RETURN_IF_ERROR(CheckAsOf(promise, response->as_of_seq_id()));
    for (const v1::Row& row : response->rows()) ++seen[row.id()];
    const SeqId as_of(response->as_of_seq_id());
    first = std::min(first, as_of);
    last = std::max(last, as_of);
    target.timeline.Saw(as_of, Label(request),
                        [rows = response->rows(), embedded = promise.embedded](const Model& model) {
                          for (const v1::Row& row : rows) {
                            if (std::string difference = model.Check(row, embedded);
                                !difference.empty())
                              return difference;
                          }
                          return std::string();
                        });
    request.set_page_token(response->next_page_token());
  } while (!request.page_token().empty());
  target.timeline.Saw(last, Label(request), [seen, first, last](const Model& model) {
    return CheckScan(model, seen, first, last);
  });
  return absl::OkStatus();
}

absl::Status Workload::Count(Target& target) {
  const Promise promise = RandomLevel(target);
  v1::CountRequest request;
  request.mutable_collection()->set_id(target.id.ToString());
  *request.mutable_level() = promise.level;
  const absl::StatusOr<v1::CountResponse> response = frontend_.Count(request);
  if (!response.ok()) return Annotate(response.status(), Label(request));
  target.timeline.Saw(SeqId(response->as_of_seq_id()), Label(request),
                      [count = response->count()](const Model& model) {
                        return count == model.rows().size()
                                   ? ""
                                   : absl::StrCat("Count is ", count, ", not ",
                                                  model.rows().size());
                      });
  return CheckAsOf(promise, response->as_of_seq_id());
}

absl::Status Workload::Query(Target& target) {
  const Promise promise = RandomLevel(target);
  v1::QueryRequest request;
  request.mutable_collection()->set_id(target.id.ToString());
  *request.mutable_level() = promise.level;
  IncludeAll(request.mutable_include());
  request.set_limit(
      static_cast<uint32_t>(1 + generator_.Below(generator_.OneIn(4) ? 2 * kIds : 10)));
  if (target.schema.embedder().kind() != "hashing" || generator_.OneIn(2)) {
    *request.mutable_vector() = generator_.Vector();
  } else {
    // Of words, or of none.
    request.set_text(generator_.Text() + "?");
  }
  const absl::StatusOr<v1::QueryResponse> response = frontend_.Query(request);
  if (!response.ok()) return Annotate(response.status(), Label(request));
  target.timeline.Saw(
      SeqId(response->as_of_seq_id()), Label(request),
      [request, response = *response, embedded = promise.embedded](const Model& model) {
        return model.CheckQuery(request, response, embedded);
      });
  return CheckAsOf(promise, response->as_of_seq_id());
}

absl::Status Workload::SettleMissing(Target& target) {
  v1::ListMissingVectorsRequest list;
  list.set_collection_id(target.id.ToString());
  list.set_limit(20);
  const auto listed = compaction_.ListMissingVectors(list);
  if (!listed.ok()) return Annotate(listed.status(), Label(list));
  v1::RetryMissingVectorsRequest retry;
  v1::DropMissingVectorsRequest drop;
  retry.set_collection_id(list.collection_id());
  drop.set_collection_id(list.collection_id());
  for (const v1::MissingVector& missing : listed->missing()) {
    ++(missing.reason() == v1::MISSING_REASON_OWED ? target.found_owed : target.found_refused);
    if (generator_.OneIn(2)) {
      retry.add_ids(missing.id());
    } else if (generator_.OneIn(8)) {
      drop.add_ids(missing.id());
    }
  }
  if (!retry.ids().empty()) {
    SLUICE_RETURN_IF_ERROR(Annotate(compaction_.RetryMissingVectors(retry), Label(retry)));
  }
  if (drop.ids().empty()) return absl::OkStatus();
  SLUICE_RETURN_IF_ERROR(Annotate(compaction_.DropMissingVectors(drop), Label(drop)));
  // What was listed under these ids was applied by then.
  SLUICE_ASSIGN_OR_RETURN(const v1::DescribeLogResponse log, log_.Describe(target.id));
  for (const std::string& id : drop.ids()) {
    target.timeline.GaveUp(id, SeqId(log.applied_seq_id()));
  }
  return absl::OkStatus();
}

void Workload::MakeRefused(const Target& target, std::vector<v1::OperationRecord>* records) {
  if (!IsEmbeddedElsewhere(target.schema)) return;
  for (v1::OperationRecord& record : *records) {
    if (!record.has_document() || record.has_vector()) continue;
    // Empty ones are refused, too.
    if (record.document().empty()) record.set_document("opal");
    if (refused_ == kMaxRefused || !generator_.OneIn(15)) continue;
    ++refused_;
    constexpr std::array kMarks = {kRefusedMark, kRefusedInSpellsMark};
    const uint64_t which = generator_.Below(kMarks.size() + 1);
    if (which < kMarks.size()) {
      record.mutable_document()->append(kMarks[which]);
    } else {
      record.set_document("");
    }
  }
}

}  // namespace sluice::model

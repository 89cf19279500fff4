#include "tools/sluicectl/json_out.h"

#include <charconv>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/record/fold.h"

namespace sluice::ctl {
namespace {

Json VectorJson(const v1::Vector& vector) {
  Json array = Json::array();
  for (const float component : VectorOf(vector)) array.push_back(Shortest(component));
  return array;
}

Json MetadataJson(const google::protobuf::RepeatedPtrField<v1::MetadataEntry>& metadata) {
  Json object = Json::object();
  for (const v1::MetadataEntry& entry : metadata) {
    Json& value = object[entry.key()];
    switch (entry.value().value_case()) {
      case v1::MetadataValue::kStringValue:
        value = entry.value().string_value();
        break;
      case v1::MetadataValue::kIntValue:
        value = entry.value().int_value();
        break;
      case v1::MetadataValue::kFloatValue:
        value = entry.value().float_value();
        break;
      case v1::MetadataValue::kBoolValue:
        value = entry.value().bool_value();
        break;
      case v1::MetadataValue::VALUE_NOT_SET:
        break;  // null
    }
  }
  return object;
}

// What records and rows have in common.
template <class Message>
void AddContent(const Message& message, Json* out) {
  if (message.has_document()) (*out)["document"] = message.document();
  if (message.has_uri()) (*out)["uri"] = message.uri();
  if (message.metadata_size() > 0) (*out)["metadata"] = MetadataJson(message.metadata());
  if (message.has_vector()) (*out)["vector"] = VectorJson(message.vector());
}

// "OPERATION_ADD" -> "add".
std::string Spelled(std::string_view name, std::string_view prefix) {
  const absl::string_view word =
      absl::StripPrefix({name.data(), name.size()}, {prefix.data(), prefix.size()});
  return absl::AsciiStrToLower(word);
}

Json LeaseJson(const v1::LeaseInfo& lease) {
  return {{"worker", lease.worker()},
          {"token", lease.token()},
          {"expires_time_us", lease.expires_time_us()}};
}

}  // namespace

double Shortest(float value) {
  char text[32];
  const char* end = std::to_chars(text, text + sizeof(text), value).ptr;
  double shortest = 0;
  std::from_chars(text, end, shortest);
  return shortest;
}

std::string IncarnationText(uint64_t incarnation) { return absl::StrFormat("%016x", incarnation); }

std::string MetricName(v1::Metric metric) { return Spelled(v1::Metric_Name(metric), "METRIC_"); }

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json RecordJson(SeqId seq_id, int64_t commit_time_us, const v1::OperationRecord& record) {
  Json json{{"seq_id", seq_id.value},
            {"commit_time_us", commit_time_us},
            {"operation", Spelled(v1::Operation_Name(record.operation()), "OPERATION_")},
            {"id", record.id()}};
  AddContent(record, &json);
  return json;
}

Json RowJson(const v1::Row& row) {
  Json json{{"id", row.id()}};
  AddContent(row, &json);
  json["seq_id"] = row.seq_id();
  json["pending_embedding"] = row.pending_embedding();
  return json;
}

Json CollectionJson(const v1::Collection& c) {
  return {{"id", c.id()},
          {"tenant", c.tenant()},
          {"database", c.database()},
          {"name", c.name()},
          {"state", Spelled(v1::CollectionState_Name(c.state()), "COLLECTION_STATE_")},
          {"created_time_us", c.created_time_us()},
          {"schema",
           {{"dimension", c.schema().dimension()},
            {"metric", MetricName(c.schema().metric())},
            {"embedder", c.schema().embedder().kind()},
            {"model", c.schema().embedder().model()},
            {"document_prefix", c.schema().embedder().document_prefix()},
            {"query_prefix", c.schema().embedder().query_prefix()},
            {"log_only", c.schema().log_only()}}},
          {"settings",
           {{"compaction",
             {{"max_bytes", c.settings().compaction().max_bytes()},
              {"max_age_ms", c.settings().compaction().max_age_ms()}}},
            {"max_backlog_bytes", c.settings().max_backlog_bytes()},
            {"retention",
             {{"max_age_ms", c.settings().retention().max_age_ms()},
              {"max_bytes", c.settings().retention().max_bytes()}}},
            {"erase_within_ms", c.settings().erase_within_ms()}}},
          {"version", c.version()}};
}

std::string CursorStateText(const v1::Cursor& cursor) {
  std::string state = Spelled(v1::CursorState_Name(cursor.state()), "CURSOR_STATE_");
  if (cursor.state() != v1::CURSOR_STATE_LOST) return state;
  return state + " (" + Spelled(v1::CursorLoss_Name(cursor.loss()), "CURSOR_LOSS_") + ")";
}

Json CursorJson(const v1::Cursor& cursor) {
  Json json{{"name", cursor.name()},
            {"seq_id", cursor.seq_id()},
            {"state", Spelled(v1::CursorState_Name(cursor.state()), "CURSOR_STATE_")},
            {"created_time_us", cursor.created_time_us()},
            {"moved_time_us", cursor.moved_time_us()},
            {"incarnation", IncarnationText(cursor.incarnation())}};
  if (cursor.state() == v1::CURSOR_STATE_LOST) {
    json["loss"] = Spelled(v1::CursorLoss_Name(cursor.loss()), "CURSOR_LOSS_");
    json["lost_time_us"] = cursor.lost_time_us();
  }
  return json;
}

Json LogJson(const v1::DescribeLogResponse& log) {
  Json json{{"tail_seq_id", log.tail_seq_id()},
            {"applied_seq_id", log.applied_seq_id()},
            {"trim_seq_id", log.trim_seq_id()},
            {"incarnation", IncarnationText(log.incarnation())},
            {"unapplied_bytes", log.unapplied_bytes()},
            {"oldest_unapplied_time_us", log.oldest_unapplied_time_us()},
            {"live_count", log.live_count()},
            {"dimension", log.dimension()},
            {"no_effect",
             {{"adds", log.no_effect().adds()},
              {"updates", log.no_effect().updates()},
              {"deletes", log.no_effect().deletes()}}},
            {"failures", log.failures()},
            {"last_failure", log.last_failure()},
            {"garbage_objects", log.garbage_objects()},
            {"kept_bytes", log.kept_bytes()},
            {"pinned_bytes", log.pinned_bytes()},
            {"cursors", Json::array()},
            {"missing_vectors", log.missing_vectors()},
            {"owed_vectors", log.owed_vectors()},
            {"segments_version", log.segments_version()},
            {"segments", Json::array()}};
  for (const v1::Cursor& cursor : log.cursors()) json["cursors"].push_back(CursorJson(cursor));
  for (const v1::SegmentInfo& s : log.segments()) {
    json["segments"].push_back({{"incarnation", IncarnationText(s.incarnation())},
                                {"token", s.token()},
                                {"number", s.number()},
                                {"after_seq_id", s.after_seq_id()},
                                {"up_to_seq_id", s.up_to_seq_id()},
                                {"entries", s.entries()},
                                {"rows", s.rows()},
                                {"vectors", s.vectors()},
                                {"bytes", s.bytes()}});
  }
  if (log.has_compaction_lease()) json["compaction_lease"] = LeaseJson(log.compaction_lease());
  if (log.has_merge_lease()) json["merge_lease"] = LeaseJson(log.merge_lease());
  return json;
}

}  // namespace sluice::ctl

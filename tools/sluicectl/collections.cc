#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "tools/sluicectl/commands.h"
#include "tools/sluicectl/text.h"

namespace sluice::ctl {
namespace {

std::string EmbedderName(const v1::Collection& collection) {
  const std::string& kind = collection.schema().embedder().kind();
  return kind.empty() ? "none" : kind;
}

std::string DimensionText(uint32_t dimension) {
  return dimension == 0 ? "open" : absl::StrCat(dimension);
}

std::string SettingsText(const v1::Collection& c) {
  const v1::CollectionSettings& settings = c.settings();
  std::string text = absl::StrCat("version ", c.version());
  if (!c.schema().log_only()) {
    absl::StrAppend(&text, ": compaction at ", Bytes(settings.compaction().max_bytes()), " or ",
                    settings.compaction().max_age_ms(), " ms, backlog up to ",
                    Bytes(settings.max_backlog_bytes()));
  }
  const v1::Retention& retention = settings.retention();
  absl::StrAppend(
      &text, c.schema().log_only() ? ": " : ", ", "retention ",
      retention.max_age_ms() ? absl::StrCat(retention.max_age_ms(), " ms") : "as the log's", " or ",
      retention.max_bytes()   ? Bytes(retention.max_bytes())
      : c.schema().log_only() ? "any bytes"
                              : "as the log's");
  if (settings.erase_within_ms() != 0) {
    absl::StrAppend(&text, ", erased within ", settings.erase_within_ms(), " ms");
  }
  return text;
}

void SetSettings(const SettingsArguments& arguments, v1::CollectionSettings* settings) {
  v1::CompactionTrigger& compaction = *settings->mutable_compaction();
  v1::Retention& retention = *settings->mutable_retention();
  compaction.set_max_bytes(arguments.max_bytes.value_or(compaction.max_bytes()));
  compaction.set_max_age_ms(arguments.max_age_ms.value_or(compaction.max_age_ms()));
  settings->set_max_backlog_bytes(
      arguments.max_backlog_bytes.value_or(settings->max_backlog_bytes()));
  retention.set_max_age_ms(arguments.retain_ms.value_or(retention.max_age_ms()));
  retention.set_max_bytes(arguments.retain_bytes.value_or(retention.max_bytes()));
  settings->set_erase_within_ms(arguments.erase_within_ms.value_or(settings->erase_within_ms()));
}

std::string Description(const v1::Collection& c, const v1::DescribeLogResponse& log) {
  const std::vector<std::vector<std::string>> rows = {
      {"id", c.id()},
      {"name", absl::StrCat(c.tenant(), " / ", c.database(), " / ", c.name())},
      {"created", absl::StrCat(Time(c.created_time_us()), " UTC")},
      {"schema", absl::StrCat(DimensionText(log.dimension()), " dimensions, ",
                              MetricName(c.schema().metric()), ", embedder ", EmbedderName(c),
                              c.schema().log_only() ? ", a log and nothing else" : "")},
      {"settings", SettingsText(c)},
      {"rows", absl::StrCat(Grouped(log.live_count()), " in segments")},
      {"log", absl::StrCat("tail ", Grouped(log.tail_seq_id()), ", applied ",
                           Grouped(log.applied_seq_id()), ", trimmed ", Grouped(log.trim_seq_id()),
                           ", incarnation ", IncarnationText(log.incarnation()))},
      {"kept", absl::StrCat(Grouped(log.tail_seq_id() - log.trim_seq_id()), " records, ",
                            Bytes(log.kept_bytes()), ", of it pinned by cursors ",
                            Bytes(log.pinned_bytes()))},
      {"unapplied",
       absl::StrCat(Grouped(UnappliedRecords(c, log)), " records, ", Bytes(log.unapplied_bytes()))},
      {"no effect",
       absl::StrCat(Grouped(log.no_effect().adds()), " adds, ", Grouped(log.no_effect().updates()),
                    " updates, ", Grouped(log.no_effect().deletes()), " deletes")},
      {"missing", absl::StrCat(Grouped(log.missing_vectors()), " vectors, ",
                               Grouped(log.owed_vectors()), " of them owed")},
      {"failures",
       absl::StrCat(log.failures(), log.failures() > 0 ? ": " : "", log.last_failure())},
  };
  std::string out;
  for (const auto& row : rows)
    absl::StrAppend(&out, row[0], std::string(11 - row[0].size(), ' '), row[1], "\n");

  absl::StrAppend(&out, "cursors    ", log.cursors_size(), "\n");
  if (log.cursors_size() > 0) absl::StrAppend(&out, CursorTable(log.cursors(), log.tail_seq_id()));
  std::vector<std::vector<std::string>> segments;
  for (const v1::SegmentInfo& s : log.segments()) {
    // Of a log that was restored: what it was written under, if it was before.
    const bool before = s.incarnation() != 0 && s.incarnation() != log.incarnation();
    segments.push_back(
        {absl::StrCat(before ? IncarnationText(s.incarnation()) + "/" : "", s.token(), "/",
                      s.number()),
         absl::StrCat(Grouped(s.after_seq_id() + 1), "..", Grouped(s.up_to_seq_id())),
         Grouped(s.entries()), Grouped(s.rows()), Grouped(s.vectors()), Bytes(s.bytes())});
  }
  absl::StrAppend(&out, "segments   ", segments.size(), "\n");
  if (segments.empty()) return out;
  return out + Table({{"SEGMENT"},
                      {"SEQIDS"},
                      {"ENTRIES", true},
                      {"ROWS", true},
                      {"VECTORS", true},
                      {"SIZE", true}},
                     segments);
}

}  // namespace

absl::Status CreateCollection(Session& session, const CreateArguments& arguments) {
  v1::CreateCollectionRequest request;
  request.set_tenant(session.flags.tenant);
  request.set_database(session.flags.database);
  request.set_name(arguments.name);
  v1::CollectionSchema& schema = *request.mutable_schema();
  schema.set_dimension(arguments.dimension);
  v1::Metric metric = v1::METRIC_UNSPECIFIED;
  v1::Metric_Parse(absl::StrCat("METRIC_", absl::AsciiStrToUpper(arguments.metric)), &metric);
  schema.set_metric(metric);
  schema.set_log_only(arguments.log_only);
  if (arguments.embedder != "none") {
    v1::Embedder& embedder = *schema.mutable_embedder();
    embedder.set_kind(arguments.embedder);
    embedder.set_model(arguments.model);
    embedder.set_document_prefix(arguments.document_prefix);
    embedder.set_query_prefix(arguments.query_prefix);
  }
  SetSettings(arguments.settings, request.mutable_settings());
  request.set_get_or_create(arguments.get_or_create);

  SLUICE_ASSIGN_OR_RETURN(const v1::CreateCollectionResponse response,
                          session.catalog.Create(std::move(request)));
  Json json = CollectionJson(response.collection());
  json["created"] = response.created();
  session.Print(json, [&] {
    return absl::StrCat(response.created() ? "created " : "exists already: ",
                        response.collection().name(), " (", response.collection().id(), ")\n");
  });
  return absl::OkStatus();
}

absl::Status UpdateCollection(Session& session, const std::string& name,
                              const SettingsArguments& settings) {
  SLUICE_ASSIGN_OR_RETURN(const v1::Collection found, session.Find(name));
  v1::UpdateCollectionRequest request;
  request.mutable_collection()->set_id(found.id());
  *request.mutable_settings() = found.settings();
  SetSettings(settings, request.mutable_settings());
  // What somebody else changed meanwhile is not undone.
  request.set_expected_version(found.version());
  SLUICE_ASSIGN_OR_RETURN(const v1::Collection updated, session.catalog.Update(request));
  session.Print(CollectionJson(updated), [&] {
    return absl::StrCat("settings of ", updated.name(), " (", updated.id(),
                        "): ", SettingsText(updated), "\n");
  });
  return absl::OkStatus();
}

absl::Status ListCollections(Session& session, bool all) {
  v1::ListCollectionsRequest request;
  request.set_tenant(all ? "*" : session.flags.tenant);
  request.set_database(all ? "*" : session.flags.database);
  request.set_page_size(1'000);
  Json json = Json::array();
  std::vector<std::vector<std::string>> rows;
  do {
    SLUICE_ASSIGN_OR_RETURN(v1::ListCollectionsResponse page, session.catalog.List(request));
    for (const v1::Collection& c : page.collections()) {
      json.push_back(CollectionJson(c));
      rows.push_back({c.tenant(), c.database(), c.name(), c.id(),
                      DimensionText(c.schema().dimension()), MetricName(c.schema().metric()),
                      EmbedderName(c)});
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  session.Print({{"collections", json}}, [&] {
    return Table(
        {{"TENANT"}, {"DATABASE"}, {"NAME"}, {"ID"}, {"DIMENSION", true}, {"METRIC"}, {"EMBEDDER"}},
        rows);
  });
  return absl::OkStatus();
}

absl::Status DescribeCollection(Session& session, const std::string& name) {
  SLUICE_ASSIGN_OR_RETURN(const v1::Collection collection, session.Find(name));
  SLUICE_ASSIGN_OR_RETURN(const v1::DescribeLogResponse log, session.Describe(collection));
  Json json = CollectionJson(collection);
  json.update(LogJson(log));
  session.Print(json, [&] { return Description(collection, log); });
  return absl::OkStatus();
}

absl::Status DeleteCollection(Session& session, const std::string& name) {
  SLUICE_ASSIGN_OR_RETURN(const v1::Collection collection,
                          session.catalog.Delete(session.Ref(name)));
  session.Print(CollectionJson(collection), [&] {
    return absl::StrCat("deleted ", collection.name(), " (", collection.id(), ")\n");
  });
  return absl::OkStatus();
}

}  // namespace sluice::ctl
